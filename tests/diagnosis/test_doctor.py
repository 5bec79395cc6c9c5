"""A run that is all right has no findings, and a planted fault has its own."""

import json
import shutil

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config

from projects.adamae.diagnosis import Finding, diagnose, examine, weights
from projects.adamae.engine.hooks.fault_report import write_report
from projects.adamae.video.writer import encode_video
from tests.helpers import (
    run_tool,
    tiny_classifier_cfg,
    tiny_model_cfg,
    video_dataset_cfg,
)

STEPS = 30
LOG = f'- mmengine - INFO - Epoch(train)  [1][10/{STEPS}]  lr: 1e-3\n'
RGB = [123.675, 116.28, 103.53]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Nine videos in which a square moves, of three colors, and lists of them."""
    root = tmp_path_factory.mktemp('doctor')
    rng = np.random.default_rng(0)
    lines, still = [], []
    for i in range(9):
        folder = root / f'videos/{"abc"[i % 3]}'
        folder.mkdir(parents=True, exist_ok=True)
        frames = np.full((20, 32, 32, 3), rng.integers(60, 200, 3), np.uint8)
        (folder / f'still{i}.mp4').write_bytes(encode_video(frames, 12))
        start = rng.integers(0, 16, 2)
        for t, frame in enumerate(frames):
            row, column = (start + t * (1 + i % 4) // 2) % 24
            frame[row : row + 8, column : column + 8] = rng.integers(0, 256, (8, 8, 1))
        (folder / f'{i}.mp4').write_bytes(encode_video(frames, 12))
        lines.append(f'{folder.name}/{i}.mp4 {i % 3}')
        still.append(f'{folder.name}/still{i}.mp4 {i % 3}')
    rotated = [f'{line[:-1]}{i // 3}' for i, line in enumerate(lines)]
    for name, content in (
        ('list', lines),
        ('val', lines * 4),
        ('again', lines[:1] * 8),
        ('still', still),
        ('rotated', rotated),
    ):
        (root / f'{name}.txt').write_text('\n'.join(content) + '\n')
    return root


def loader(data, name='list', **sample):
    return dict(
        batch_size=2,
        num_workers=1,
        dataset=video_dataset_cfg(data, f'{name}.txt', **sample),
    )


def warm_up(end=1):
    return [
        dict(type='LinearLR', start_factor=0.01, by_epoch=True, end=end),
        dict(type='CosineAnnealingLR', by_epoch=True, begin=end),
    ]


def row(step, loss, rate=1e-3, **more):
    rate *= min(1, step / STEPS)
    return dict(
        base_lr=rate,
        lr=rate,
        data_time=0.02,
        time=0.2,
        loss=loss,
        epoch=-(-step // STEPS),
        iter=step,
        step=step,
        **more,
    )


def pretraining(loss=0.9, count=180, **more):
    """Scalars of a pre-training of so many steps that ends at this loss."""
    steps = range(10, count + 1, 10)
    losses = {s: max(loss, 1.2 - 0.006 * s) for s in steps}
    return [
        {**row(s, v, loss_reconstruction=v, sampler_entropy=0.99), **more}
        for s, v in losses.items()
    ]


def fine_tuning(loss, accuracy):
    rows = [
        row(s, v, loss_cls=v)
        for s in range(10, 181, 10)
        if (v := max(loss, 1.1 - s / 100))
    ]
    return [*rows, {'acc/top1': accuracy, 'step': 6}]


def save_run(
    folder, data, scalars=None, classifies=False, name='toy', log=LOG, **changes
):
    """Write the work folder of a run."""
    model = tiny_classifier_cfg() if classifies else tiny_model_cfg()
    cfg = Config(
        dict(
            default_scope='mmaction',
            model=model,
            train_dataloader=loader(data),
            train_cfg=dict(type='ResumableEpochTrainLoop', max_epochs=6),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
            param_scheduler=warm_up(),
        )
    )
    if classifies:
        cfg.val_dataloader = loader(data, 'val')
    cfg.merge_from_dict(changes)
    vis_data = folder / '20260101_000000/vis_data'
    vis_data.mkdir(parents=True)
    (vis_data / 'config.py').write_text(cfg.pretty_text)
    (folder / f'{name}.py').write_text(cfg.pretty_text)
    rows = pretraining() if scalars is None else scalars
    text = ''.join(json.dumps(r) + '\n' for r in rows)
    (vis_data / 'scalars.json').write_text(text)
    (vis_data.parent / 'run.log').write_text(log)
    return cfg


def save_weights(folder, cfg, number, change=lambda name, weight: weight):
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    weights = {k: change(k, v.clone()) for k, v in model.state_dict().items()}
    torch.save(dict(state_dict=weights, meta={}), folder / f'epoch_{number}.pth')


def test_a_healthy_run_has_no_findings(tmp_path, data):
    cfg = save_run(tmp_path, data)
    save_weights(tmp_path, cfg, 5, lambda name, w: w + 0.01 * torch.randn_like(w))
    save_weights(tmp_path, cfg, 6)
    found = examine(tmp_path)
    assert found.findings == []
    assert found.unknown == []
    assert {
        'waiting',
        'loss',
        'static',
        'same',
        'standing',
        'rank',
    } <= found.measured.keys()


def test_a_healthy_classifier_has_no_findings(tmp_path, data):
    cfg = save_run(tmp_path, data, fine_tuning(0.5, 1.0), classifies=True)
    save_weights(tmp_path, cfg, 6)
    assert diagnose(tmp_path) == []


@pytest.mark.parametrize(
    ('cause', 'scalars', 'changes'),
    [
        ('learning rate', pretraining(loss=1.0, count=600), {}),
        ('loader', pretraining(data_time=0.16), {}),
        ('warm-up', None, {'param_scheduler': warm_up(20)}),
        ('mask', None, {'model.sampler.mask_ratio': 0.99}),
        (
            'sampler does not learn',
            None,
            {'model.loss': dict(type='AdaMAELoss', sampling_weight=0)},
        ),
        ('static', None, {'train_dataloader': 'still'}),
        ('same videos', None, {'train_dataloader': 'again'}),
        ('stride', None, {'train_dataloader': dict(frame_interval=9)}),
        ('BGR', None, {'model.data_preprocessor.to_rgb': True}),
        (
            'mean',
            None,
            {
                'model.data_preprocessor.mean': [0.485, 0.456, 0.406],
                'model.data_preprocessor.std': [0.229, 0.224, 0.225],
            },
        ),
    ],
)
def test_a_fault_of_pretraining_is_named(tmp_path, data, cause, scalars, changes):
    changed = changes.get('train_dataloader')
    if isinstance(changed, str):
        changes = dict(train_dataloader=loader(data, changed))
    elif changed:
        changes = dict(train_dataloader=loader(data, **changed))
    save_run(tmp_path, data, scalars, **changes)
    findings = diagnose(tmp_path)
    assert [f.cause for f in findings if cause in f.cause], findings
    assert all(isinstance(f, Finding) and all(f) for f in findings)


@pytest.mark.parametrize(
    ('words', 'scalars', 'names'),
    [
        ('do not fit the videos', fine_tuning(0.3, 0.33), 'list'),
        ('nothing is learned of the labels', fine_tuning(1.095, 0.33), 'list'),
        ('shuffled', fine_tuning(0.3, 1.0), 'rotated'),
    ],
)
def test_labels_that_do_not_fit(tmp_path, data, words, scalars, names):
    changes = dict(train_dataloader=loader(data, names))
    save_run(tmp_path, data, scalars, classifies=True, **changes)
    findings = diagnose(tmp_path)
    assert [words in f.cause for f in findings] == [True]
    assert 'label' in findings[0].cause


@pytest.mark.parametrize(
    ('classes', 'causes'), [(['run', 'jump', 'sit'], 0), (['A', 'b', 'c'], 1)]
)
def test_folders_tell_labels_where_they_have_names_of_classes(
    tmp_path, data, classes, causes
):
    train = loader(data, 'rotated')
    train['dataset']['metainfo'] = dict(classes=classes)
    save_run(tmp_path, data, fine_tuning(0.3, 1.0), True, train_dataloader=train)
    assert len(diagnose(tmp_path)) == causes


def test_settings_are_compared_with_the_shipped_config_of_the_name(tmp_path, data):
    changes = {
        'model.loss': dict(type='AdaMAELoss', norm_pix=False),
        'model.data_preprocessor.mean': RGB[::-1],
    }
    save_run(tmp_path, data, name='motion_pretrain', **changes)
    causes = [f.cause for f in diagnose(tmp_path)]
    assert any('not normalized' in cause for cause in causes)
    assert any('mean' in cause for cause in causes)


def test_what_the_weights_say(tmp_path, data):
    def later(name, weight):
        if name.startswith('sampler.'):
            return weight * 0.99  # weight decay alone
        return weight + 0.01 * torch.randn_like(weight)

    cfg = save_run(tmp_path, data)
    save_weights(tmp_path, cfg, 5)
    save_weights(tmp_path, cfg, 6, later)
    assert [f.cause for f in diagnose(tmp_path)] == ['the token sampler is frozen']


def test_updates_that_are_large_for_the_weights(tmp_path, data):
    """A high rate is told from a slow start, and is no fault where much is learned."""
    cfg = save_run(tmp_path / 'a', data, pretraining(loss=0.99))
    save_weights(tmp_path / 'a', cfg, 6)
    found = examine(tmp_path / 'a')
    assert found.findings == []
    assert any('may still be the start' in text for text in found.unknown)
    for loss, causes in ((0.99, ['the learning rate is too high']), (0.9, [])):
        folder = tmp_path / str(loss)
        cfg = save_run(folder, data, pretraining(loss=loss, base_lr=0.1))
        save_weights(folder, cfg, 6)
        assert [f.cause for f in diagnose(folder)] == causes


def test_collapsed_features(tmp_path, data):
    cfg = save_run(tmp_path, data)
    save_weights(tmp_path, cfg, 6, lambda k, w: w * 0 if 'patch' in k else w)
    assert [f.cause for f in diagnose(tmp_path)] == ['the features have collapsed']
    # They are few at the start of many runs.
    cfg = save_run(tmp_path / 'short', data, pretraining()[:2])
    save_weights(tmp_path / 'short', cfg, 6, lambda k, w: w * 0 if 'patch' in k else w)
    found = examine(tmp_path / 'short')
    assert found.findings == []
    assert any('iterations, 100 are needed' in text for text in found.unknown)


def test_features_no_better_than_those_of_random_weights(tmp_path, data, monkeypatch):
    monkeypatch.setattr(weights, '_RANK', 100)
    save_weights(tmp_path, save_run(tmp_path, data), 6)
    found = examine(tmp_path)
    assert found.findings == []
    assert any('of random weights it is' in text for text in found.unknown)


def half_gray(name, weight):
    """Let a decoder predict 0.5, whatever it sees."""
    if name == 'decoder.head.bias':
        return weight * 0 + 0.5
    return weight * 0 if name == 'decoder.head.weight' else weight


def test_the_loss_tells_what_the_targets_were(tmp_path, data):
    cfg = save_run(tmp_path, data, pretraining(loss=0.05))
    save_weights(tmp_path, cfg, 6, half_gray)
    causes = [f.cause for f in diagnose(tmp_path)]
    assert causes == ['targets are not normalized, although the config says they are']


def test_the_report_of_a_stopped_run_is_read(tmp_path, data):
    save_run(tmp_path, data)
    iteration = 181
    content = dict(
        iteration=iteration,
        losses={'loss': float('nan')},
        bad_gradients=['backbone.pos_embed'],
        paths=['x.mp4'],
        batch={},
    )
    write_report(tmp_path / 'fault_iter_181_rank_0.pth', content)
    first = diagnose(tmp_path)[0]
    assert 'NaN' in first.cause
    assert 'iteration 181, loss=nan' in first.evidence
    assert 'lower learning rate' in first.remedy
    # Resumed, the run has come further.
    write_report(tmp_path / 'fault_iter_181_rank_0.pth', {**content, 'iteration': 90})
    assert diagnose(tmp_path) == []


def test_warnings_of_the_health_check_are_passed_on(tmp_path, data):
    log = (
        '2026/01/01 00:00:00 - mmengine - WARNING - iteration 40: the token sampler '
        'has collapsed: its entropy, 0.100, is that of 2.0 equally likely tokens, and '
        '12 of 128 are drawn, so the others are left to chance. Look at '
        'tools/visualize.py'
    )
    save_run(tmp_path, data, log=log)
    (finding,) = diagnose(tmp_path)
    assert finding.cause == 'the token sampler has collapsed'
    assert finding.remedy == 'Look at tools/visualize.py'


def test_a_short_run_is_not_judged(tmp_path, data):
    save_run(tmp_path, data, pretraining(loss=1.2)[:2], log='')
    found = examine(tmp_path)
    assert found.findings == []
    assert any(
        '20 updates' in text or '100 are needed' in text for text in found.unknown
    )
    assert any('how many updates' in text for text in found.unknown)


def test_a_long_warm_up_is_no_plateau(tmp_path, data):
    """The rate is near its highest so far for thousands of updates."""
    save_run(
        tmp_path,
        data,
        [
            row(s, 1.0, loss_reconstruction=1.0, rate=1e-3 * s)
            for s in range(100, 9000, 100)
        ],
    )
    found = examine(tmp_path)
    assert not [f for f in found.findings if 'learned' in f.cause]
    assert any('0 updates since' in text for text in found.unknown)


def test_cut_scalars_and_lost_videos_are_told(tmp_path, data):
    save_run(tmp_path, data, **{'train_dataloader': loader(tmp_path / 'gone')})
    scalars = tmp_path / '20260101_000000/vis_data/scalars.json'
    scalars.write_text(scalars.read_text()[:-30])
    found = examine(tmp_path)
    assert found.findings == []
    assert any('1 lines of scalars.json' in text for text in found.unknown)
    assert any('gone/list.txt' in text for text in found.unknown)


def test_a_run_that_was_resumed_and_tested_is_read_as_one(tmp_path, data):
    """What was trained again counts once; the log is that of the training."""
    log = '- mmengine - WARNING - iteration 9: the token sampler has collapsed. Act\n'
    save_run(tmp_path, data, pretraining(data_time=0.19), log=log)
    again = tmp_path / '20260102_000000/vis_data'
    shutil.copytree(tmp_path / '20260101_000000', again.parent)
    rows = pretraining()[1:]
    (again / 'scalars.json').write_text(''.join(json.dumps(r) + '\n' for r in rows))
    test = tmp_path / '20260103_000000/vis_data'
    shutil.copytree(again, test)
    (test / 'scalars.json').unlink()
    late = tmp_path / '20260104_000000'  # a resumption with nothing left to train
    shutil.copytree(test, late / 'vis_data')
    (late / 'run.json').write_text('{"schema": 1, "kind": "train"}')
    found = examine(tmp_path)
    assert [f.cause for f in found.findings] == ['the token sampler has collapsed']
    assert found.measured['waiting'] == pytest.approx(0.1)


def test_values_of_any_kind_are_no_traceback(tmp_path, data):
    odd = ['x', float('nan'), float('inf'), True, None, [1], {}, 10**400, -1e308, 0]
    rows = pretraining()
    for i, row_ in enumerate(rows):
        names = [*row_][i % 3 :: 3]
        row_ |= {name: odd[(i + j) % len(odd)] for j, name in enumerate(names)}
    save_run(tmp_path, data, rows)
    assert any('of scalars.json' in text for text in examine(tmp_path).unknown)


def test_a_config_of_another_form_is_told(tmp_path, data):
    save_run(tmp_path, data, optim_wrapper='x', **{'model.sampler': 'x'})
    found = examine(tmp_path)
    assert found.findings == []
    assert {'the settings', 'the schedule'} <= {t.split(':')[0] for t in found.unknown}


def test_the_rate_of_the_recipe_counts_all_processes(tmp_path, data):
    log = LOG + 'Start of the run\n  device: cuda, 8 processes\n'
    changes = {'auto_scale_lr': dict(enable=True, base_batch_size=32)}
    rows = pretraining(loss=1.0, count=600)
    save_run(tmp_path, data, rows, name='motion_pretrain', log=log, **changes)
    assert 'times the 0.0005 that' in diagnose(tmp_path)[0].evidence


def test_exit_codes_are_those_of_a_linter(tmp_path, data, capsys):
    healthy, ill = tmp_path / 'healthy', tmp_path / 'ill'
    cfg = save_run(healthy, data)
    save_weights(healthy, cfg, 6)
    run_tool('doctor', healthy)
    assert 'nothing found' in capsys.readouterr().out
    save_run(ill, data, pretraining(loss=1.0, count=600))
    with pytest.raises(SystemExit) as done:
        run_tool('doctor', ill)
    assert done.value.code == 1
    told = capsys.readouterr().out
    assert told.startswith('1. nothing is learned')
    assert 'evidence: ' in told and 'what to do: ' in told


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (None, 'work folder not found'),
        ('', 'found none'),
        ('import os', 'expected the config that a run wrote'),
        ('model = dict(a=1)', 'without train_dataloader, train_cfg'),
        ('model = 1\ntrain_dataloader = dict(a=1)', 'without model, train_cfg'),
    ],
)
def test_folders_that_are_none_of_a_run(tmp_path, capsys, content, words):
    folder = tmp_path / 'run'
    if content is not None:
        (folder / '20260101_000000/vis_data').mkdir(parents=True)
    if content:
        (folder / '20260101_000000/vis_data/config.py').write_text(content)
    with pytest.raises(SystemExit) as done:
        run_tool('doctor', folder)
    assert done.value.code == 2
    told = capsys.readouterr().err
    assert words in told and told.count('\n') == 1
