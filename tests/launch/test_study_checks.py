"""A comparison on one's own data: planned, checked, and run from end to end."""

import json
import re
import shutil
import signal

import numpy as np
import pytest
from PIL import Image

from projects.adamae.analysis import study
from projects.adamae.analysis.strategies import STRATEGIES, read_strategy
from projects.adamae.launch.study_checks import plan_study
from tests.helpers import load_tool, run_tool, write_videos

PRETRAIN = """
default_scope = 'mmaction'
custom_imports = dict(imports=['projects.adamae'])
pipeline = [
    dict(type='DecordInit'),
    dict(type='SampleFrames', clip_len=8, out_of_bound_opt='repeat_last'),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(16, 16), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')]
dataset = dict(
    type='TolerantVideoDataset', ann_file='lists/train.txt',
    data_prefix=dict(video='videos'), pipeline=pipeline,
    serialize_data=False)  # it would collect garbage
numbers = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
encoder = dict(img_size=16, patch_size=8, num_frames=8, embed_dims=16, depth=1,
    num_heads=2)
model = dict(
    type='MAERecognizer',
    data_preprocessor=dict(type='AdaMAEDataPreprocessor', **numbers),
    backbone=dict(type='MaskedVisionTransformer', **encoder),
    sampler=dict(type='AdaptiveSamplerHead', mask_ratio=0.75, num_heads=2),
    decoder=dict(type='MAEDecoder', embed_dims=8, depth=1, num_heads=2),
    loss=dict(type='AdaMAELoss'))
train_dataloader = dict(
    batch_size=2, num_workers=0, drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True), dataset=dataset)
train_cfg = dict(type='ResumableEpochTrainLoop', max_epochs=1)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
default_hooks = dict(checkpoint=dict(type='SafeCheckpointHook', interval=1))
load_from = None
"""
PROBE = """
_base_ = 'toy_pretrain.py'
num_classes = 2
model = dict(
    _delete_=True, type='Recognizer3D',
    data_preprocessor=dict(
        type='BatchedDataPreprocessor', format_shape='NCTHW', **_base_.numbers),
    backbone=dict(type='FrozenVisionTransformer', **_base_.encoder),
    cls_head=dict(
        type='LinearProbeHead', num_classes=num_classes, in_channels=16,
        average_clips='prob'))
val_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(_base_.dataset, ann_file='lists/val.txt', test_mode=True))
val_evaluator = dict(type='AccMetric')
val_cfg = dict(type='ValLoop')
"""
FINETUNE = """
_base_ = 'toy_probe.py'
model = dict(
    backbone=dict(type='MaskedVisionTransformer'),
    cls_head=dict(type='TimeSformerHead'))
test_dataloader = _base_.val_dataloader
test_evaluator = _base_.val_evaluator
test_cfg = dict(type='TestLoop')
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('own')
    lines = write_videos(root / 'videos', count=6, frames=8)
    (root / 'lists').mkdir()
    (root / 'lists/train.txt').write_text('\n'.join(lines[:4]))
    (root / 'lists/val.txt').write_text('\n'.join(lines[4:]))
    for name, text in dict(pretrain=PRETRAIN, probe=PROBE, finetune=FINETUNE).items():
        (root / f'toy_{name}.py').write_text(text)
    return root


@pytest.fixture
def own(folder, tmp_path, monkeypatch):
    """A folder of a stranger, who works in it."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def plan(own, *judges, samplers=('adaptive', 'random'), **options):
    judges = judges or ('knn',)
    config = (own / 'toy_pretrain.py').relative_to(own)
    return plan_study(config, samplers, [0, 1], judges, own / 'out', **options)


def test_plan(own):
    """Names, configs that differ in the sampler only, chance, and what will run."""
    (own / 'lists/val.txt').write_text('4.mp4 0\n5.mp4 0\n3.mp4 1\n')
    found = plan(own, 'knn', 'finetune', samplers=['adaptive', 'tube@0.5', 'frame@0.5'])
    assert [method.title for method in found.methods] == [
        'AdaMAE (adaptive), 75%',
        'tube, 50%',
        'frame, 50%',
        'no pre-training (random)',
    ]
    tube = found.files[found.methods[1].config]
    assert f'{own}/toy_pretrain.py' in tube
    assert "_delete_=True, type='TubeSamplerHead', mask_ratio=0.5" in tube
    adaptive = found.files[found.methods[0].config]
    assert 'sampler=dict(mask_ratio=0.75)' in adaptive  # the heads stay
    guessing = {
        'chance, 1 of 2 classes': 1 / 2,
        'always the largest class': 2 / 3,
    }
    assert found.levels == {'k-NN': guessing, 'fine-tuned': guessing}
    assert found.judges.k == 4  # there are no 20 training videos
    assert found.judges.knn == own / 'toy_probe.py'
    assert found.judges.probe is None
    pretraining, knn, finetuning = found.summary
    assert '6 pre-trainings (3 strategies x 2 seeds), 1 epoch of 4 v' in pretraining
    assert '8 times k-NN: 4 training videos, judged by 3 of val_dataloader' in knn
    assert '8 fine-tunings, 1 epoch: ' in finetuning
    assert any('The ratios differ' in note for note in found.notes)
    assert any('as asked for' in note for note in found.notes)


def test_published_ratios():
    sampler = dict(type='AdaptiveSamplerHead', mask_ratio=0.9)
    ratios = {name: read_strategy(name, sampler).mask_ratio for name in STRATEGIES}
    assert ratios == {
        'adaptive': 0.9,  # of the config
        'random': 0.9,
        'tube': 0.9,
        'frame': 0.875,
        'frame_difference': 0.9,  # a control
    }
    sampler = dict(type='TubeSamplerHead', mask_ratio=0.8)
    ratios = [read_strategy(name, sampler).mask_ratio for name in STRATEGIES]
    assert ratios == [0.95, 0.9, 0.8, 0.875, 0.95]


WRONG = {
    'unknown sampler': (
        dict(samplers=['adaptive', 'cube']),
        r'--samplers: expected some of adaptive, random, tube, frame, frame_difference',
    ),
    'wrong ratio': (dict(samplers=['tube@90']), r'between 0 and 1 after the @.*90'),
    'twice': (dict(samplers=['tube', 'tube@0.9']), 'tube@0.9 is named twice'),
    'no token left': (
        dict(samplers=['frame']),
        r'frame@0\.875: .*leaves 0 of 16.* frame@RATIO',
    ),
}


@pytest.mark.parametrize('case', WRONG)
def test_samplers_are_checked(own, case):
    options, told = WRONG[case]
    with pytest.raises(ValueError, match=told):
        plan(own, **options)


BROKEN = {
    'file': (
        'pretrain',
        'videos',
        'nowhere',
        'pretrain.py: train_dataloader.dataset.data_prefix.video',
    ),
    'syntax': ('pretrain', 'load_from = None', 'load_from = ', 'expected a config'),
    'batch': ('pretrain', 'batch_size=2', 'batch_size=9', 'one batch of 9; lower'),
    'weights': ('pretrain', 'load_from = None', "load_from = 'x'", 'load_from: expec'),
    'nothing to learn from': (
        'pretrain',
        "'AdaMAELoss'",
        "'AdaMAELoss', sampling_weight=0",
        'sampling_weight: expected more than 0',
    ),
    'needs probabilities': (
        'pretrain',
        "loss=dict(type='AdaMAELoss')",
        "subset=dict(type='SamplerSubset')",
        'random@0.9: SamplerSubset: expected the log-prob',
    ),
    'no pre-training': (
        'pretrain',
        'sampler=dict',
        'sample=dict',
        'model.sampler: exp',
    ),
    'other folder': (
        'pretrain',
        'dict(checkpoint=dict(',
        "dict(checkpoint=dict(out_dir='c', ",
        'default_hooks.checkpoint.out_dir: expected none',
    ),
    'classes': ('probe', 'num_classes = 2', 'num_classes = 1', 'label from 0 to 0'),
    'no metric': ('probe', "'AccMetric'", "'MaskingMetric', patch_size=8", 'AccMetric'),
    'no videos': ('probe', "val_cfg = dict(type='ValLoop')", '', 'got neither'),
    'other size': (
        'probe',
        '**_base_.encoder',
        '**dict(_base_.encoder, depth=2)',
        'probe.py: model.backbone: .*depth=1 instead of 2.* give it the sizes',
    ),
    'start of its own': (
        'probe',
        "dict(type='FrozenVisionTransformer'",
        "dict(type='FrozenVisionTransformer', "
        "init_cfg=dict(type='Pretrained', checkpoint='toy_probe.py')",
        'init_cfg: expected none of type Pretrained',
    ),
    'list': ('probe', 'lists/val.txt', 'val.txt', 'annotation file'),
}


@pytest.mark.parametrize('case', BROKEN)
def test_configs_are_checked(own, case):
    name, old, new, told = BROKEN[case]
    replace(own / f'toy_{name}.py', old, new)
    with pytest.raises((ValueError, FileNotFoundError), match=told) as error:
        plan(own, 'probe')
    assert f'toy_{name}.py' in str(error.value) or '--samplers' in str(error.value)


def test_labels_are_checked(own):
    for text, told in (
        ('', 'is empty'),
        ('4.mp4\n', 'one label from 0'),
        ('4.mp4 -1\n', 'one label from 0'),
    ):
        (own / 'lists/val.txt').write_text(text)
        with pytest.raises(ValueError, match=told):
            plan(own, 'knn')
    shutil.copy(own / 'lists/train.txt', own / 'lists/val.txt')
    (own / 'lists/train.txt').write_text('0.mp4 1\n1.mp4 1\n')
    with pytest.raises(ValueError, match='2 classes or more, got 1'):
        plan(own, 'knn')


def test_judges_need_a_config(own):
    finetune = own / 'toy_finetune.py'
    assert plan(own, 'knn').judges.knn == own / 'toy_probe.py'
    assert plan(own, 'knn', finetune=finetune).judges.knn == finetune
    (own / 'toy_probe.py').unlink()
    told = r'--judge knn: expected labeled videos, in a config named with --probe'
    finetune.unlink()
    with pytest.raises(ValueError, match=told):
        plan(own, 'knn')


def test_a_folder_belongs_to_one_study(own):
    """Strategies, seeds and judges may be added; settings may not change."""

    def start(found):
        for path, text in found.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    start(plan(own, 'knn'))
    replace(own / 'toy_pretrain.py', 'max_epochs=1', 'max_epochs=3')
    start(plan(own, 'knn'))  # nothing has run
    replace(own / 'toy_pretrain.py', 'max_epochs=3', 'max_epochs=1')
    start(plan(own, 'knn'))
    (own / 'out/adaptive_0.75/0').mkdir(parents=True)
    start(plan(own, 'probe', samplers=['tube']))
    replace(own / 'toy_pretrain.py', 'max_epochs=1', 'max_epochs=2')
    told = 'other settings: train_cfg.max_epochs of the config for .* was 1, is 2'
    with pytest.raises(ValueError, match=told):
        plan(own, 'knn')


def test_command_line(own, capsys):
    options = ['--config', 'toy_pretrain.py', '--seeds', '2', '--dry-run']
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # whoever started the tests ignores it
    run_tool('study', *options, '--samplers', 'adaptive,random', 'tube')
    for number in (signal.SIGTERM, signal.SIGHUP):  # lets runs save and end
        with pytest.raises(SystemExit, match=str(128 + number)):
            signal.raise_signal(number)
    assert '6 pre-trainings (3 strategies x 2 seeds)' in capsys.readouterr().out
    assert not (own / 'work_dirs').exists()
    with pytest.raises(SystemExit, match='2'):
        run_tool('study', *options[:4], '--samplers', 'tube', '--out', 'toy_probe.py')
    assert '--out: expected a folder' in capsys.readouterr().err
    for wrong, told in (
        (['--judge', 'jury'], 'some of knn, probe, finetune'),
        (['--samplers', 'cube'], 'some of adaptive, random'),
        (['--pretrain', 'toy_pretrain.py'], 'without --config'),
        (['--samplers', ','], 'one or more, got none'),
        (['--seeds', '0'], '1 seed or more'),
        (['--config', 'nothing.py'], 'config not found: nothing.py'),
    ):
        with pytest.raises(SystemExit, match='2'):
            run_tool('study', *options, *wrong)
        assert told in capsys.readouterr().err
    with pytest.raises(SystemExit, match='2'):
        run_tool('study', '--samplers', 'tube')
    assert '--samplers needs --config' in capsys.readouterr().err


@pytest.fixture
def fake_runs(monkeypatch):
    """Runs that take no time, and what they were told; ``fails`` says which fail."""
    calls, fails = [], {}

    def run(tool, *arguments, log, succeeds=(0,)):
        text = ' '.join(map(str, arguments))
        calls.append((tool, text))
        for part, last in fails.items():
            if part in f'{tool} {text}':
                raise study.RunError(f'{tool} failed, see {log}', last)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text('4       50.00% 100.00%\nerror: bad.mp4: unreadable\n')
        (log.parent / 'scalars.json').write_text('{"acc/top1": 0.5}')
        return study.Cost(60.0, 100.0)

    monkeypatch.setattr(study, 'run_tool', run)
    run.calls, run.fails = calls, fails
    return run


def test_what_fails_is_named_and_the_rest_is_kept(own, capsys, fake_runs):
    fake_runs.fails['random_0.9/0/pretrain'] = 'last lines\nof the log'
    options = ['--config', 'toy_pretrain.py', '--samplers', 'adaptive,random']
    with pytest.raises(SystemExit, match='2'):
        run_tool('study', *options, '--seeds', '2', '--judge', 'knn,finetune')
    err = capsys.readouterr().err.splitlines()
    assert re.match('error: random, 90%, seed 0: train.py failed, see .*log;', err[-1])
    assert err[-3:-1] == ['last lines', 'of the log']
    out = own / 'work_dirs/study_toy_pretrain'
    table = (out / 'table.md').read_text()
    for row in (
        '| AdaMAE (adaptive), 75% | 2 | 0.500 ± 0.000 | 0.500 ± 0.000 |',
        '| random, 90% | 1 | 0.500 | 0.500 |',
        '| no pre-training (random) | 2 |',
        '| chance, 1 of 2 classes |  | 0.500 | 0.500 |',
    ):
        assert row in table
    fake_runs.fails.clear()
    fake_runs.calls.clear()
    # Goes on with the one that is missing, and a judge may be added.
    run_tool('study', *options, '--seeds', '2', '--judge', 'knn,finetune')
    assert {
        text.split()[0] for tool, text in fake_runs.calls if tool == 'train.py'
    } == {
        str(own / out / 'configs/random_0.9.py').replace(f'{own}/', '', 1),
        str(own / 'toy_finetune.py'),
    }
    assert '| random, 90% | 2 |' in (out / 'table.md').read_text()
    fake_runs.calls.clear()
    run_tool('study', *options, '--seeds', '2', '--judge', 'probe')
    header = (out / 'table.md').read_text().splitlines()[0]
    assert '| linear |' in header and 'k-NN' not in header
    assert not any('toy_finetune' in text for _, text in fake_runs.calls)


def test_the_baseline_is_not_trained(own, fake_runs):
    """Random weights for k-NN and probe, and nothing to load for fine-tuning."""
    found = plan(own, 'knn', 'probe', 'finetune', samplers=['random'])
    study.run_study(found.methods[1:], [3], own / 'out', 1, found.judges)
    start = own / 'out/no_pretraining/3/initial.pth'
    assert start.exists()
    knn, probe, finetune, test = [text for _, text in fake_runs.calls]
    assert str(start) in knn and f'load_from={start}' in probe
    assert 'load_from=None' in finetune and '--skip-unreadable' in test


def test_a_mistake_of_ours_does_not_cost_the_others(own, monkeypatch):
    def evaluate(method, *arguments):
        return {'k-NN': {'b': 1.0}[method.name]}

    monkeypatch.setattr(study, 'evaluate', evaluate)
    methods = [study.Method('a'), study.Method('b')]
    results, (failure,) = study.run_study(methods, [0], own, 1, study.Judges())
    assert results == {'a': [], 'b': [{'k-NN': 1.0}]}
    assert failure[:3] == (methods[0], 0, "KeyError: 'a'")


def test_runs_share_devices_and_cores(own, monkeypatch):
    monkeypatch.setattr(study, 'visible_devices', lambda: ['4', '7'])
    seen = []

    def evaluate(*arguments):
        seen.append(study._PLACE.get())
        return {'k-NN': 1.0}

    monkeypatch.setattr(study, 'evaluate', evaluate)
    methods = [study.Method(name) for name in 'abcd']
    study.run_study(methods, [0], own, 2, study.Judges())
    assert {place['CUDA_VISIBLE_DEVICES'] for place in seen} <= {'4', '7'}
    seen.clear()
    study.run_study(methods, [0], own, 1, study.Judges())
    assert [place['CUDA_VISIBLE_DEVICES'] for place in seen] == ['4'] * 4


@pytest.mark.slow
def test_from_videos_to_a_table(own):
    options = ['--config', 'toy_pretrain.py', '--samplers', 'adaptive', 'random@0.75']
    run_tool('study', *options, '--seeds', '1', '--out', 'mine', '--judge', 'knn')
    table = (own / 'mine/table.md').read_text()
    assert len([row for row in table.splitlines() if row.startswith('|')]) == 6
    results = json.loads((own / 'mine/random_0.75/0/results.json').read_text())
    assert 0 <= results['k-NN'] <= 1
    assert (own / 'mine/plot.png').exists()
    # Three rows (the video, two strategies) of four time steps.
    picture = np.asarray(Image.open(own / 'mine/masks.png'))
    assert picture.ndim == 3 and picture.shape[0] > 300
    assert load_tool('study').JUDGES == ('knn', 'probe', 'finetune')
