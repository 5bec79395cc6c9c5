"""The launchers: what they do with a config, and what they say to bad use."""

import importlib.util
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.fileio import load
from mmengine.hooks import IterTimerHook
from mmengine.registry import RUNNERS

from projects.adamae import launch
from tests.helpers import ROOT

TOY = """
default_scope = 'mmaction'
custom_imports = dict(imports=['projects.adamae'])
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='VisionTransformer', img_size=32, num_frames=4, embed_dims=16, depth=1,
        num_heads=2),
    cls_head=dict(
        type='TimeSformerHead', num_classes=2, in_channels=16, average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor', mean=[127.5] * 3, std=[50.0] * 3,
        format_shape='NCTHW'))
pipeline = [
    dict(type='DecordInit'),
    dict(type='SampleFrames', clip_len=4, frame_interval=2, num_clips=1),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(32, 32), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')]
dataset = dict(
    type='VideoDataset', data_root={root!r}, ann_file='list.txt',
    data_prefix=dict(video='videos'), pipeline=pipeline)
train_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dataset)
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, test_mode=True))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='AccMetric')
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='AmpOptimWrapper', loss_scale='dynamic', dtype='bfloat16',
    optimizer=dict(type='AdamW', lr=1e-3))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=2, by_epoch=True)]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='CheckpointHook', interval=1))
custom_hooks = [dict(type='CheckpointCheckHook')]
randomness = dict(seed=3, diff_rank_seed=True)
"""


@pytest.fixture(scope='module')
def toy(tmp_path_factory) -> Path:
    """A config of a toy recognizer, beside four real videos."""
    root = tmp_path_factory.mktemp('toy')
    (root / 'videos').mkdir()
    rng = np.random.default_rng(0)
    for index in range(4):
        texture = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
        with av.open(str(root / f'videos/{index}.mp4'), 'w') as container:
            stream = container.add_stream('libx264', rate=8)
            stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
            for step in range(9):
                picture = np.roll(texture, step, index % 2) if step < 8 else None
                frame = (
                    picture if picture is None else av.VideoFrame.from_ndarray(picture)
                )
                container.mux(stream.encode(frame))
    lines = [f'{index}.mp4 {index % 2}\n' for index in range(4)]
    (root / 'list.txt').write_text(''.join(lines))
    (root / 'toy.py').write_text(TOY.replace('{root!r}', repr(str(root))))
    return root / 'toy.py'


def tool(name: str):
    spec = importlib.util.spec_from_file_location(
        f'tool_{name}', ROOT / f'tools/{name}.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(command, cwd, **env) -> subprocess.CompletedProcess:
    """Run a launcher as a user would, from another folder, without the venv."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, 'PYTHON': sys.executable, **env},
        capture_output=True,
        text=True,
        timeout=300,
    )


def train_arguments(config='toy.py', **changes) -> Namespace:
    defaults = vars(tool('train').parse_args([str(config)]))
    return Namespace(**{**defaults, **changes})


@pytest.fixture
def warned(monkeypatch) -> list[str]:
    """What was warned of."""
    messages = []
    monkeypatch.setattr(
        launch.processes,
        'print_log',
        lambda message, **kwargs: messages.append(message),
    )
    return messages


# Configs and arguments


def test_config_is_read_and_options_are_applied(toy):
    options = {'train_dataloader.batch_size': 7, 'pipeline.1.clip_len': 8}
    cfg = launch.load_config(train_arguments(toy, cfg_options=options))
    assert cfg.train_dataloader.batch_size == 7
    assert cfg.pipeline[1].clip_len == 8
    assert cfg.work_dir == os.path.join('work_dirs', 'toy')
    assert cfg.launcher == 'none'


def test_work_dir_of_the_command_line_wins(toy):
    options = {'work_dir': 'from_config'}
    assert launch.load_config(train_arguments(toy, cfg_options=options)).work_dir == (
        'from_config'
    )
    args = train_arguments(toy, cfg_options=options, work_dir='given')
    assert launch.load_config(args).work_dir == 'given'


def test_unknown_option_is_warned_of(toy, warned):
    options = {'train_dataloader.batchsize': 7, 'model.backbone.depth': 2}
    launch.load_config(train_arguments(toy, cfg_options=options))
    (message,) = warned
    assert 'train_dataloader.batchsize is not in the config' in message
    assert "did you mean 'batch_size'?" in message


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'pipeline.9.type': 1}, '--cfg-options: Index 9 exceeds the length'),
        ({'model.type.x': 1}, "--cfg-options: type={'x': 1} in child config"),
    ],
)
def test_option_that_does_not_fit_the_config(toy, options, message):
    with pytest.raises(ValueError, match=message):
        launch.load_config(train_arguments(toy, cfg_options=options))


@pytest.mark.parametrize(
    ('randomness', 'changes', 'expected'),
    [
        (None, {}, dict(seed=None)),
        (None, dict(seed=1, deterministic=True), dict(seed=1, deterministic=True)),
        (dict(diff_rank_seed=True), {}, dict(seed=None, diff_rank_seed=True)),
        (
            dict(seed=3, diff_rank_seed=True),
            dict(seed=0),
            dict(seed=0, diff_rank_seed=True),
        ),
        (dict(seed=3), dict(diff_rank_seed=True), dict(seed=3, diff_rank_seed=True)),
    ],
)
def test_randomness_joins_config_and_arguments(randomness, changes, expected):
    cfg = Config({} if randomness is None else dict(randomness=randomness))
    launch.apply_train_arguments(cfg, train_arguments(**changes))
    assert cfg.randomness == expected


def test_no_validate_auto_scale_lr_and_resume(tmp_path):
    cfg = Config(dict(auto_scale_lr=dict(enable=False, base_batch_size=8), val_cfg=1))
    checkpoint, older = str(tmp_path / 'epoch_2.pth'), str(tmp_path / 'older.pth')
    torch.save({}, checkpoint)
    torch.save({}, older)
    args = train_arguments(no_validate=True, auto_scale_lr=True, resume=checkpoint)
    launch.apply_train_arguments(cfg, args)
    assert cfg.val_cfg is None and cfg.val_dataloader is None
    assert cfg.val_evaluator is None
    assert cfg.auto_scale_lr == dict(enable=True, base_batch_size=8)
    assert cfg.resume and cfg.load_from == checkpoint

    # --resume alone: the newest checkpoint, and until there is one `load_from`.
    cfg = Config(dict(load_from=older, work_dir=str(tmp_path / 'work')))
    launch.apply_train_arguments(cfg, train_arguments(resume='auto'))
    assert not cfg.resume and cfg.load_from == older
    (tmp_path / 'work').mkdir()
    (tmp_path / 'work/last_checkpoint').write_text(checkpoint)
    launch.apply_train_arguments(cfg, train_arguments(resume='auto'))
    assert cfg.resume and cfg.load_from == checkpoint


def test_a_checkpoint_cut_in_half_is_told(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(weight=torch.zeros(1000)), path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match='a part of a file'):
        launch.apply_train_arguments(Config(), train_arguments(resume=str(path)))


@pytest.mark.parametrize('legacy', [False, True])
def test_checkpoints_that_mmengine_cannot_load(tmp_path, legacy):
    """It would say so after minutes, with the advice to switch safety off."""

    def resume(path):
        launch.apply_train_arguments(Config(), train_arguments(resume=str(path)))

    path = tmp_path / 'a.pth'
    weights = {'encoder.norm.weight': torch.ones(2)}
    new = not legacy
    torch.save({'model': weights}, path, _use_new_zipfile_serialization=new)
    resume(path)
    content = {'model': weights, 'args': Namespace(lr=1)}
    torch.save(content, path, _use_new_zipfile_serialization=new)
    with pytest.raises(ValueError, match='authors do; convert it with tools/convert'):
        resume(path)
    content = {'model': weights, 'args': Path}
    torch.save(content, path, _use_new_zipfile_serialization=new)
    with pytest.raises(ValueError, match='rejected, it asks to run') as info:
        resume(path)
    assert 'weights_only' not in str(info.value)
    (tmp_path / 'a.safetensors').write_bytes(b'x')
    with pytest.raises(ValueError, match='does not load .safetensors; convert it'):
        resume(tmp_path / 'a.safetensors')


@pytest.mark.parametrize(('batch_size', 'passes'), [(8, 1), (2, 4)])
def test_auto_scale_lr_counts_accumulated_passes(toy, tmp_path, batch_size, passes):
    options = {
        'train_dataloader.batch_size': batch_size,
        'optim_wrapper.accumulative_counts': passes,
        'auto_scale_lr.base_batch_size': 4,
        'auto_scale_lr.enable': False,
        'val_dataloader': None,
        'val_cfg': None,
        'val_evaluator': None,
    }
    arguments = train_arguments(
        toy, cfg_options=options, auto_scale_lr=True, work_dir=str(tmp_path)
    )
    cfg = launch.load_config(arguments)
    launch.apply_train_arguments(cfg, arguments)
    launch.drop_amp_without_accelerator(cfg)
    runner = RUNNERS.build(cfg)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
    assert runner.optim_wrapper.get_lr()['lr'] == [pytest.approx(2e-3)]


def test_auto_scale_lr_needs_a_base_batch_size():
    with pytest.raises(
        ValueError, match=r'expected auto_scale_lr=dict\(base_batch_size'
    ):
        launch.apply_train_arguments(Config(), train_arguments(auto_scale_lr=True))


@pytest.mark.parametrize(
    'hooks, told',
    [
        (dict(custom_hooks=[dict(type='KnnHook')]), r'custom_hooks\.0: KnnHook'),
        (dict(default_hooks=dict(ema=dict(type='EMAHook'))), r'default_hooks\.ema: E'),
    ],
)
def test_hooks_that_need_whole_weights(hooks, told):
    cfg = Config(dict(hooks, strategy=dict(type='ShardedStrategy')))
    with pytest.raises(ValueError, match=told):
        launch.check_hooks(cfg)
    cfg.strategy.type = 'DDPStrategy'
    launch.check_hooks(cfg)
    built = dict(custom_hooks=[IterTimerHook()], strategy=dict(type='ShardedStrategy'))
    launch.check_hooks(built)
    cfg.pop('strategy')
    launch.check_hooks(cfg)


@pytest.mark.parametrize(
    'switch, told',
    [
        (dict(disable=True, mode='fastest'), 'mode'),
        (dict(backend='nonsense'), 'backend'),
        (dict(colour=1), 'colour'),
        (dict(dynamic='yes'), 'bool'),
        (dict(options='fast'), 'fast'),
        ('max-autotune', 'compile.mode=max-autotune'),
        (1, '1'),
    ],
)
def test_arguments_of_compile_are_checked(switch, told):
    with pytest.raises(ValueError, match=f'compile: expected .*{told}'):
        launch.check_compile(Config(dict(compile=switch)))


@pytest.mark.parametrize(
    'switch', [None, False, True, dict(disable=True), dict(mode='lite')]
)
def test_compile_as_it_should_be(switch):
    launch.check_compile(Config(dict(compile=switch)))
    launch.check_compile(Config())


def test_a_schedule_longer_than_the_run_is_told():
    schedule = [dict(type='LinearLR', end=40), dict(type='CosineAnnealingLR', begin=40)]
    cfg = Config(dict(train_cfg=dict(max_epochs=41), param_scheduler=schedule))
    launch.check_schedule(cfg)
    cfg.train_cfg.max_epochs = 40
    message = r'begins after 40 epochs.* has only 40.*param_scheduler\.0\.end='
    with pytest.raises(ValueError, match=message):
        launch.check_schedule(cfg)


def test_amp_changes_the_optimizer_wrapper():
    cfg = Config(dict(optim_wrapper=dict(clip_grad=1)))
    launch.apply_train_arguments(cfg, train_arguments(amp=True))
    assert cfg.optim_wrapper == dict(type='AmpOptimWrapper', clip_grad=1)
    cfg.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(ValueError, match='got ApexOptimWrapper; drop --amp'):
        launch.apply_train_arguments(cfg, train_arguments(amp=True))


@pytest.mark.parametrize('accelerator', [False, True])
def test_amp_is_left_out_only_without_an_accelerator(monkeypatch, warned, accelerator):
    monkeypatch.setattr(launch.processes, 'has_accelerator', lambda: accelerator)
    amp = dict(type='AmpOptimWrapper', loss_scale='dynamic', dtype='bfloat16', x=1)
    cfg = Config(dict(optim_wrapper=amp))
    launch.drop_amp_without_accelerator(cfg)
    if accelerator:
        assert cfg.optim_wrapper == amp and not warned
    else:
        assert cfg.optim_wrapper == dict(type='OptimWrapper', x=1)
        assert 'full precision' in warned[0]


def test_dump_is_added_to_the_evaluators(toy):
    checkpoint = str(toy.parent / 'weights.pth')
    torch.save({}, checkpoint)
    args = Namespace(config=str(toy), checkpoint=checkpoint, dump='out.pkl')
    dump = dict(type='DumpResults', out_file_path='out.pkl')
    for given, kept in ((dict(type='A'), 1), ([dict(type='A'), dict(type='B')], 2)):
        test = dict(test_dataloader={}, test_cfg={}, test_evaluator=given)
        cfg = Config(dict(model={}, **test))
        launch.apply_test_arguments(cfg, args)
        assert len(cfg.test_evaluator) == kept + 1 and cfg.test_evaluator[-1] == dump
    with pytest.raises(ValueError, match='expected a .pkl file, got out.json'):
        launch.apply_test_arguments(
            cfg, Namespace(**{**vars(args), 'dump': 'out.json'})
        )
    with pytest.raises(ValueError, match='got no model, test_dataloader'):
        launch.apply_test_arguments(Config(), args)


# What a config says twice


def test_variables_of_the_config_file_are_warned_of(toy, warned):
    options = {
        'pipeline.1.clip_len': 8,
        'train_dataloader.batch_size': 2,
        'randomness.seed': 1,
    }
    launch.load_config(train_arguments(toy, cfg_options=options))
    (message,) = warned
    assert 'pipeline.1.clip_len is used only inside the config file' in message


@pytest.mark.parametrize(
    'constructor',
    ['LearningRateDecayOptimizerConstructor', 'TokenLayerDecayOptimizerConstructor'],
)
@pytest.mark.parametrize(
    'kind', ['MaskedVisionTransformer', 'SeparableVisionTransformer']
)
def test_layer_decay_has_the_layers_of_the_encoder(constructor, kind):
    model = dict(backbone=dict(type=kind, depth=24))
    wrapper = dict(constructor=constructor, paramwise_cfg=dict(num_layers=24))
    cfg = Config(dict(model=model, optim_wrapper=wrapper))
    launch.check_layer_decay(cfg)
    cfg.optim_wrapper.paramwise_cfg.num_layers = 12
    message = r'paramwise_cfg\.num_layers: expected 24, as in model\.backbone\.depth'
    with pytest.raises(ValueError, match=message):
        launch.check_layer_decay(cfg)
    cfg.optim_wrapper.pop('constructor')
    launch.check_layer_decay(cfg)


def test_views_are_limited_one_video_at_a_time():
    cfg = Config(dict(model=dict(test_cfg=dict(max_testing_views=2))))
    cfg.val_dataloader, cfg.test_dataloader = dict(batch_size=4), dict(batch_size=1)
    launch.check_views(cfg, ('test',))
    message = 'max_testing_views=2: expected one video a batch, got val_dataloader'
    with pytest.raises(ValueError, match=message):
        launch.check_views(cfg, ('val', 'test'))
    cfg.model.test_cfg.max_testing_views = None
    launch.check_views(cfg, ('val', 'test'))


# Data


def data_config(root: Path, **changes) -> Config:
    dataset = dict(
        type='VideoDataset',
        ann_file='list.txt',
        data_root=str(root),
        data_prefix=dict(video='videos'),
        pipeline=[],
    )
    return Config(dict(train_dataloader=dict(dataset={**dataset, **changes})))


@pytest.mark.parametrize(
    'changes',
    [
        {},
        dict(data_root='s3://bucket'),
        dict(ann_file='https://host/list.txt'),
        dict(data_prefix=dict(video='s3://bucket/videos')),
    ],
)
def test_data_that_is_there_or_remote_passes(toy, changes):
    launch.check_data(data_config(toy.parent, **changes), ('train', 'val'))


def test_only_what_is_used_is_checked(toy):
    cfg = data_config(toy.parent)
    cfg.test_dataloader = dict(dataset=dict(type='VideoDataset', ann_file='nowhere'))
    launch.check_data(cfg, ('train', 'val'))
    with pytest.raises(FileNotFoundError, match='test_dataloader.dataset.ann_file'):
        launch.check_data(cfg, ('test',))


@pytest.mark.parametrize(
    ('changes', 'error', 'message'),
    [
        (
            dict(ann_file='nowhere.txt'),
            FileNotFoundError,
            r'train_dataloader\.dataset\.ann_file: annotation file not found: '
            r'\S+nowhere\.txt; .* --cfg-options \S+dataset\.ann_file=PATH',
        ),
        (dict(ann_file='empty.txt'), ValueError, r'ann_file: \S+empty\.txt is empty'),
        (dict(ann_file='blank.txt'), ValueError, r'ann_file: \S+blank\.txt is empty'),
        (
            dict(ann_file='spaces.txt'),
            ValueError,
            r"ann_file: line 2 of \S+: expected 'VIDEO LABEL', got 'my video.mp4 1'",
        ),
        (
            dict(ann_file='class.txt'),
            ValueError,
            "expected 'VIDEO LABEL', got '0.mp4 jump'",
        ),
        (
            dict(data_prefix=dict(video='nowhere')),
            FileNotFoundError,
            r'dataset\.data_prefix\.video: folder not found: \S+nowhere',
        ),
        (
            dict(ann_file='gone.txt'),
            FileNotFoundError,
            r'data_prefix\.video: video of line 2 of \S+gone\.txt not found: \S+9\.mp4',
        ),
        (
            dict(
                type='VideoFolderDataset',
                ann_file=None,
                data_prefix=None,
                data_root='/no',
            ),
            FileNotFoundError,
            'dataset.data_root: folder not found: /no;',
        ),
    ],
)
def test_data_that_is_not_there(toy, changes, error, message):
    root = toy.parent
    (root / 'empty.txt').write_text('')
    (root / 'blank.txt').write_text('\n\n')
    (root / 'spaces.txt').write_text('0.mp4 0\nmy video.mp4 1\n')
    (root / 'class.txt').write_text('0.mp4 jump\n')
    (root / 'gone.txt').write_text('0.mp4 0\n9.mp4 1\n')
    with pytest.raises(error, match=message):
        launch.check_data(data_config(root, **changes), ('train',))


def classifier_config(root, ann_file='list.txt', **blending) -> Config:
    cfg = data_config(root, ann_file=ann_file)
    cfg.model = dict(
        cls_head=dict(num_classes=3), data_preprocessor=dict(blending=blending)
    )
    return cfg


@pytest.mark.parametrize('label', ['3', '-1', '0 3', ''])
def test_labels_are_classes(toy, label):
    lines = ['0.mp4 0', '1.mp4 2', f'2.mp4 {label}'.strip()]
    (toy.parent / 'labels.txt').write_text('\n'.join(lines))
    cfg = classifier_config(toy.parent, 'labels.txt')
    message = (
        rf'train_dataloader\.dataset\.ann_file: line 3 of \S+: .* from 0 to 2, as '
        rf'model\.cls_head\.num_classes=3 says, got {label or "none"};'
    )
    with pytest.raises(ValueError, match=message):
        launch.check_classes(cfg, ('train', 'val'))
    launch.check_classes(cfg, ('val',))
    cfg.model.pop('cls_head')
    launch.check_classes(cfg, ('train',))


def test_blending_has_the_classes_of_the_head(toy):
    one = dict(type='MixupBlending', num_classes=3)
    other = dict(type='CutmixBlending', num_classes=2)
    for blending in (one, dict(augments=[one]), dict(augments=one)):
        launch.check_classes(classifier_config(toy.parent, **blending), ('train',))
    message = r'blending\.augments\.1\.num_classes: expected 3, as in .*, got 2'
    with pytest.raises(ValueError, match=message):
        cfg = classifier_config(toy.parent, augments=[one, other])
        launch.check_classes(cfg, ('train',))


def test_wrapped_data_sets_are_found(toy):
    inner = data_config(toy.parent).train_dataloader.dataset
    broken = {**inner, 'ann_file': 'nowhere.txt'}
    concat = dict(type='ConcatDataset', datasets=[inner, broken])
    repeat = dict(type='RepeatDataset', times=2, dataset=concat)
    cfg = Config(dict(train_dataloader=dict(dataset=repeat)))
    where = r'^train_dataloader\.dataset\.dataset\.datasets\.1\.ann_file: '
    with pytest.raises(FileNotFoundError, match=where):
        launch.check_data(cfg, ('train',))


def test_lines_of_other_data_sets_are_not_judged(toy):
    (toy.parent / 'poses.pkl').write_bytes(b'\x80\x02\xff\xfe')
    cfg = data_config(
        toy.parent, type='PoseDataset', ann_file='poses.pkl', data_prefix={}
    )
    launch.check_data(cfg, ('train',))
    (toy.parent / 'poses.pkl').write_bytes(b'')
    with pytest.raises(ValueError, match='poses.pkl is empty'):
        launch.check_data(cfg, ('train',))


# Errors on the command line


@pytest.mark.parametrize(
    ('name', 'arguments', 'message'),
    [
        ('train', ['nowhere.py'], 'config not found: nowhere.py'),
        (
            'train',
            ['{toy}', '--resume', 'nowhere.pth'],
            'checkpoint not found: nowhere.pth',
        ),
        ('train', ['{toy}', '--auto-scale-lr'], 'expected auto_scale_lr'),
        ('train', ['{toy}', '--cfg-options', 'pipeline.9.type=1'], 'Index 9 exceeds'),
        (
            'train',
            ['{toy}', '--cfg-options', 'train_dataloader.dataset.ann_file=no'],
            'annotation file not found',
        ),
        ('train', ['{toy}', '--launcher', 'slurm'], 'SLURM_NTASKS'),
        ('test', ['{toy}', 'nowhere.pth'], 'checkpoint not found: nowhere.pth'),
        (
            'train',
            ['{toy}', '--cfg-options', 'model.cls_head.num_classes=1'],
            'expected a label from 0 to 0',
        ),
        (
            'train',
            ['{toy}', '--cfg-options', 'val_dataloader.batch_size=2']
            + ['model.test_cfg.max_testing_views=1'],
            'expected one video a batch',
        ),
        (
            'train',
            ['{toy}', '--cfg-options', 'optim_wrapper.paramwise_cfg.num_layers=3']
            + ['optim_wrapper.constructor=LearningRateDecayOptimizerConstructor'],
            'num_layers: expected 1, as in model.backbone.depth',
        ),
    ],
)
def test_bad_use_is_told_in_one_line(toy, capsys, name, arguments, message):
    with pytest.raises(SystemExit) as exit_info:
        tool(name).main([part.format(toy=toy) for part in arguments])
    assert exit_info.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ') and message in line


def test_only_the_first_process_of_a_machine_tells(monkeypatch, capsys):
    monkeypatch.setenv('SLURM_PROCID', '9')
    monkeypatch.setenv('SLURM_LOCALID', '0')
    with pytest.raises(SystemExit), launch.errors_in_one_line(ValueError):
        raise ValueError('the folder is missing here')
    assert 'missing here' in capsys.readouterr().err
    monkeypatch.setenv('SLURM_LOCALID', '1')
    with pytest.raises(SystemExit), launch.errors_in_one_line(ValueError):
        raise ValueError('twice is once too often')
    assert capsys.readouterr().err == ''


def test_option_without_value(capsys):
    with pytest.raises(SystemExit) as exit_info:
        tool('train').parse_args(['toy.py', '--cfg-options', 'batch_size'])
    assert exit_info.value.code == 2
    assert "expected KEY=VALUE, got 'batch_size'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ('script', 'arguments', 'env', 'message'),
    [
        ('dist_train.sh', ['toy.py'], {}, 'usage: dist_train.sh CONFIG GPUS'),
        (
            'dist_test.sh',
            ['toy.py', 'x.pth'],
            {},
            'usage: dist_test.sh CONFIG CHECKPOINT',
        ),
        ('dist_train.sh', ['2', 'toy.py'], {}, 'GPUS: expected a number of processes'),
        ('dist_train.sh', ['toy.py', '2'], dict(NNODES='2'), 'set MASTER_ADDR'),
        ('slurm_train.sh', ['gpu', 'job'], {}, 'usage: slurm_train.sh PARTITION'),
        (
            'slurm_test.sh',
            ['gpu', 'job', 'toy.py'],
            {},
            'usage: slurm_test.sh PARTITION',
        ),
    ],
)
def test_scripts_say_what_is_missing(tmp_path, script, arguments, env, message):
    result = run([ROOT / 'tools' / script, *arguments], tmp_path, **env)
    assert result.returncode == 2 and message in result.stderr


# Whole runs


@pytest.fixture(scope='module')
def trained(toy) -> subprocess.CompletedProcess:
    """Two processes train and validate for an epoch, started from elsewhere."""
    modules = toy.parent / 'modules'
    modules.mkdir()
    (modules / 'my_module.py').write_text('')
    result = run(
        [ROOT / 'tools/dist_train.sh', '../toy.py', 2, '--work-dir', toy.parent / 'run']
        + ['--cfg-options', 'custom_imports.imports=[my_module,projects.adamae]'],
        cwd=modules,
        PYTHONPATH=str(modules),
    )
    assert result.returncode == 0, result.stderr
    return result


def test_two_processes_train_and_validate_without_gpu(toy, trained):
    assert 'Epoch(train) [1][2/2]' in trained.stdout  # 4 videos on 2 processes
    assert 'Epoch(val) [1][2/2]' in trained.stdout
    assert trained.stdout.count('training in full precision') == 1
    assert (toy.parent / 'run/epoch_1.pth').is_file()


def test_run_is_resumed_and_tested(toy, trained, capsys):
    work_dir = toy.parent / 'run'
    options = ['--cfg-options', 'train_cfg.max_epochs=2']
    tool('train').main([str(toy), '--work-dir', str(work_dir), '--resume', *options])
    assert 'resumed epoch: 1' in capsys.readouterr().out
    last = work_dir / 'epoch_2.pth'
    assert torch.load(last)['meta']['epoch'] == 2
    dump = toy.parent / 'results.pkl'
    tool('test').main(
        [str(toy), str(last), '--work-dir', str(work_dir), '--dump', str(dump)]
    )
    assert 'acc/top1' in capsys.readouterr().out
    assert len(load(dump)) == 4


def test_weights_that_are_not_finite_are_not_tested(toy, trained, capsys):
    content = torch.load(toy.parent / 'run/epoch_1.pth')
    content['state_dict']['cls_head.fc_cls.bias'][0] = float('inf')
    torch.save(content, toy.parent / 'inf.pth')
    with pytest.raises(SystemExit):
        tool('test').main(
            [str(toy), str(toy.parent / 'inf.pth')]
            + ['--work-dir', str(toy.parent / 'inf')]
        )
    line = capsys.readouterr().err.splitlines()[-1]
    assert 'cls_head.fc_cls.bias: not finite' in line


def test_checkpoint_of_another_architecture(toy, trained, capsys):
    checkpoint = toy.parent / 'run/epoch_1.pth'
    wider = ['model.backbone.embed_dims=32', 'model.cls_head.in_channels=32']
    with pytest.raises(SystemExit) as exit_info:
        tool('test').main(
            [str(toy), str(checkpoint), '--work-dir', str(toy.parent / 'other')]
            + ['--cfg-options', *wider]
        )
    assert exit_info.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f'error: {checkpoint} does not fit the Recognizer3D')


# A stand-in for Slurm on one machine: runs the command once a task.
FAKE_SLURM = dict(
    srun="""#!/usr/bin/env bash
echo "$@" > arguments.txt
while [[ $1 == --* ]]; do
    [[ $1 == --ntasks=* ]] && tasks=${1#*=}
    shift
done
export SLURM_NTASKS=$tasks SLURM_NODELIST=node[1]
for ((task = 0; task < tasks; task++)); do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" &
    started+=($!)
done
for process in "${started[@]}"; do wait "$process" || exit; done
""",
    scontrol="""#!/usr/bin/env bash
[[ "$*" == 'show hostnames node[1]' ]] && echo 127.0.0.1 && echo node2
""",
)


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Path:
    """A folder with the stand-in, which is on the PATH."""
    for name, source in FAKE_SLURM.items():
        (tmp_path / name).write_text(source)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    return tmp_path


def test_slurm_script_asks_for_processes(slurm):
    result = run(
        [ROOT / 'tools/slurm_train.sh', 'gpu', 'my_job', 'my config.py', '--amp'],
        cwd=slurm,
        PYTHON='echo',
        GPUS='2',
        SRUN_ARGS='--exclusive --time=10',
    )
    arguments = (slurm / 'arguments.txt').read_text()
    command = f'-u {ROOT}/tools/train.py my config.py --amp --launcher slurm\n'
    assert arguments == (
        '--partition=gpu --job-name=my_job --gres=gpu:2 --ntasks=2 --ntasks-per-node=2 '
        '--cpus-per-task=5 --kill-on-bad-exit=1 --exclusive --time=10 echo ' + command
    )
    assert result.stdout == 2 * command


def test_processes_of_slurm_are_connected(slurm, monkeypatch):
    monkeypatch.setattr(launch.processes, 'has_accelerator', lambda: False)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('SLURM_PROCID', '0')
    monkeypatch.setenv('SLURM_NTASKS', '1')
    monkeypatch.setenv('SLURM_LOCALID', '0')
    monkeypatch.setenv('SLURM_NODELIST', 'node[1]')
    cfg = Config(
        dict(
            launcher='slurm',
            env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=60)),
            model_wrapper_cfg=dict(find_unused_parameters=True),
        )
    )
    launch.connect_processes(cfg)
    try:
        assert torch.distributed.get_backend() == 'gloo'
        assert torch.distributed.get_world_size() == 1
        assert os.environ['MASTER_ADDR'] == '127.0.0.1'
        assert os.environ['LOCAL_RANK'] == '0'
    finally:
        torch.distributed.destroy_process_group()
        for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
            os.environ.pop(name)
    assert cfg.model_wrapper_cfg == dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=True,
        device_ids=None,
    )


def test_accelerators_are_left_to_mmengine(monkeypatch):
    monkeypatch.setattr(launch.processes, 'has_accelerator', lambda: True)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.setenv(name, '0')
    cfg = Config(dict(launcher='pytorch'))
    launch.connect_processes(cfg)
    assert not torch.distributed.is_initialized()
    assert 'model_wrapper_cfg' not in cfg


@pytest.mark.slow
def test_slurm_trains_and_tests_with_two_processes(toy, slurm):
    script, job = ROOT / 'tools/slurm_train.sh', ('cpu', 'my_job', toy)
    env = dict(GPUS='2', OMP_NUM_THREADS='1')
    result = run([script, *job, '--work-dir', slurm / 'run'], slurm, **env)
    assert 'Epoch(val) [1][2/2]' in result.stdout
    script, checkpoint = ROOT / 'tools/slurm_test.sh', slurm / 'run/epoch_1.pth'
    result = run([script, *job, checkpoint, '--work-dir', slurm / 'run'], slurm, **env)
    assert 'Epoch(test) [2/2]    acc/top1' in result.stdout


@pytest.mark.slow
def test_dist_test_agrees_with_one_process(toy, trained, capsys):
    checkpoint = toy.parent / 'run/epoch_1.pth'
    work_dir = ['--work-dir', toy.parent / 'dist_test']
    script = ROOT / 'tools/dist_test.sh'
    # A port and a node of its own: the way of runs over several machines.
    env = dict(PORT='29731', MASTER_ADDR='127.0.0.1', NODE_RANK='0')
    two = run([script, toy, checkpoint, 2, *work_dir], toy.parent, **env)
    tool('test').main([str(toy), str(checkpoint), *map(str, work_dir)])
    one = capsys.readouterr().out

    def accuracy(output: str) -> str:
        return output.split('acc/top1: ')[1].split()[0]

    assert accuracy(two.stdout) == accuracy(one)
