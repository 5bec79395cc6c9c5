"""Sharded training (FSDP): the same numbers as unsharded, and whole checkpoints."""

from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import RUNNERS
from torch.testing import assert_close
from torch.utils._pytree import tree_flatten

from projects.adamae.checkpoints import load_pretrained
from projects.adamae.launch import build_runner
from tests.helpers import (
    ROOT,
    run_command,
    tiny_model_cfg,
    video_dataset_cfg,
    write_videos,
)


def write_config(folder, sharded):
    """A pre-training of two steps on two processes."""
    lines = write_videos(folder / 'videos')
    (folder / 'list.txt').write_text('\n'.join(lines) + '\n')
    bases = ['default_runtime.py', 'schedules/pretrain_800e.py']
    bases += ['strategies/sharded.py'] * sharded
    # Fused with its head: a weight of the root is used inside of a sharded block.
    sampler = dict(
        type='AdaptiveSamplerHead', mask_ratio=0.75, num_heads=2, drop_rate=0.0
    )
    cfg = dict(
        _base_=[str(ROOT / 'configs/_base_' / base) for base in bases],
        model=tiny_model_cfg(sampler=sampler),
        train_dataloader=dict(
            batch_size=1,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=video_dataset_cfg(folder, 'list.txt'),
        ),
        train_cfg=dict(max_epochs=1),
        optim_wrapper=dict(
            type='OptimWrapper',
            # AdamW makes whole steps of gradients that are not far below its eps, also
            # of rounding errors.
            optimizer=dict(lr=1e-2, eps=1e-3),
            clip_grad=dict(max_norm=0.1),
        ),
        param_scheduler=[dict(type='LinearLR', start_factor=0.1, end=4)],
        default_hooks=dict(logger=dict(interval=1), checkpoint=dict(interval=1)),
        visualizer=dict(type='ActionVisualizer', vis_backends=[]),
    )
    text = ''.join(f'{key} = {value!r}\n' for key, value in cfg.items())
    path = folder / f'{"sharded" if sharded else "plain"}.py'
    path.write_text(text)
    return path


def train(config, work_dir, *options):
    """Run two processes; returns the last checkpoint."""
    launcher = ROOT / 'tools/dist_train.sh'
    command = [launcher, config, 2, '--work-dir', work_dir, *options]
    result = run_command(*command, OMP_NUM_THREADS='1')
    assert result.returncode == 0, result.stderr
    return Path((work_dir / 'last_checkpoint').read_text().strip())


def assert_same(one, other, **tolerance):
    one, other = (tree_flatten(tree) for tree in (one, other))
    assert one[1] == other[1], 'another structure'
    for left, right in zip(one[0], other[0], strict=True):
        if isinstance(left, torch.Tensor | float):
            assert_close(left, right, **tolerance)
        else:
            assert left == right


def assert_same_run(one, other):
    one, other = (torch.load(path) for path in (one, other))
    assert one['state_dict'].keys() == other['state_dict'].keys()
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        assert_same(one[part], other[part], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_equals_unsharded_training_and_goes_on_from_it(tmp_path):
    plain, sharded = (write_config(tmp_path, kind) for kind in (False, True))
    first = train(plain, tmp_path / 'a')
    other = train(sharded, tmp_path / 'b')
    assert_same_run(first, other)
    longer = ['--cfg-options', 'train_cfg.max_epochs=2', '--resume']
    assert_same_run(
        train(sharded, tmp_path / 'c', *longer, str(first)),
        train(plain, tmp_path / 'd', *longer, str(other)),
    )


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """A process group of one process."""
    store = torch.distributed.FileStore(str(tmp_path / 'store'), 1)
    torch.distributed.init_process_group('gloo', store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_whole_checkpoints_in_and_out(alone, tmp_path, capsys):
    cfg = Config.fromfile(write_config(tmp_path, True))
    cfg.merge_from_dict(dict(launcher='pytorch', work_dir=str(tmp_path / 'run')))
    runner = build_runner(cfg, 'train')
    runner.train()
    start = capsys.readouterr().out.partition('Epoch(train)')[0]
    assert 'Start of the run' in start and start.count('\n') < 20, start
    saved = torch.load(tmp_path / 'run/epoch_1.pth')
    plain = MODELS.build(cfg.model)
    plain.load_state_dict(saved['state_dict'])
    load_pretrained(
        MODELS.build(cfg.model.backbone), str(tmp_path / 'run/epoch_1.pth'), 'backbone.'
    )
    assert len(saved['optimizer']['state']) == len(list(plain.parameters()))
    groups = runner.optim_wrapper.optimizer.param_groups
    for index, param in enumerate(p for group in groups for p in group['params']):
        assert saved['optimizer']['state'][index]['exp_avg'].shape == param.shape
    # A checkpoint of one piece comes back as it was.
    strategy = runner.strategy
    strategy.load_model_state_dict(saved['state_dict'], strict=True)
    strategy.load_optim_state_dict(saved['optimizer'])
    strategy.save_checkpoint(str(tmp_path / 'again.pth'))
    again = torch.load(tmp_path / 'again.pth')
    for part in ('state_dict', 'optimizer'):
        assert_same(again[part], saved[part], rtol=0, atol=0)


def test_needs_a_distributed_run(tmp_path):
    cfg = Config.fromfile(write_config(tmp_path, True))
    cfg.merge_from_dict(dict(launcher='none', work_dir=str(tmp_path / 'run')))
    with pytest.raises(ValueError, match="ShardedStrategy: .*got 'none'; start with"):
        RUNNERS.build(cfg)
