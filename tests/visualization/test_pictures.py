"""Tests of the pictures."""

import numpy as np
import pytest
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config

from projects.adamae.apis.clips import dataset_clips, find_files, video_clips
from projects.adamae.apis.models import load_model
from projects.adamae.apis.pictures import look
from projects.adamae.datasets.preparers.motion_videos import MotionSpec, make_dataset
from projects.adamae.models.losses import AdaMAELoss, SpatiotemporalMAELoss
from projects.adamae.models.tokens import normalize_patches, patchify
from projects.adamae.visualization.rows import (
    Row,
    prediction_rows,
    rebuild_clip,
    token_images,
)
from projects.adamae.visualization.sheet import assemble
from tests.helpers import tiny_model_cfg, video_dataset_cfg


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('motion')
    make_dataset(folder, MotionSpec(num_train=1, num_val=5, num_frames=8))
    return folder


@pytest.fixture
def cfg(root):
    dataset = video_dataset_cfg(root, 'val.txt', test_mode=True)
    dataset['pipeline'][3] = dict(
        type='LoadObjectMask',
        video_root=f'{root}/videos',
        mask_root=f'{root}/object_masks',
    )
    dataset['pipeline'][-1]['algorithm_keys'] = ('object_mask',)
    model = tiny_model_cfg(backbone=dict(img_size=32))
    return Config(dict(model=model, val_dataloader=dict(dataset=dataset)))


@pytest.fixture
def checkpoint(cfg, tmp_path):
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), path)
    return str(path)


def toy_prediction(probs=True):
    """A clip of 2 x 2 x 3 tokens and a perfect prediction of it."""
    generator = torch.Generator().manual_seed(0)
    clip = torch.rand(3, 4, 16, 24, generator=generator)
    sample = ActionDataSample()
    sample.mask = torch.arange(12) % 4 != 0
    sample.pred = normalize_patches(patchify(clip[None], 8, 2))[0].flatten(1)
    sample.token_error = torch.arange(12.0) * sample.mask
    if probs:
        sample.probs = torch.arange(12.0) / 66
    return clip, sample


def toy_loss(kind=AdaMAELoss, **kwargs):
    return kind(token_shape=(2, 8, 8, 3), grid_size=(2, 2, 3), **kwargs)


def test_perfect_prediction_gives_the_clip_back():
    clip, sample = toy_prediction()
    rebuilt = rebuild_clip(clip, sample.mask, sample.pred, toy_loss())
    torch.testing.assert_close(rebuilt, clip, atol=1e-5, rtol=0)
    raw = patchify(clip[None], 8, 2)[0].flatten(1)
    rebuilt = rebuild_clip(clip, sample.mask, raw, toy_loss(norm_pix=False))
    torch.testing.assert_close(rebuilt, clip)


def test_masked_tokens_are_filled_and_visible_ones_kept():
    clip, sample = toy_prediction()
    nothing = torch.zeros_like(sample.pred)
    before = patchify(clip[None], 8, 2)[0]
    rebuilt = rebuild_clip(clip, sample.mask, nothing, toy_loss())
    after = patchify(rebuilt[None], 8, 2)[0]
    torch.testing.assert_close(after[~sample.mask], before[~sample.mask])
    mean = before.mean(1, keepdim=True).expand_as(before)
    torch.testing.assert_close(after[sample.mask], mean[sample.mask])
    wild = rebuild_clip(clip, sample.mask, nothing + 100, toy_loss())
    assert wild.max() == 1


def test_tokens_are_painted_where_they_are():
    images = token_images(torch.arange(12), (16, 24), 8)
    assert images.shape == (2, 16, 24)
    assert images[1, 0, 0] == 6
    assert (images[0, 8:, 16:] == 5).all()


def test_rows_show_what_they_say():
    clip, sample = toy_prediction()
    rows = prediction_rows(clip, sample, toy_loss())
    assert list(rows) == [
        'video',
        'masked input',
        'prediction',
        'honest prediction',
        'error',
        'probability',
        'mask',
    ]
    for row in rows.values():
        assert row.images.shape == (2, 16, 24, 3)
        assert row.images.dtype == np.uint8
    video = (clip[:, ::2].permute(1, 2, 3, 0) * 255).round().numpy()
    np.testing.assert_array_equal(rows['video'].images, video)
    masked = token_images(sample.mask, (16, 24), 8).numpy()
    np.testing.assert_array_equal(rows['masked input'].images[~masked], video[~masked])
    assert (rows['masked input'].images[masked] == 128).all()
    np.testing.assert_allclose(rows['prediction'].images, video, atol=1)
    assert rows['mask'].images[masked].max() < rows['mask'].images[~masked].min()
    # Brighter where there is more of it, and 1 means uniform.
    for name in ('error', 'probability'):
        brightness = rows[name].images.mean(-1)
        assert brightness[1, 0, 16] < brightness[1, 8, 23]  # tokens 8, 11
    assert rows['probability'].colors.get_clim() == pytest.approx((0, 12 * 11 / 66))


def test_unlearned_masks_have_no_probabilities():
    clip, sample = toy_prediction(probs=False)
    assert 'probability' not in prediction_rows(clip, sample, toy_loss())


COLORS = np.array([[[200, 0, 0], [0, 200, 0]], [[0, 0, 200], [200, 0, 200]]])
RED_ON_BLACK = ScalarMappable(Normalize(0, 1), ListedColormap(['black', 'red']))


def colored_rows(size, **row):
    """Two rows of two images, each of one color."""
    images = np.broadcast_to(COLORS[:, :, None, None], (2, 2, *size, 3))
    upper, lower = images.astype(np.uint8)
    return {'upper': Row(upper), 'lower': Row(lower, **row)}


def box(where):
    """Top, bottom, left and right of the pixels of a picture, as slice bounds."""
    (top, left), (bottom, right) = np.argwhere(where).min(0), np.argwhere(where).max(0)
    return top, bottom + 1, left, right + 1


def boxes(picture):
    """Where the four images are; each is of nothing but its color."""
    found = [box((picture == c).all(-1)) for c in COLORS.reshape(4, 3)]
    for (top, bottom, left, right), color in zip(
        found, COLORS.reshape(4, 3), strict=True
    ):
        assert (picture[top:bottom, left:right] == color).all()
    return np.array(found)


@pytest.mark.parametrize('size', [(16, 16), (16, 24), (224, 224)])
def test_images_labels_and_color_bars_are_where_they_belong(size):
    rows = colored_rows(size, note='note', colors=RED_ON_BLACK)
    picture = assemble(rows, 'title', frames=(0, 3))
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    found = boxes(picture)
    tops, bottoms, lefts, rights = found.T
    # Rows below each other, columns next to each other, pixels square.
    assert tops[0] == tops[1] and tops[2] == tops[3] > bottoms[0]
    assert lefts[0] == lefts[2] and lefts[1] == lefts[3] > rights[0]
    aspect = (rights - lefts) / (bottoms - tops)
    assert aspect == pytest.approx(size[1] / size[0], rel=0.03)
    ink = (picture < 128).all(-1)
    for row in (0, 2):
        assert ink[tops[row] : bottoms[row], : lefts[0]].any(), 'a label on the left'
    title, frames = np.flatnonzero(np.diff(ink[: tops[0]].any(1).astype(int)) == 1)
    assert ink[title + 1 : frames, lefts[0] : rights[0]].any(), 'the title comes first'
    for column in (0, 1):
        assert ink[frames + 1 : tops[0], lefts[column] : rights[column]].any()
    # A color bar right of its row only: red above black.
    middle = (tops[2] + bottoms[2]) / 2
    top, bottom, left, right = box((picture == (255, 0, 0)).all(-1))
    assert left > rights[1] and (top, bottom) == pytest.approx((tops[2], middle), abs=6)
    assert not picture[bottom + 5 : bottoms[2] - 5, left:right].any()
    other = assemble(rows, 'title', frames=(0, 4))
    top, bottom, left, right = box((picture != other).any(-1))
    assert bottom <= tops[0] and lefts[1] < left and right < rights[1], 'its number'


def test_object_is_outlined_on_rows_that_ask_for_it():
    outline = np.zeros((2, 16, 16), bool)
    outline[1, 4:12, 8:] = True  # leaves the image
    plain = colored_rows((16, 16))
    np.testing.assert_array_equal(assemble(plain, outline=outline), assemble(plain))
    rows = colored_rows((16, 16), outlined=True)
    top, bottom, left, right = boxes(assemble(plain))[3]
    pixel = (right - left) / 16
    drawn = box((assemble(rows, outline=outline) != assemble(rows)).any(-1))
    expected = (top + 4 * pixel, top + 12 * pixel, left + 8 * pixel, right)
    assert drawn == pytest.approx(expected, abs=3)
    edge = assemble(rows, outline=outline)[int(top + 8 * pixel), right - 1]
    assert edge[0] > 220 and edge[1] < 150, 'it is closed at the edge of the image'


def test_one_predicted_frame_a_token():
    """A perfect prediction of frames 0 and 3 of 4; 1 and 2 are not shown."""
    clip, sample = toy_prediction()
    loss = toy_loss(SpatiotemporalMAELoss)
    sample.pred = loss.target(patchify(clip[None], 8, 2))[0]
    rows = prediction_rows(clip, sample, loss)
    expected = (clip[:, [0, 3]].permute(1, 2, 3, 0) * 255).round().numpy()
    np.testing.assert_array_equal(rows['video'].images, expected)
    np.testing.assert_allclose(rows['prediction'].images, expected, atol=1)
    rebuilt = rebuild_clip(clip, sample.mask, sample.pred, loss)
    hidden = token_images(sample.mask, (16, 24), 8)
    # What is not predicted is not taken from the truth.
    assert not torch.isclose(rebuilt[:, 1], clip[:, 1])[:, hidden[0]].any(0).all()
    torch.testing.assert_close(rebuilt[:, 1, ~hidden[0]], clip[:, 1, ~hidden[0]])


def test_picture_of_a_model_that_predicts_some_frames(cfg, tmp_path, monkeypatch):
    cfg.model.backbone.type = 'SeparableVisionTransformer'
    cfg.model.decoder.type = 'SeparableMAEDecoder'
    cfg.model.loss = dict(type='SpatiotemporalMAELoss')
    torch.save(
        dict(state_dict=MODELS.build(cfg.model).state_dict()), tmp_path / 'a.pth'
    )
    model = load_model(cfg, str(tmp_path / 'a.pth'))
    clip = dataset_clips(cfg, 'val', 1, seed=0)[0]
    headings = []
    monkeypatch.setattr(
        'projects.adamae.visualization.picture.assemble',
        lambda rows, title, frames, outline: headings.extend(frames) or outline,
    )
    outline = look({'': model}, clip).sheet()
    assert headings == [0, 2, 4, 7]
    objects = np.asarray(clip.packed['data_samples'].object_mask)
    np.testing.assert_array_equal(outline, objects[headings])
    monkeypatch.undo()
    assert look({'': model}, clip).sheet().ndim == 3


def test_one_of_repeated_clips_is_drawn(cfg):
    dataset = cfg.val_dataloader.dataset
    dataset.type, dataset.num_repeats = 'TolerantRepeatAugDataset', 2
    cfg.train_dataloader = cfg.val_dataloader
    clips = dataset_clips(cfg, 'train', 2, seed=0)
    assert [c.packed['inputs'].shape for c in clips] == [(1, 3, 8, 32, 32)] * 2


def test_from_checkpoint_to_picture(cfg, checkpoint, root):
    model = load_model(cfg, checkpoint)
    clips = dataset_clips(cfg, 'val', 3, seed=0)
    assert [c.name for c in clips] == [c.name for c in dataset_clips(cfg, 'val', 3, 0)]
    assert len(dataset_clips(cfg, 'val', 99, seed=0)) == 5
    pictures, clip = [], clips[0]
    for objects in (True, True, False):
        clip.packed['data_samples'].object_mask[:] &= objects
        torch.manual_seed(0)
        pictures.append(look({'': model}, clip).sheet())
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert (pictures[1] != pictures[2]).any(), 'the object is outlined'


def test_any_video_is_cut_to_the_model(cfg, checkpoint, tmp_path):
    wide = MotionSpec(num_train=1, num_val=1, size=50, num_frames=10)
    make_dataset(tmp_path / 'wide', wide)
    file = str(tmp_path / 'wide/videos/val/00000.mp4')
    clip = video_clips((8, 32, 32), [file])[0]
    assert clip.packed['inputs'].shape == (1, 3, 8, 32, 32)
    assert clip.name == 'val/00000.mp4'
    with pytest.raises(FileNotFoundError, match=r'no such video: nowhere\.mp4'):
        find_files([file, 'nowhere.mp4'])


def test_missing_split(cfg):
    with pytest.raises(ValueError, match='no train_dataloader: choose another --split'):
        dataset_clips(cfg, 'train', 1, seed=0)
