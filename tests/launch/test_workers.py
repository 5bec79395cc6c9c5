"""Loaders without worker processes."""

from argparse import Namespace

import pytest
from mmengine.runner import Runner

from projects.adamae import launch
from tests.helpers import CONFIGS


@pytest.mark.parametrize('workers', [0, 2])
def test_no_worker_persists_where_there_is_none(workers):
    key = 'val_dataloader'
    args = Namespace(
        config=str(CONFIGS / 'adamae_vitb_ssv2_finetune.py'),
        cfg_options={f'{key}.num_workers': workers, f'{key}.prefetch_factor': 2},
        work_dir=None,
        launcher='none',
    )
    loader = launch.load_config(args)[key]
    loader.dataset = [1, 2]
    built = Runner.build_dataloader(loader, seed=0)
    assert built.persistent_workers is (workers > 0)
