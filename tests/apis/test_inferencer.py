"""AdaMAEInferencer: every kind of input and output, on toy models and real files."""

import json
import pickle

import av
import cv2
import numpy as np
import pytest
import torch
from mmaction.registry import INFERENCERS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from projects.adamae.apis.clips import video_clips
from projects.adamae.apis.inferencer import AdaMAEInferencer
from projects.adamae.evaluation.features import iter_features
from projects.adamae.video.reader import VideoReader
from tests.helpers import run_tool, write_videos

NAMES = ['走る', 'falling', 'up']  # of conftest.py


def build(toy, name):
    files = toy.root / f'{name}.py', toy.root / f'{name}.pth'
    return INFERENCERS.build(
        dict(type='AdaMAEInferencer', model=files[0], weights=files[1], show_progress=0)
    )


@pytest.fixture(scope='module')
def masked(toy):
    return build(toy, 'masked')


@pytest.fixture(scope='module')
def classifier(toy):
    return build(toy, 'classifier')


def frames(file):
    with open(file, 'rb') as content:
        reader = VideoReader(content, str(file))
        return np.stack(reader.get_frames(range(len(reader))))


def test_scores_are_those_of_a_test(toy, classifier, tmp_path):
    dump = tmp_path / 'dump.pkl'
    files = toy.root / 'classifier.py', toy.root / 'classifier.pth'
    run_tool('test', *files, '--dump', dump, '--work-dir', tmp_path)
    with open(dump, 'rb') as file:
        tested = pickle.load(file)
    found = classifier(toy.videos, batch_size=2)['predictions']
    assert [p['path'] for p in found] == [t['filename'] for t in tested]
    for prediction, sample in zip(found, tested, strict=True):
        scores = sample['pred_score']
        assert prediction['scores'] == pytest.approx(scores.numpy(), rel=1e-5)
        label = int(sample['pred_label'])
        best = prediction['top'][0]
        assert (best['label'], best['class']) == (label, NAMES[label])
        assert best['probability'] == pytest.approx(float(scores[label]), rel=1e-5)


def test_masks_are_those_of_the_validation_step(toy, masked):
    torch.manual_seed(1)
    found = masked(toy.videos[:2], batch_size=2)['predictions']
    clips = video_clips(
        masked.model.backbone.clip_size, toy.videos[:2], frame_interval=2
    )
    torch.manual_seed(1)
    with torch.no_grad():
        samples = masked.model.val_step(pseudo_collate([c.packed for c in clips]))
    for prediction, sample, clip in zip(found, samples, clips, strict=True):
        grid = masked.model.backbone.token_grid
        assert (prediction['mask'] == sample.mask.reshape(grid).numpy()).all()
        for key, values in (
            ('probabilities', sample.probs),
            ('token_error', sample.token_error),
        ):
            expected = values.reshape(grid).numpy()
            assert prediction[key] == pytest.approx(expected, rel=1e-4)
        seen = clip.packed['inputs'][0].permute(1, 2, 3, 0).numpy()
        assert (prediction['clip'] == seen).all()
        assert prediction['frame_inds'].tolist() == [*range(2, 18, 2)]
        # Of what is visible, the reconstruction is the video; of the rest, it is not.
        hidden = prediction['mask'].repeat(2, 0).repeat(8, 1).repeat(8, 2)
        same = (prediction['reconstruction'] == prediction['clip']).all(-1)
        assert same[~hidden].all() and not same[hidden].all()


@pytest.mark.parametrize('kind', ['masked', 'classifier'])
def test_arrays_are_read_as_files(toy, kind, request):
    """And neither batches nor features change what a video gives."""
    inferencer = request.getfixturevalue(kind)
    array = frames(toy.videos[0])
    copy = array.copy()
    torch.manual_seed(0)
    (file,) = inferencer(toy.videos[0])['predictions']
    torch.manual_seed(0)
    found = inferencer([array, toy.videos[1]], features=True)['predictions']
    assert (array == copy).all()
    assert [p['path'] for p in found] == ['array 0', toy.videos[1]]
    for key in ('scores', 'clip', 'probabilities', 'frame_inds'):
        if key in file:
            assert file[key] == pytest.approx(found[0][key], rel=1e-5)
    dataset = inferencer.pipeline([array, toy.videos[1]])
    vectors = torch.cat([*iter_features(inferencer.model, dataset, 1)])
    for prediction, vector in zip(found, vectors, strict=True):
        assert prediction['features'] == pytest.approx(vector.numpy(), rel=1e-4)


def test_folders_lists_and_what_cannot_be_read(toy, classifier, tmp_path):
    folder = tmp_path / 'videos'
    write_videos(folder, 1, frames=20)
    (folder / 'text.mp4').write_text('no video')
    (folder / 'empty.mp4').write_text('')
    (tmp_path / 'some.txt').write_text(f'{toy.videos[2]}\n{toy.videos[1]}\n')
    inputs = [folder, tmp_path / 'some.txt', 'gone.mp4', toy.videos[3]]
    found = [*classifier.iterate(inputs, batch_size=3)]
    names = [str(folder / name) for name in ('0.mp4', 'empty.mp4', 'text.mp4')]
    names += [toy.videos[2], toy.videos[1], 'gone.mp4', toy.videos[3]]
    assert [p['path'] for p in found] == names
    for prediction in found:
        broken = prediction['path'].endswith(('empty.mp4', 'text.mp4', 'gone.mp4'))
        assert bool(prediction['error']) == broken == ('scores' not in prediction)
        assert not broken or prediction['path'] in prediction['error']
    samples = classifier(inputs[-2:], return_datasamples=True)['predictions']
    assert 'gone.mp4: ' in samples[0].error
    assert samples[1].pred_score.numpy() == pytest.approx(found[-1]['scores'], rel=1e-5)


class Camera:
    """Stands in for ``cv2.VideoCapture``: blue frames, 25 in a second."""

    last = None

    def __init__(self, number):
        self.number, self.left, self.released = number, 60, False
        Camera.last = self

    def isOpened(self):  # noqa: N802
        return self.number < 2

    def get(self, what):
        return 25.0 if what == cv2.CAP_PROP_FPS else 0.0

    def read(self):
        self.left -= 1
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[..., 0] = 200  # BGR
        return self.left >= 0, frame

    def release(self):
        self.released = True


def test_cameras(masked, monkeypatch):
    monkeypatch.setattr(cv2, 'VideoCapture', Camera)
    (found,) = masked(1, seconds=2)['predictions']
    assert found['path'] == 'camera 1' and found['error'] is None
    assert Camera.last.released and Camera.last.left == 10
    assert (found['clip'] == [0, 0, 200]).all()
    assert found['frame_inds'].max() < 50
    none, short = masked([2, 1], seconds=3)['predictions']
    assert 'camera 2: expected one that OpenCV can open' in none['error']
    assert 'camera 1: expected 75 frames, got 60' in short['error']


def test_files_of_a_masked_autoencoder(toy, masked, tmp_path):
    inputs = [toy.videos[0], 'gone.mp4', frames(toy.videos[1])]
    results = masked(inputs, out_dir=tmp_path / 'out', return_vis=True)
    content = json.loads((tmp_path / 'out/predictions.json').read_text('utf-8'))
    rows = content['predictions']
    assert [row['path'] for row in rows] == [toy.videos[0], 'gone.mp4', 'array 2']
    assert 'gone.mp4' in rows[1]['error'] and set(rows[1]) == {'path', 'error'}
    names = ['0000_0.mp4', None, '0002_array_2.mp4']
    assert [row.get('overlay') for row in rows] == names
    assert {p.name for p in (tmp_path / 'out').iterdir()} == {
        *(names[0], names[2], 'predictions.json')
    }
    for row, prediction in zip(rows[::2], results['predictions'][::2], strict=True):
        assert (np.array(row['mask']) == prediction['mask']).all()
        for key in ('probabilities', 'token_error'):
            assert np.array(row[key]) == pytest.approx(prediction[key], rel=1e-4)
    # The panels are, below their titles: video, probability, input, prediction.
    drawn = results['visualization'][0]
    assert results['visualization'][1] is None
    written = frames(tmp_path / 'out/0000_0.mp4')
    assert written.shape == drawn.shape == (8, 18 + 256, 4 * 256, 3)
    assert np.abs(written[:, 18:].astype(int) - drawn[:, 18:]).mean() < 8
    prediction = results['predictions'][0]
    video, _, seen, rebuilt = np.split(drawn[:, 18::16, ::16], 4, axis=2)
    assert (video == prediction['clip']).all()
    assert (rebuilt == prediction['reconstruction']).all()
    hidden = prediction['mask'].repeat(2, 0).repeat(8, 1).repeat(8, 2)
    assert (seen[hidden] == 128).all() and (seen[~hidden] == video[~hidden]).all()
    # Every second frame of 12 in a second.
    with av.open(str(tmp_path / 'out/0000_0.mp4')) as container:
        assert container.streams.video[0].average_rate == 6


def test_probability_is_read_back_from_the_overlay(toy, masked):
    black = np.zeros((20, 16, 16, 3), np.uint8)
    results = masked(black, return_vis=True)
    probabilities = results['predictions'][0]['probabilities']
    panel = np.split(results['visualization'][0], 4, axis=2)[1][::2, 18::128, ::128]
    order = probabilities.ravel().argsort()
    green = panel[..., 1].ravel().astype(int)[order]  # grows along viridis
    assert (np.diff(green) >= 0).all() and green[-1] == round(0.906157 / 2 * 255)


def test_files_of_a_classifier(toy, classifier, tmp_path):
    results = classifier(toy.videos[0], out_dir=tmp_path, return_vis=True, top=2)
    content = json.loads((tmp_path / 'predictions.json').read_text('utf-8'))
    (row,) = content['predictions']
    assert content['classes'] == NAMES
    assert row['top'] == results['predictions'][0]['top'] and len(row['top']) == 2
    drawn = results['visualization'][0]
    assert drawn.shape == (2 * 8, 4 * 18 + 256, 256, 3)
    views = next(iter(classifier.preprocess([toy.videos[0]])))[0][1]['inputs']
    seen = views.permute(0, 2, 3, 4, 1).flatten(0, 1).numpy()
    assert (drawn[:, 72::16, ::16] == seen).all()
    # Two calls must not lose what the first one found.
    before = (tmp_path / 'predictions.json').read_bytes()
    with pytest.raises(FileExistsError, match='is there already; name another folder'):
        classifier(toy.videos[1], out_dir=tmp_path)
    assert (tmp_path / 'predictions.json').read_bytes() == before


def test_iterate_reads_a_few_batches_ahead(toy, classifier, monkeypatch):
    done = []
    forward = classifier.forward
    monkeypatch.setattr(
        classifier, 'forward', lambda *a, **k: done.append(0) or forward(*a, **k)
    )
    results = classifier.iterate(toy.videos, batch_size=1)
    next(results)
    assert len(done) == 1
    assert len([*results]) == 3


@pytest.mark.parametrize('name', ['masked', 'classifier'])
def test_config_of_the_checkpoint(toy, name, request):
    alone = AdaMAEInferencer(
        weights=toy.root / f'{name}.pth', device='cpu', show_progress=False
    )
    torch.manual_seed(0)
    (one,) = alone(toy.videos[0])['predictions']
    torch.manual_seed(0)
    (other,) = request.getfixturevalue(name)(toy.videos[0])['predictions']
    assert one['probabilities'] == pytest.approx(other['probabilities'], rel=1e-5)


def test_what_is_wrong_is_said_in_one_line(toy, classifier, tmp_path):
    root = toy.root
    no_test = Config.fromfile(root / 'classifier.py')
    no_test.test_dataloader = None
    bare = tmp_path / 'bare.pth'
    torch.save(dict(state_dict={}), bare)
    for arguments, kind, message in (
        ((root / 'no.py', root / 'masked.pth'), FileNotFoundError, 'config not found'),
        ((root / 'masked.py', 'no.pth'), FileNotFoundError, 'checkpoint not found'),
        ((root / 'masked.py',), ValueError, 'expected the file of a checkpoint'),
        ((None, bare), ValueError, 'holds no config: name that of its training'),
        ((dict(), bare), ValueError, 'holds no config'),
        ((root / 'classifier.py', root / 'masked.pth'), ValueError, 'cls_head.fc_cls'),
        ((no_test, root / 'classifier.pth'), ValueError, 'test_dataloader'),
    ):
        with pytest.raises(kind, match=message) as error:
            AdaMAEInferencer(*arguments)
        assert '\n' not in str(error.value)
    out = tmp_path / 'out'
    for value, message in (
        (np.zeros((4, 8, 8, 3)), 'got float64, shape'),
        (np.zeros((8, 8, 3), np.uint8), r'shape \(8, 8, 3\)'),
        (np.zeros((0, 8, 8, 3), np.uint8), 'expected frames, got none'),
        (-1, 'number of a camera, got -1'),
        (True, 'got True'),
    ):
        with pytest.raises(ValueError, match=rf'inputs\[1\]: .*{message}'):
            classifier([toy.videos[0], value], out_dir=out)
    with pytest.raises(ValueError, match='unknown argument'):
        classifier(toy.videos, out_dir=out, speed=1)
    assert not out.exists()
