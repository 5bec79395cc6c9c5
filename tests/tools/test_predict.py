"""tools/predict.py and the report of tools/test.py, on a toy model and real files."""

import csv
import json
import pickle
from types import SimpleNamespace

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from projects.adamae.analysis.scalar_logs import newest_metrics
from projects.adamae.apis import predict as api
from projects.adamae.apis.inferencer import AdaMAEInferencer
from projects.adamae.apis.models import load_model
from projects.adamae.launch.reports import add_report
from tests.helpers import (
    ROOT,
    free_port,
    run_command,
    run_tool,
    tiny_classifier_cfg,
    tiny_model_cfg,
    video_dataset_cfg,
    write_videos,
)

NAMES = ['走る, "fast"', 'falling', 'up']


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    """Five videos, a classifier of three classes with two clips as test views."""
    init_default_scope('mmaction')
    root = tmp_path_factory.mktemp('predict')
    write_videos(root / 'videos', 5, frames=20)
    (root / 'list.txt').write_text(''.join(f'{i}.mp4 {i % 3}\n' for i in range(5)))
    (root / 'names.txt').write_text('\n'.join(NAMES) + '\n', encoding='utf-8')
    model = tiny_classifier_cfg()
    dataset = video_dataset_cfg(root, 'list.txt', num_clips=2, test_mode=True)
    dataset.update(type='TolerantVideoDataset', test_mode=True)
    dataset['pipeline'][-1]['meta_keys'] = ('filename',)
    cfg = Config(
        dict(
            default_scope='mmaction',
            custom_imports=dict(imports=['projects.adamae']),
            model=model,
            work_dir=str(root / 'work'),
            test_dataloader=dict(
                batch_size=2,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dataset,
            ),
            test_cfg=dict(type='TestLoop'),
            test_evaluator=dict(type='AccMetric'),
            default_hooks=dict(onednn=dict(type='OneDNNHook')),
        )
    )
    cfg.dump(root / 'cfg.py')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    weights = model.state_dict()
    torch.save(dict(state_dict=weights), root / 'plain.pth')
    meta = dict(dataset_meta=dict(classes=NAMES))
    torch.save(dict(state_dict=weights, meta=meta), root / 'named.pth')
    return SimpleNamespace(root=root, cfg=root / 'cfg.py', named=root / 'named.pth')


def files(toy):
    return [toy.root / f'videos/{i}.mp4' for i in range(5)]


def fails(tool, *arguments, code=2, **options):
    with pytest.raises(SystemExit) as exit_info:
        run_tool(tool, *arguments, **options)
    assert exit_info.value.code == code


def read(path):
    with open(path, encoding='utf-8-sig', newline='') as file:
        return [*csv.DictReader(file)]


def test_scores_are_those_of_a_test(toy, tmp_path):
    dump = tmp_path / 'dump.pkl'
    run_tool('test', toy.cfg, toy.named, '--dump', dump, '--work-dir', tmp_path)
    with open(dump, 'rb') as file:
        tested = pickle.load(file)
    cfg = Config.fromfile(toy.cfg)
    model = load_model(cfg, str(toy.named))
    videos = [*map(str, files(toy))]
    found = [*api.predict(model, cfg, videos)]
    assert [p.path for p in found] == [t['filename'] for t in tested] == videos
    for prediction, sample in zip(found, tested, strict=True):
        assert torch.equal(prediction.scores, sample['pred_score'])
        assert prediction.top(1)[0].label == sample['pred_label'].item()

    # So are the files, which lie beside the log and are not taken for it.
    (report,) = tmp_path.glob('*/report')
    metrics = newest_metrics(tmp_path, 'acc/top1')
    content = json.loads((report / 'predictions.json').read_text('utf-8'))
    assert content['metrics']['top1'] == pytest.approx(metrics['acc/top1'])
    rows = read(report / 'predictions.csv')
    run_tool('predict', toy.cfg, toy.named, *videos, '--out', tmp_path / 'p.csv')
    for row, other in zip(rows, read(tmp_path / 'p.csv'), strict=True):
        same = set(other) - {'error'}
        assert {k: row[k] for k in same} == {k: other[k] for k in same}
        assert row['class'] in NAMES and row['predicted_class'] in NAMES


def test_folders_lists_and_files_that_cannot_be_read(toy, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(toy.root)
    odd = tmp_path / 'odd'
    odd.mkdir()
    (odd / 'a, "b"\n\x1b[31m走.mp4').write_bytes(files(toy)[3].read_bytes())
    (odd / 'text.mp4').write_text('no video')
    (tmp_path / 'some.txt').write_text('videos/1.mp4\r\n\nvideos/0.mp4\n')
    sources = [odd, tmp_path / 'some.txt', 'gone.mp4', 'videos/2.mp4']
    out = tmp_path / 'new/p.json'
    args = (toy.cfg, toy.named, *sources, '--top', 2, '--out', out)
    fails('predict', *args, code=1)
    output, errors = capfd.readouterr()
    rows = json.loads(out.read_text('utf-8'))
    assert rows['classes'] == NAMES
    names = [*(str(odd / name) for name in sorted(p.name for p in odd.iterdir()))]
    names += ['videos/1.mp4', 'videos/0.mp4', 'gone.mp4', 'videos/2.mp4']
    rows = rows['predictions']
    assert [row['path'] for row in rows] == names
    assert [len(row['top']) for row in rows] == [2, 0, 2, 2, 0, 2]
    assert all(bool(row['error']) != bool(row['top']) for row in rows)
    errors = [e for e in errors.splitlines() if e.startswith('error: ')]
    assert len(errors) == 2 and 'text.mp4' in errors[0] and 'gone.mp4' in errors[1]
    assert '\x1b[31m' not in output and r'a, "b"\n\x1b[31m走.mp4: ' in output
    assert output.count('%') == 8
    assert not [*out.parent.glob('*.partial')]


def test_names_of_the_config_or_numbers(toy, tmp_path, capfd):
    video, plain = files(toy)[0], toy.root / 'plain.pth'
    run_tool('predict', toy.cfg, plain, video, '--top', 9)
    assert sorted(capfd.readouterr().out.split(': ')[1].split()[::2]) == ['0', '1', '2']
    key = 'test_dataloader.dataset.metainfo.classes'
    run_tool('predict', toy.cfg, plain, video, **{key: toy.root / 'names.txt'})
    output = capfd.readouterr().out
    assert all(name in output for name in NAMES)
    # What the checkpoint says holds.
    (tmp_path / 'other.txt').write_text('a\nb\nc')
    run_tool('predict', toy.cfg, toy.named, video, **{key: tmp_path / 'other.txt'})
    output = capfd.readouterr().out
    assert "number 0 is 'a' instead of '走る" in output
    assert all(f'{name} ' in output for name in NAMES)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a\nb', 'expected 3 names, as model.cls_head.num_classes=3 says, got 2'),
        ('a\n\nc', 'expected a name for every class, got none for number 1'),
        ('a\nb\na', "expected every name once, got 'a' for the numbers 0, 2"),
        (None, 'no such file; expected one with the name of a class in every line'),
        ('\ufeffa\nb\nc', 'begins with a byte-order mark'),
        (b'\xe9\nb\nc', 'expected text in UTF-8, got the byte 0xe9'),
        ('\n'.join([*NAMES[1:], NAMES[0]]), 'labels mean other classes'),
    ],
)
def test_names_that_do_not_fit_end_a_test_before_it_starts(
    toy, tmp_path, capfd, text, message
):
    path = tmp_path / 'classes.txt'
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    key = 'test_dataloader.dataset.metainfo.classes'
    fails('test', toy.cfg, toy.named, '--work-dir', tmp_path, **{key: path})
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith(f'error: {key}') and message in error
    assert not [*tmp_path.glob('*/report')]


def test_what_cannot_predict(toy, tmp_path, capfd):
    video, root = files(toy)[0], toy.root
    pretrain = Config.fromfile(toy.cfg)
    pretrain.model = tiny_model_cfg()
    pretrain.dump(tmp_path / 'pretrain.py')
    masked = MODELS.build(pretrain.model).state_dict()
    torch.save(dict(state_dict=masked), tmp_path / 'masked.pth')
    (tmp_path / 'labeled.txt').write_text('0.mp4 0')
    (tmp_path / 'a.csv').mkdir()
    classes = {'model.cls_head.num_classes': 4}
    for arguments, options, message in (
        ((tmp_path / 'pretrain.py', tmp_path / 'masked.pth', video), {}, 'without one'),
        ((toy.cfg, tmp_path / 'masked.pth', video), {}, 'cls_head.fc_cls.'),
        ((toy.cfg, toy.named, video), classes, '(3, 16) instead of (4, 16)'),
        ((toy.cfg, root / 'none.pth', video), {}, 'checkpoint not found: '),
        ((toy.cfg, toy.named, tmp_path / 'labeled.txt'), {}, 'none of its 1 lines'),
        ((toy.cfg, toy.named, tmp_path / 'no.txt'), {}, 'no such list: '),
        ((toy.cfg, toy.named, tmp_path), {}, 'holds no video'),
        ((toy.cfg, toy.named, ''), {}, 'expected a path, got an empty one'),
        ((toy.cfg, toy.named, video, '--out', 'a.xls'), {}, 'ends in .csv or .json'),
        ((toy.cfg, toy.named, video, '--out', tmp_path / 'a.csv'), {}, 'is a folder'),
    ):
        fails('predict', *arguments, **options)
        error = capfd.readouterr().err.splitlines()[-1]
        assert error.startswith('error: ') and message in error, error


def test_what_was_predicted_before_an_error_is_kept(toy, tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        yield {'path': 'a.mp4', 'error': None, 'top': []}
        raise ValueError('the disk is gone')

    monkeypatch.setattr(AdaMAEInferencer, 'iterate', stop)
    out = tmp_path / 'p.csv'
    out.write_text('old')
    fails('predict', toy.cfg, toy.named, files(toy)[0], '--out', out)
    assert out.read_text() == 'old'
    assert [row['path'] for row in read(tmp_path / 'p.csv.partial')] == ['a.mp4']


def test_report_where_it_is_wanted_and_possible(toy, tmp_path, capfd):
    run = (toy.cfg, toy.named, '--work-dir', tmp_path, '--report')
    run_tool('test', *run, tmp_path / 'here')
    assert {p.name for p in (tmp_path / 'here').iterdir()} == {
        *('predictions.csv', 'predictions.json', 'classes.csv', 'worst_videos.csv'),
        *('confusion_matrix.csv', 'confusion_matrix.png'),
    }
    output = ''.join(capfd.readouterr())
    assert 'chance 33.33%; always the most frequent class 40.00%' in output
    several = {'test_dataloader.dataset.multi_class': True}
    fails('test', *run, tmp_path / 'here', **several)
    assert 'error: --report: expected one label' in capfd.readouterr().err


def test_a_report_of_a_config_has_probabilities(toy):
    """Whatever scores the head gives, if the config does not say how."""
    cfg = Config.fromfile(toy.cfg)
    cfg.model.cls_head.average_clips = 'score'
    for given, used in (({}, 'softmax'), ({'activation': 'none'}, 'none')):
        cfg.test_evaluator = [dict(type='ClassificationReport', **given)]
        add_report(cfg, None)
        assert [e['activation'] for e in cfg.test_evaluator] == [used]


def test_a_report_that_cannot_be_written(toy, tmp_path, capfd):
    """It ends the test, after its metrics, only if it was asked for."""
    run = (toy.cfg, toy.named, '--work-dir', tmp_path, '--report', tmp_path / 'here')
    (tmp_path / 'here/predictions.csv.partial').mkdir(parents=True)
    fails('test', *run)
    output, errors = capfd.readouterr()
    assert 'acc/top1: ' in output and 'WARNING - --report: ' in output
    assert 'predictions.csv.partial: Is a directory' in errors.splitlines()[-1]


def test_names_are_kept_by_training(toy, tmp_path, capfd):
    """MMEngine puts those of the training data into its checkpoints."""
    cfg = Config.fromfile(toy.cfg)
    dataset = cfg.test_dataloader.dataset.copy()
    dataset.update(test_mode=False, metainfo=dict(classes=NAMES))
    dataset.pipeline[1].update(num_clips=1, test_mode=False)
    cfg.train_dataloader = dict(cfg.test_dataloader, dataset=dataset)
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
    cfg.optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.0))
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1)
    cfg.dump(tmp_path / 'train.py')
    run_tool('train', tmp_path / 'train.py', '--work-dir', tmp_path / 'run')
    checkpoint = tmp_path / 'run/epoch_1.pth'
    run_tool('test', toy.cfg, checkpoint, '--work-dir', tmp_path / 'test')
    (report,) = (tmp_path / 'test').glob('*/report')
    assert [row['class'] for row in read(report / 'classes.csv')] == NAMES
    capfd.readouterr()
    run_tool('predict', toy.cfg, checkpoint, files(toy)[0])
    assert NAMES[0] in capfd.readouterr().out


@pytest.mark.slow
def test_two_processes_write_the_same(toy, tmp_path):
    run_tool(
        'test', toy.cfg, toy.named, '--work-dir', tmp_path, '--report', tmp_path / '1'
    )
    done = run_command(
        *(ROOT / 'tools/dist_test.sh', toy.cfg, toy.named, 2),
        *('--work-dir', tmp_path, '--report', tmp_path / '2'),
        PORT=free_port(),
        OMP_NUM_THREADS='1',
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for one in (tmp_path / '1').glob('*.csv'):
        rows, others = (
            [*csv.reader(open(path, encoding='utf-8-sig', newline=''))]
            for path in (one, tmp_path / '2' / one.name)
        )
        assert len(rows) == len(others) > 1
        for row, other in zip(rows, others, strict=True):
            for field, same in zip(row, other, strict=True):
                try:  # other batches round differently
                    assert float(field) == pytest.approx(float(same), rel=1e-3)
                except ValueError:
                    assert field == same
