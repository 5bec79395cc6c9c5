"""Bytes of videos that were flipped, cut, inserted or spliced in."""

import io
import os
from functools import cache

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projects.adamae.video.error import VideoError
from projects.adamae.video.reader import VideoReader
from tests.numbered_videos import SIZE, write

EXAMPLES = os.environ.get('FUZZ_EXAMPLES')
FUZZ = settings(
    max_examples=int(EXAMPLES or 40),
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    suppress_health_check=[*HealthCheck],
)
KINDS = {
    'mp4': ('libx264', {'g': '10'}, {}),
    'webm': ('libvpx-vp9', {'g': '10', 'cpu-used': '8'}, {}),
    'mkv': ('libx265', {'x265-params': 'log-level=none'}, {}),
    'avi': ('mpeg4', {'bf': '2'}, {}),
    'ts': ('mpeg2video', {}, {}),
    'mov': ('libx264', {}, {'movflags': 'frag_keyframe+empty_moov'}),
}


@cache
def contents(folder):
    """Write a video of each kind; gives their bytes."""
    return {
        suffix: open(write(folder / f'a.{suffix}', *how, frames=20), 'rb').read()
        for suffix, how in KINDS.items()
    }


PLACE = st.floats(0, 1)
CHANGE = st.one_of(
    st.tuples(st.just('flip'), PLACE, st.integers(1, 255)),
    st.tuples(st.just('header'), PLACE, st.integers(1, 255)),
    st.tuples(st.just('cut'), PLACE, st.integers(1, 2000)),
    st.tuples(st.just('insert'), PLACE, st.binary(min_size=1, max_size=40)),
    st.tuples(st.just('splice'), PLACE, st.sampled_from(sorted(KINDS))),
    st.tuples(st.just('end'), PLACE, st.none()),
)


def changed(content, changes, others):
    """Apply changes, at places that are parts of the length."""
    content = bytearray(content)
    for how, place, what in changes:
        at = int(place * (len(content) - 1)) if content else 0
        if how == 'flip' and content:
            content[at] ^= what
        elif how == 'header' and content:  # where most of what can go wrong is read
            content[int(place * min(len(content) - 1, 1000))] ^= what
        elif how == 'cut':
            del content[at : at + what]
        elif how == 'insert':
            content[at:at] = what
        elif how == 'splice':
            content[at:at] = others[what][at // 2 : at]
        elif how == 'end':
            del content[at:]
    return bytes(content)


@FUZZ
@given(
    kind=st.sampled_from(sorted(KINDS)),
    changes=st.lists(CHANGE, min_size=1, max_size=4),
    numbers=st.lists(st.integers(0, 25), min_size=1, max_size=4),
)
def test_changed_videos_give_the_frames_asked_for_or_an_error(
    tmp_path_factory, kind, changes, numbers
):
    originals = contents(tmp_path_factory.getbasetemp())
    content = changed(originals[kind], changes, originals)
    try:
        video = VideoReader(io.BytesIO(content), 'a video')
        assert len(video) > 0
        numbers = [number % len(video) for number in numbers]
        frames = video.get_frames(numbers)
    except VideoError as error:
        assert str(error).startswith('a video: ') and '\n' not in str(error)
        assert error.kind in (
            *('unreadable', 'truncated', 'damaged', 'changing size', 'picture'),
            'too slow',
        )
        return
    assert len(frames) == len(numbers)
    assert len({frame.shape for frame in frames}) == 1
    assert all(frame.dtype == 'uint8' and frame.shape[2] == 3 for frame in frames)
    if content == originals[kind]:
        assert frames[0].shape == (*SIZE, 3)
