"""A small labeled folder of videos with known defects."""

import os

import numpy as np

from projects.adamae.datasets.preparers.motion_videos import MotionSpec, render_video
from projects.adamae.video.writer import encode_video
from tests.numbered_videos import write

SPEC = MotionSpec(size=64, num_frames=12)


def clip(number, fps=12):
    """Content of a file; other numbers move otherwise."""
    return encode_video(render_video(SPEC, 'train', number)[0], fps)


def write_miniature(root):
    """Write CLASS/VIDEO; returns the defects, as in the summary, without reasons."""
    for name, numbers in (('walk', range(12)), ('räum auf', range(12, 24))):
        (root / name).mkdir(parents=True)
        for number in numbers:
            (root / name / f'clip {number:02}.mp4').write_bytes(clip(number))
    (root / 'walk/ leading.MP4').write_bytes(clip(30))
    (root / 'walk/.hidden.mp4').write_bytes(clip(31))
    (root / 'walk/._mac.mp4').write_bytes(b'of macOS')
    (root / 'walk/notes.txt').write_text('no video')
    (root / 'walk/broken.mp4').write_text('no video')
    write(root / 'walk/whole.mkv', 'mpeg4')
    content = (root / 'walk/whole.mkv').read_bytes()
    (root / 'walk/cut.mkv').write_bytes(content[: len(content) // 2])
    frames = render_video(SPEC, 'train', 0)[0]
    small = frames[:, ::2, ::2].repeat(2, 2)  # of another shape, too
    (root / 'walk/zcopy.mp4').write_bytes(encode_video(small, 12))
    for name in ('still', 'still again'):
        still = np.repeat(frames[:1], 12, axis=0)
        (root / f'walk/{name}.mp4').write_bytes(encode_video(still, 12))
        black = np.zeros_like(frames)
        (root / f'räum auf/{name}.mp4').write_bytes(encode_video(black, 12))
    (root / 'walk/a\tb.mp4').write_bytes(clip(32))
    (root / 'no class.mp4').write_bytes(clip(33))
    (root / 'nothing').mkdir()
    broken_name = os.fsdecode(b'walk/\xff.mp4')
    (root / broken_name).write_bytes(clip(34))
    return dict(
        unreadable=['walk/broken.mp4'],
        truncated=['walk/cut.mkv'],
        duplicates=[['walk/clip 00.mp4', 'walk/zcopy.mp4']],
        static=['walk/still again.mp4', 'walk/still.mp4'],
        black=['räum auf/still again.mp4', 'räum auf/still.mp4'],
        missing=[],
        unlisted=[],
        repeated=[],
        unlabeled=['no class.mp4'],
        unlistable=['walk/a\tb.mp4', broken_name],
        empty_classes=['nothing'],
        similar_classes=[],
        duplicates_across_splits=[],
        duplicates_across_classes=[],
    )
