"""Whole runs on a GPU: NCCL, a loss scaler, resuming, and sharded weights."""

import pytest
import torch
from torch.testing import assert_close

from tests.engine.test_sharded_strategy import write_config
from tests.helpers import ROOT, run_command

pytestmark = pytest.mark.gpu
TWO_EPOCHS = 'train_cfg.max_epochs=2'


def train(tool, *arguments, **env):
    """Run a tool; an epoch of these configs is four steps."""
    result = run_command(ROOT / 'tools' / tool, *arguments, **env)
    assert result.returncode == 0, result.stderr
    return result


def assert_has_trained_two_epochs(checkpoint):
    assert (checkpoint['meta']['epoch'], checkpoint['meta']['iter']) == (2, 8)
    assert {int(s['step']) for s in checkpoint['optimizer']['state'].values()} == {8}


def test_nccl_and_a_loss_scaler_that_is_resumed(tmp_path):
    """One epoch by dist_train.sh, the next in a plain process."""
    config = write_config(tmp_path, sharded=False)
    options = ['type=AmpOptimWrapper', 'loss_scale.init_scale=1024.0']
    options += ['loss_scale.growth_interval=6']
    options = ['--cfg-options', *(f'optim_wrapper.{option}' for option in options)]
    work_dir = ['--work-dir', tmp_path / 'run']
    logs = dict(TORCH_CPP_LOG_LEVEL='INFO', TORCH_DISTRIBUTED_DEBUG='INFO')
    result = train('dist_train.sh', config, 1, *work_dir, *options, **logs)
    assert 'backend_name: nccl' in result.stderr
    first = torch.load(tmp_path / 'run/epoch_1.pth')['optimizer']
    assert first['loss_scaler']['scale'] == 1024
    train('train.py', config, *work_dir, '--resume', *options, TWO_EPOCHS)
    last = torch.load(tmp_path / 'run/epoch_2.pth')
    assert_has_trained_two_epochs(last)
    # It doubles at the sixth step, which is the second of the resumed run.
    assert last['optimizer']['loss_scaler']['scale'] == 2048


def test_sharded_run_is_the_plain_one_and_resumes_it(tmp_path):
    runs = []
    for sharded in (False, True):
        config = write_config(tmp_path, sharded)
        train('dist_train.sh', config, 1, '--work-dir', tmp_path / config.stem)
        runs.append(torch.load(tmp_path / config.stem / 'epoch_1.pth'))
    plain, sharded = (dict(run['state_dict']) for run in runs)
    assert_close(sharded, plain, rtol=1e-3, atol=1e-5)  # moved by 1e-3 and more
    options = ['--work-dir', tmp_path / 'more', '--cfg-options', TWO_EPOCHS]
    resume = ['--resume', tmp_path / 'plain/epoch_1.pth']
    train('dist_train.sh', config, 1, *options, *resume)
    assert_has_trained_two_epochs(torch.load(tmp_path / 'more/epoch_2.pth'))
