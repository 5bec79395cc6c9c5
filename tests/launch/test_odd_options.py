"""Odd options: each ends in one line that says what is wrong, with exit code 2."""

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config

from tests.helpers import run_tool

PRETRAIN = """
_base_ = 'toy.py'
model = dict(
    _delete_=True, type='MAERecognizer',
    data_preprocessor=dict(
        type='AdaMAEDataPreprocessor', mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375]),
    backbone=dict(
        type='MaskedVisionTransformer', img_size=16, patch_size=8, num_frames=4,
        embed_dims=16, depth=1, num_heads=2),
    sampler=dict(type='AdaptiveSamplerHead', mask_ratio=0.75, num_heads=2),
    decoder=dict(type='MAEDecoder', embed_dims=8, depth=1, num_heads=2))
optim_wrapper = dict(
    _delete_=True, type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
val_dataloader = val_evaluator = val_cfg = None
"""
LOADER, DATASET = 'train_dataloader', 'train_dataloader.dataset'
OPTIMIZER, SCHEDULE = 'optim_wrapper.optimizer', 'param_scheduler.0'
# Key, value, and what the line says besides the key, which is its beginning.
TRAIN = [
    # numbers
    (f'{OPTIMIZER}.lr', 'nan', 'a number from 0, got nan'),
    (f'{OPTIMIZER}.lr', 'inf', 'a number from 0, got inf'),
    (f'{OPTIMIZER}.lr', '-1', 'got -1'),
    (OPTIMIZER, {'lr': 'None'}, 'NoneType'),
    (f'{OPTIMIZER}.weight_decay', 'nan', 'got nan'),
    (f'{OPTIMIZER}.weight_decay', 'abc', "got 'abc'"),
    (f'{OPTIMIZER}.betas', '0.9', 'two numbers'),
    (f'{OPTIMIZER}.betas', '(0.9,1.5)', 'below 1, got 1.5'),
    (f'{OPTIMIZER}.eps', '-1', 'got -1'),
    ('optim_wrapper.clip_grad.max_norm', '-1', 'greater than 0'),
    ('optim_wrapper.accumulative_counts', '1.5', 'a whole number from 1'),
    (f'{LOADER}.batch_size', '0', 'a whole number from 1'),
    (f'{LOADER}.batch_size', '1.5', 'a whole number from 1'),
    (f'{LOADER}.num_workers', '-1', 'a whole number from 0'),
    (f'{LOADER}.prefetch_factor', '0', 'a whole number from 1'),
    (f'{DATASET}.pipeline.1.num_clips', '0', 'a whole number from 1'),
    (f'{DATASET}.pipeline.1.frame_interval', 'nan', 'got nan'),
    ('train_cfg.max_epochs', '0', 'a whole number from 1'),
    ('train_cfg.max_epochs', 'inf', 'a whole number from 1'),
    ('train_cfg.val_interval', '0', 'a whole number from 1'),
    (f'{SCHEDULE}.T_max', '0', 'a whole number from 1'),
    (f'{SCHEDULE}.begin', 'abc', "got 'abc'"),
    (f'{SCHEDULE}.end', '0', 'a whole number from 1'),
    (f'{SCHEDULE}.eta_min', '-1', 'a number from 0'),
    ('model.backbone.num_heads', '0', 'a whole number from 1'),
    ('model.backbone.depth', '-1', 'a whole number from 1'),
    ('model.backbone.patch_size', '0', 'a whole number from 1'),
    ('model.backbone.drop_path_rate', '2', 'below 1, got 2'),
    ('model.decoder.depth', '-1', 'a whole number from 0'),
    ('model.data_preprocessor.mean', 'nan', 'a number, got nan'),
    ('model.data_preprocessor.std', '[0,1,1]', 'greater than 0'),
    ('default_hooks.checkpoint.interval', '1.5', 'a whole number from -1'),
    ('randomness.seed', '1099511627776', 'below 4294967296'),
    ('auto_scale_lr.base_batch_size', 'abc', "got 'abc'"),
    # where the model's own checks are, with the key in front
    ('model.sampler', {'mask_ratio': '1.5'}, 'a number in (0, 1)'),
    ('model.backbone', {'num_heads': '3'}, 'num_heads=3 does not divide'),
    # names
    (f'{OPTIMIZER}.type', 'AdamWW', "did you mean 'AdamW'?"),
    ('optim_wrapper.type', 'OptimWraper', "did you mean 'OptimWrapper'?"),
    ('model.type', 'MAERecogniser', "did you mean 'MAERecognizer'?"),
    ('model.sampler.type', 'AdaptivSampler', 'did you mean '),
    (f'{DATASET}.type', 'VideoDatset', "did you mean 'VideoDataset'?"),
    (f'{DATASET}.type', 'None', 'the name of a class, got None'),
    (f'{DATASET}.pipeline.0.type', 'DecordInitt', "did you mean 'DecordInit'?"),
    (f'{LOADER}.sampler.type', 'DefaultSamplr', "did you mean 'DefaultSampler'?"),
    ('train_cfg.type', 'EpochLoop', 'registered loop'),
    ('custom_hooks.0.type', 'CheckpointCheckHok', 'did you mean '),
    ('custom_hooks.0.priority', 'HIGHISH', 'did you mean '),
    ('log_level', 'NONSENSE', 'one of CRITICAL, '),
    ('env_cfg.mp_cfg.mp_start_method', 'forks', "did you mean 'fork'?"),
    ('model.backbone.init_cfg', {'checkpoint': 'x'}, 'dict(type=..., ...)'),
    # arguments
    ('model.foo', '1', 'no such argument'),
    (f'{OPTIMIZER}.momentum', '0.9', 'AdamW takes no such argument'),
    (f'{DATASET}.foo', '1', 'no such argument'),
    (f'{LOADER}.foo', '1', 'no such argument'),
    ('train_cfg.foo', '1', 'no such argument'),
    (f'{SCHEDULE}.foo', '1', 'no such argument'),
    ('randomness.foo', '1', 'no such argument'),
    ('optim_wrapper.clip_grad.maxnorm', '1', 'no such argument'),
    ('default_hooks.checkpoint.foo', '1', 'no such argument'),
    # structure
    (LOADER, '3', f'expected {LOADER}.NAME=VALUE'),
    ('param_scheduler', 'abc', 'expected param_scheduler.0.NAME=VALUE'),
    ('custom_hooks.0', '3', 'expected custom_hooks.0.NAME=VALUE'),
    (DATASET, 'None', 'a value, got None'),
    ('model.backbone', 'None', 'a value, got None'),
    # without effect
    ('launcher', 'pytorch', 'use --launcher'),
    ('custom_imports', {'imports': '[no_such_module]'}, 'no_such_module'),
    # places
    (f'{DATASET}.data_root', 'a\0b', r"without NUL, got 'a\x00b'"),
    ('default_hooks.checkpoint.out_dir', '{tmp}/file', 'can be written to'),
]


@pytest.fixture(scope='module')
def pretrain(toy):
    path = toy.with_name('odd_pretrain.py')
    path.write_text(PRETRAIN)
    return path


def error_line(capsys, *command, **options):
    """Run a tool; returns the only line that it writes of an error."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_info:
        run_tool(*command, **options)
    assert exit_info.value.code == 2
    text = capsys.readouterr().err
    assert 'Traceback' not in text
    (line,) = (line for line in text.splitlines() if 'error: ' in line)
    return line.partition('error: ')[2]


@pytest.mark.parametrize(('key', 'value', 'message'), TRAIN)
def test_settings_of_training(pretrain, tmp_path, capsys, key, value, message):
    (tmp_path / 'file').touch()
    values = value if isinstance(value, dict) else {'': value}
    options = {
        f'{key}.{name}'.strip('.'): text.replace('{tmp}', str(tmp_path))
        for name, text in values.items()
    }
    work_dir = f'--work-dir={tmp_path / "run"}'
    line = error_line(capsys, 'train', pretrain, work_dir, **options)
    assert line.removeprefix('--cfg-options: ').startswith(key)
    assert message in line


@pytest.mark.parametrize(
    ('command', 'message'),
    [
        ('train {pretrain} --seed=-1', 'from 0 to 4294967295'),
        ('train {pretrain} --resume=', 'checkpoint not found'),
        ('train {pretrain} --work-dir={tmp}/file', 'it is a file, not a folder'),
        ('train {pretrain} --work-dir={tmp}/file/x', '/file is a file, not a folder'),
        ('train {pretrain} --work-dir={tmp}/dangling', 'is a link to nothing'),
        ('train {pretrain} --work-dir={tmp}/' + 'x' * 300, 'File name too long'),
        ('train {pretrain} --work-dir=a\0b', r'a\x00b'),
        ('train {pretrain} --work-dir=s3://bucket/run', 'a URL'),
        ('train {pretrain} --work-dir=', 'can be written to'),
        ('train {tmp}/file', 'expected a config'),
        ('test {toy} {weights} --dump={tmp}/file/x.pkl', '--dump: expected a folder'),
        ('test {toy} {weights} --dump=a\0b/c.pkl', r'a\x00b'),
        ('visualize {pretrain} {weights} --num=0', 'whole number from 1'),
        ('visualize {pretrain} {weights} --frame-interval=-2', 'whole number from 1'),
        ('visualize {pretrain} {weights} --out={tmp}/file', 'it is a file, not'),
        ('extract_features {toy} {weights} {tmp}/file/x.npy', 'OUT: expected a folder'),
        ('convert_checkpoint {weights} {tmp}/file/x.pth', 'it is a file, not'),
        ('convert_checkpoint {weights} a\0b.pth', 'with NUL in it'),
        ('make_motion_dataset {tmp}/file --num-train=8', 'it is a file, not a folder'),
        ('make_motion_dataset {tmp}/file/x --num-train=8', '/file is a file, not'),
    ],
)
def test_arguments(toy, pretrain, tmp_path, capsys, command, message):
    (tmp_path / 'file').write_text('no config')
    (tmp_path / 'dangling').symlink_to(tmp_path / 'nowhere/x')
    weights = tmp_path / 'weights.pth'
    model = MODELS.build(Config.fromfile(toy).model)
    torch.save({'state_dict': model.state_dict()}, weights)
    places = dict(toy=toy, pretrain=pretrain, tmp=tmp_path, weights=weights)
    line = error_line(capsys, *(part.format(**places) for part in command.split(' ')))
    assert message in line


def test_settings_of_the_knn_hook(pretrain, tmp_path, capsys):
    cfg = Config.fromfile(pretrain)
    dataset = cfg.train_dataloader.dataset
    hook = dict(type='KnnHook', train_dataset=dataset, val_dataset=dataset)
    for name, value in (('k', 1000), ('k', 0), ('temperature', -1)):
        cfg.custom_hooks = [{**hook, 'num_workers': 0, 'k': 2, name: value}]
        cfg.dump(tmp_path / 'knn.py')
        work_dir = f'--work-dir={tmp_path / "run"}'
        line = error_line(capsys, 'train', tmp_path / 'knn.py', work_dir)
        assert line.startswith(f'custom_hooks: KnnHook.{name}: expected ')
        assert line.endswith(f'got {value}')


def test_a_mistake_of_ours_leaves_its_traceback(toy, tmp_path, capsys, monkeypatch):
    def fail(runner):
        raise LookupError('what nobody thought of')

    monkeypatch.setattr('mmengine.runner.Runner.train', fail)
    line = error_line(capsys, 'train', toy, f'--work-dir={tmp_path}')
    start = 'LookupError: what nobody thought of (traceback in '
    assert line.startswith(start)
    text = open(line.removeprefix(start).rstrip(')')).read()
    assert 'Traceback' in text and 'in fail' in text


def test_switching_a_part_on_or_off(toy):
    from projects.adamae.launch.options import parse_options

    cfg = dict(compile=dict(disable=True), val_dataloader=dict(batch_size=1))
    options = dict(compile='True', val_dataloader='None')
    assert parse_options(cfg, options) == dict(compile=True, val_dataloader=None)


def test_a_config_that_imports_what_is_not_there(tmp_path, capsys):
    """Such imports are MMEngine's, which makes them when a value is asked for."""
    (tmp_path / 'config.py').write_text('import no_such_module')
    with pytest.raises(SystemExit, match='^2$'):
        run_tool('train', tmp_path / 'config.py')
    (error,) = capsys.readouterr().err.splitlines()
    assert 'config.py: expected a config, got ModuleNotFoundError' in error
    assert 'no_such_module' in error
