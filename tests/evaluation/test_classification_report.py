"""The report of a test, against numbers that are computed one by one."""

import csv
import json

import numpy as np
import pytest
import torch
from mmaction.registry import METRICS
from PIL import Image

from projects.adamae.datasets.unreadable import UnreadableDataSample
from projects.adamae.evaluation.confusion_picture import draw_confusion_matrix
from projects.adamae.evaluation.ranking import activation_of

ODD = ['plain', 'a, "b"', 'two\nlines\r', '走る é', '$x_1$', '=1+1']


def read(path):
    with open(path, encoding='utf-8-sig', errors='surrogateescape', newline='') as f:
        return [*csv.DictReader(f)]


def report(folder, scores, labels, names=None, unreadable=(), paths=None, **kwargs):
    metric = METRICS.get('ClassificationReport')(str(folder), **kwargs)
    metric.dataset_meta = {'classes': names} if names else {}
    for i, (score, label) in enumerate(zip(scores, labels, strict=True)):
        sample = dict(
            pred_score=score,
            gt_label=torch.tensor([int(label)]),
            filename=paths[i] if paths else f'{i}.mp4',
        )
        if i in unreadable:
            bad = UnreadableDataSample(metainfo=dict(unreadable=f'{i}.mp4: why'))
            bad.set_gt_label(int(label)).set_pred_score(score)
            sample = {'filename': f'{i}.mp4', **bad.to_dict()}
        metric.process(None, [sample])
    return metric.evaluate(len(labels))


def test_against_a_direct_computation(tmp_path):
    rng = np.random.default_rng(0)
    count, classes = 60, 7
    labels = rng.integers(0, classes - 1, count)  # the last class has no videos
    scores = torch.from_numpy(rng.random((count, classes))).float().softmax(1)
    bad = (3, 17)
    assert report(tmp_path, scores, labels, unreadable=bad) == {}

    probabilities = scores.double().numpy()
    answers = probabilities.argmax(1)
    right = [answers[i] == labels[i] and i not in bad for i in range(count)]
    metrics = json.loads((tmp_path / 'predictions.json').read_text())['metrics']
    assert metrics['videos'] == count and metrics['unreadable'] == 2
    assert metrics['top1'] == pytest.approx(np.mean(right))
    order = (-probabilities).argsort(1)
    in_top = [labels[i] in order[i, :5] and i not in bad for i in range(count)]
    assert metrics['top5'] == pytest.approx(np.mean(in_top))
    recalls = [np.mean([r for r, k in zip(right, labels, strict=True) if k == c])
               for c in range(classes - 1)]  # fmt: skip
    assert metrics['mean_class_accuracy'] == pytest.approx(np.mean(recalls))
    assert metrics['chance'] == pytest.approx(1 / 7)
    most = max(np.bincount(labels)) / count
    assert metrics['most_frequent_class'] == pytest.approx(most)

    table = read(tmp_path / 'classes.csv')
    kept = [i for i in range(count) if i not in bad]
    for c, row in enumerate(table):
        assert row['class'] == str(c)
        assert int(row['videos']) == sum(labels == c)
        assert int(row['predicted']) == sum(answers[kept] == c)
        if c < classes - 1:
            assert float(row['accuracy']) == pytest.approx(recalls[c], rel=1e-5)
        hits = sum(right[i] for i in kept if answers[i] == c)
        precision = hits / sum(answers[kept] == c)
        assert float(row['precision']) == pytest.approx(precision, rel=1e-5)
        others = [answers[i] for i in kept if labels[i] == c and answers[i] != c]
        top = max((others.count(k) for k in others), default=0)
        assert int(row['most_confused_videos']) == top
        if others:
            assert others.count(int(row['most_confused_with'])) == top
    assert table[-1]['accuracy'] == table[-1]['most_confused_with'] == ''

    rows = list(csv.reader(open(tmp_path / 'confusion_matrix.csv', newline='')))
    matrix = np.array(rows)[1:, 1:].astype(int)
    pairs = [(labels[i], answers[i]) for i in kept]
    assert all(matrix[a, b] == pairs.count((a, b)) for a in range(7) for b in range(7))

    videos = read(tmp_path / 'predictions.csv')
    assert [v['path'] for v in videos] == [f'{i}.mp4' for i in range(count)]
    for i, video in enumerate(videos):
        assert int(video['correct']) == right[i]
        if i in bad:
            assert video['error'] == f'{i}.mp4: why' and not video['probability']
            continue
        own = probabilities[i, labels[i]]
        assert float(video['class_probability']) == pytest.approx(own, rel=1e-5)
        five = [video['predicted_class']] + [video[f'class_{k}'] for k in range(2, 6)]
        assert [*map(int, five)] == order[i, :5].tolist()

    worst = read(tmp_path / 'worst_videos.csv')
    wrong = [i for i in kept if not right[i]]
    by_loss = sorted(wrong, key=lambda i: probabilities[i, labels[i]])
    sure = sorted(wrong, key=lambda i: -probabilities[i].max())
    for kind, expected in (('highest loss', by_loss), ('confidently wrong', sure)):
        found = [row['path'] for row in worst if row['kind'] == kind]
        assert found == [f'{i}.mp4' for i in expected]


def test_odd_names_come_back(tmp_path, capfd):
    paths = ['a, "b".mp4', 'new\nline \x1b[31m.mp4', 'byte\udcff.mp4', 'é.mp4']
    paths += ['cr\r.mp4', '-5.mp4']
    scores = torch.eye(6).roll(1, 0)
    report(tmp_path, scores, range(6), ODD, paths=paths)
    rows = read(tmp_path / 'predictions.csv')
    assert [row['path'] for row in rows] == paths
    assert [row['class'] for row in rows] == ODD
    content = json.loads((tmp_path / 'predictions.json').read_text('utf-8'))
    assert [row['path'] for row in content['predictions']] == paths
    assert [c['class'] for c in content['per_class']] == content['classes'] == ODD
    assert [row['class'] for row in read(tmp_path / 'classes.csv')] == ODD
    # Excel takes a file for UTF-8 by these bytes.
    assert (tmp_path / 'classes.csv').read_bytes().startswith(b'\xef\xbb\xbf')
    assert '\x1b[31m' not in ''.join(capfd.readouterr())
    assert not [*tmp_path.glob('*.partial')]


def test_names_are_the_datasets_else_those_given_else_numbers(tmp_path):
    scores, labels = torch.eye(2), [0, 1]
    for names, given, expected in (
        (['a', 'b'], ['c', 'd'], ['a', 'b']),
        (None, ['c', 'd'], ['c', 'd']),
        (None, None, ['0', '1']),
        (['a', 'b', 'c'], None, ['0', '1']),  # with a warning
        ('a path that is no file', None, ['0', '1']),  # as MMEngine leaves it
    ):
        report(tmp_path, scores, labels, names, classes=given)
        rows = read(tmp_path / 'classes.csv')
        assert [row['class'] for row in rows] == expected


@pytest.mark.parametrize('activation', ['none', 'softmax', 'sigmoid'])
def test_scores_become_probabilities(tmp_path, activation):
    scores = torch.tensor([[0.2, 0.8]])
    report(tmp_path, scores, [1], activation=activation)
    (row,) = read(tmp_path / 'predictions.csv')
    total = np.exp([0.2, 0.8]).sum()
    expected = dict(
        none=0.8, softmax=np.exp(0.8) / total, sigmoid=1 / (1 + np.exp(-0.8))
    )
    assert float(row['probability']) == pytest.approx(expected[activation], rel=1e-5)


def test_which_heads_give_probabilities():
    assert activation_of(dict(average_clips='prob')) == 'none'
    assert activation_of(dict(average_clips='score')) == 'softmax'
    loss = dict(type='BCELossWithLogits')
    assert activation_of(dict(average_clips='score', loss_cls=loss)) == 'sigmoid'
    with pytest.raises(ValueError, match='expected one of none, softmax, sigmoid'):
        METRICS.get('ClassificationReport')(activation='relu')


@pytest.mark.parametrize('label', [[-1], [2], [0, 1]])
def test_labels_that_are_none(label):
    metric = METRICS.get('ClassificationReport')()
    sample = dict(
        pred_score=torch.eye(2)[0], gt_label=torch.tensor(label), filename='a.mp4'
    )
    with pytest.raises(
        ValueError, match=r'a\.mp4: expected one label from 0 to 1, got'
    ):
        metric.process(None, [sample])


@pytest.mark.parametrize(
    ('scores', 'message'),
    [(torch.ones(3, 2), 'average_clips=.prob'), (torch.tensor([0, np.nan]), 'fp16')],
)
def test_scores_that_are_none(scores, message):
    metric = METRICS.get('ClassificationReport')()
    sample = dict(pred_score=scores, gt_label=torch.tensor([0]), filename='a.mp4')
    with pytest.raises(ValueError, match=rf'a\.mp4: .*{message}'):
        metric.process(None, [sample])


def test_videos_without_a_file_name_are_numbered(tmp_path):
    report(tmp_path, torch.eye(2), [0, 1], paths=['', ''])
    rows = read(tmp_path / 'predictions.csv')
    assert [row['path'] for row in rows] == ['video 0', 'video 1']


@pytest.mark.parametrize('count', [1, 5, 61, 400])
def test_picture(count, tmp_path):
    """The diagonal is dark, the rest light, wherever it is drawn."""
    names = [f'{i} a rather long name of a class, $x$ 走る' for i in range(count)]
    picture = draw_confusion_matrix(np.diag(np.arange(count) + 3), names)
    Image.fromarray(picture).save(tmp_path / 'a.png')
    pixels = np.asarray(Image.open(tmp_path / 'a.png')).astype(int)
    assert pixels.dtype == int and pixels.shape[2] == 3
    assert max(pixels.shape) < 2000
    dark = (pixels[..., 2] - pixels[..., 0] > 60).mean()
    assert dark > 0.003
    empty = draw_confusion_matrix(np.zeros((count, count), int))
    assert empty.shape[2] == 3


@pytest.mark.parametrize(('classes', 'said'), [(5, False), (6, True)])
def test_top5_of_five_classes_says_nothing(tmp_path, monkeypatch, classes, said):
    printed = []
    module = 'projects.adamae.evaluation.classification_report'
    monkeypatch.setattr(f'{module}.print_log', lambda text, _: printed.append(text))
    report(tmp_path, torch.eye(classes), range(classes))
    assert 'top-1 100.00%' in printed[0] and ('top-5' in printed[0]) == said
