"""Tests of the motion dataset."""

import io
import json

import decord
import numpy as np
import pytest

from projects.adamae.datasets.preparers import motion_videos
from projects.adamae.datasets.preparers.motion_videos import (
    MotionSpec,
    encode_video,
    make_dataset,
    mask_path,
    render_video,
    video_label,
    video_path,
)

TINY = MotionSpec(num_train=5, num_val=3, num_frames=8, num_classes=4)


def decode(data):
    return decord.VideoReader(io.BytesIO(data)).get_batch(range(32)).asnumpy()


def contents(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob('*')) if p.is_file()}


@pytest.fixture(scope='module')
def decoded():
    """240 videos of 4 classes, through H.264: frames, object masks, labels."""
    spec = MotionSpec(num_classes=4)
    frames, masks = zip(
        *(render_video(spec, 'train', i) for i in range(240)), strict=True
    )
    clips = np.stack([decode(encode_video(f, spec.fps)) for f in frames])
    labels = np.array([video_label(spec, i) for i in range(240)])
    return np.stack(frames), clips, np.stack(masks), labels


def test_h264_keeps_the_pictures(decoded):
    frames, clips, _, _ = decoded
    assert clips.shape == frames.shape == (240, 32, 32, 32, 3)
    error = (clips.astype(float) - frames) ** 2
    psnr = 10 * np.log10(255**2 / error.mean((1, 2, 3, 4)))
    assert psnr.mean() > 38
    assert psnr.min() > 33


def test_background_is_static_smooth_and_nowhere_flat():
    frames, object_mask = render_video(MotionSpec(), 'train', 3)
    background = np.where(object_mask[..., None], np.nan, frames)
    assert np.nanmax(np.nanstd(background, axis=0)) == 0
    # Rounding to whole gray levels, standard deviation 0.29, must stay a small part of
    # any token, for it is what no model can predict.
    still = np.nanmax(background, axis=0)
    assert np.nanmax(np.abs(np.diff(still, axis=0))) < 20
    tokens = still.reshape(4, 8, 4, 8, 3)
    assert np.nanmin(np.nanstd(tokens, axis=(1, 3))) > 1


def test_object_mask_covers_the_object_and_its_path(decoded):
    frames, _, masks, _ = decoded
    sizes = masks.sum((2, 3))
    assert (sizes == sizes[:, :1]).all(), 'the object never leaves, whole or in part'
    assert set(np.sqrt(sizes[:, 0])) == {8, 9, 10, 11, 12}
    seen = np.where(masks[..., None], np.nan, frames)
    assert np.nanmax(np.nanstd(seen, axis=1)) == 0, 'what moves is in the mask'


def test_one_frame_does_not_give_the_label_away(decoded):
    _, clips, masks, labels = decoded
    train, held_back = slice(0, 160), slice(160, None)
    for time in (0, 15, 31):
        for images in (clips[:, time].astype(float), masks[:, time].astype(float)):
            x = images.reshape(len(images), -1)
            x = x - x[train].mean(0)
            targets = np.eye(4)[labels] - 0.25
            # Ridge regression on labels in its dual form, and nearest class mean.
            gram = x @ x[train].T
            ridge = gram[train] + 0.1 * np.trace(gram[train]) / 160 * np.eye(160)
            linear = gram[held_back] @ np.linalg.solve(ridge, targets[train])
            means = np.stack([x[train][labels[train] == k].mean(0) for k in range(4)])
            distance = ((x[held_back][:, None] - means) ** 2).sum(-1)
            for guess in (linear.argmax(1), distance.argmin(1)):
                # By chance 0.25 with a standard deviation of 0.048, on 80 videos.
                assert (guess == labels[held_back]).mean() < 0.25 + 3.5 * 0.048


def test_every_window_gives_the_label(decoded):
    _, clips, _, labels = decoded
    gray = clips.mean(-1)
    foreground = np.abs(gray - np.median(gray, axis=1, keepdims=True)) > 25
    for start in (0, 7, 16):
        window = np.fft.fft2(foreground[:, start : start + 16].astype(float))
        # Over 4 frames the object moves by 4 to 8 of 32 pixels.
        shift = np.fft.ifft2((window[:, 4:] * window[:, :-4].conj()).sum(1)).real
        best = shift.reshape(len(shift), -1).argmax(1)
        row, column = np.unravel_index(best, (32, 32))
        angle = np.arctan2((row + 16) % 32 - 16, (column + 16) % 32 - 16)
        guess = np.rint(angle / (np.pi / 2)).astype(int) % 4
        assert (guess == labels).mean() > 0.98


def test_position_does_not_depend_on_the_label():
    spec = MotionSpec(num_classes=2, num_frames=16)
    masks = np.stack([render_video(spec, 'val', i)[1][-1] for i in range(400)])
    for axis in (1, 2):
        # Where the object is, as a direction on the torus; mean 0 if uniform.
        at = masks.any(3 - axis) @ np.exp(2j * np.pi * np.arange(32) / 32)
        at /= abs(at)
        for label in range(2):
            assert abs(at[label::2].mean()) < 0.2  # Rayleigh: p = 3e-4 at 200


def test_only_the_motion_differs_between_classes():
    a, _ = render_video(MotionSpec(num_classes=4), 'train', 1)
    b, _ = render_video(MotionSpec(num_classes=5), 'train', 1)
    np.testing.assert_array_equal(a[0], b[0])
    assert (a[5] != b[5]).any()


def test_dataset_is_complete_and_reproducible(tmp_path):
    assert make_dataset(tmp_path / 'a', TINY, workers=1) == 8
    assert make_dataset(tmp_path / 'b', TINY, workers=2) == 8
    a, b = contents(tmp_path / 'a'), contents(tmp_path / 'b')
    assert [p.relative_to(tmp_path / 'a') for p in a] == [
        p.relative_to(tmp_path / 'b') for p in b
    ]
    assert list(a.values()) == list(b.values())
    assert (tmp_path / 'a/val.txt').read_text() == (
        'val/00000.mp4 0\nval/00001.mp4 1\nval/00002.mp4 2\n'
    )
    assert json.loads((tmp_path / 'a/dataset.json').read_text())['num_classes'] == 4
    masks = np.load(mask_path(tmp_path / 'a', 'train', 4))['object_mask']
    np.testing.assert_array_equal(masks, render_video(TINY, 'train', 4)[1])
    sizes = [p.stat().st_size for p in (tmp_path / 'a/videos').rglob('*.mp4')]
    assert len(sizes) == 8


def test_smallest_files_are_long_enough_for_decord():
    spec = MotionSpec(size=18, num_frames=2)
    data = encode_video(render_video(spec, 'train', 0)[0], spec.fps)
    assert len(data) > 1024  # it can hang on shorter ones
    assert len(decord.VideoReader(io.BytesIO(data))) == 2


@pytest.mark.parametrize('size', motion_videos.UNREADABLE)
def test_decord_still_fails_at_some_widths(size):
    frames = np.zeros((2, size, size, 3), dtype=np.uint8)
    reader = decord.VideoReader(io.BytesIO(encode_video(frames, 16)))
    with pytest.raises(decord.DECORDError, match='size must exactly match'):
        reader.get_batch([0])


def test_bytes_do_not_depend_on_what_was_in_memory():
    frames = [motion_videos.render_video(TINY, 'train', i)[0] for i in (2, 4)]
    rng = np.random.default_rng(0)
    files = [set(), set()]
    for _ in range(150):
        # Freed at once, and handed to the encoder with what is in it.
        for size in rng.integers(1, 200_000, 60):
            np.full(size, rng.integers(256), np.uint8)
        for clip, found in zip(frames, files, strict=True):
            found.add(encode_video(clip, 16))
    assert [len(found) for found in files] == [1, 1]


def test_second_run_reuses_and_other_parameters_are_rejected(tmp_path):
    make_dataset(tmp_path, TINY)
    before = contents(tmp_path)
    assert make_dataset(tmp_path, TINY) == 0
    assert contents(tmp_path) == before
    other = MotionSpec(num_train=2, num_val=2, num_frames=8, num_classes=4, seed=1)
    with pytest.raises(FileExistsError, match=r'seed=0 \(wanted: 1\).*--overwrite'):
        make_dataset(tmp_path, other)
    assert contents(tmp_path) == before
    assert make_dataset(tmp_path, other, overwrite=True) == 4
    assert len(contents(tmp_path)) == 4 * 2 + 3, 'nothing of the old one is left'


def test_interrupted_run_is_finished(tmp_path, monkeypatch):
    make_dataset(tmp_path / 'whole', TINY)
    encode = motion_videos.encode_video

    def fail_at_third(frames, fps, calls=[]):  # noqa: B006
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(frames, fps)

    monkeypatch.setattr(motion_videos, 'encode_video', fail_at_third)
    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path / 'part', TINY)
    assert not (tmp_path / 'part/dataset.json').exists()
    with pytest.raises(FileExistsError, match='num_classes=4'):
        make_dataset(tmp_path / 'part', MotionSpec())
    assert make_dataset(tmp_path / 'part', TINY) == 6
    assert list(contents(tmp_path / 'part').values()) == list(
        contents(tmp_path / 'whole').values()
    )
    video_path(tmp_path / 'part', 'val', 1).unlink()
    assert make_dataset(tmp_path / 'part', TINY) == 1


def test_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / 'thesis.txt').write_text('mine')
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match='holds no motion dataset'):
            make_dataset(tmp_path, TINY, overwrite=overwrite)
    assert list(tmp_path.iterdir()) == [tmp_path / 'thesis.txt']


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(size=33), 'size: expected even, above 16 .* got 33'),
        (dict(size=48), 'and not 24, 48 or 72, got 48'),
        (dict(num_val=0), 'num_val: expected at least 1, got 0'),
        (dict(num_classes=1), 'num_classes: expected at least 2, got 1'),
        (dict(object_size=(8, 20)), r'object_size: expected 2 <= low <= high <= 16'),
        (dict(speed=(0, 1)), r'speed: expected 0 < low <= high < 16, got \(0, 1\)'),
    ],
)
def test_wrong_parameters(wrong, message):
    with pytest.raises(ValueError, match=message):
        MotionSpec(**wrong)
