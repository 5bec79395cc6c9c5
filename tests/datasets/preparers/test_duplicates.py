"""The same video in other files is found; other videos of one scene are not."""

import io

import av
import numpy as np
import pytest

from projects.adamae.datasets.preparers.duplicates import find_duplicates
from projects.adamae.datasets.preparers.motion_videos import MotionSpec, render_video
from projects.adamae.datasets.preparers.survey import survey_videos

SPEC = MotionSpec(size=96, num_frames=24)


def encode(frames, codec='libx264', fmt='mp4', fps=25, size=None, **options):
    file = io.BytesIO()
    with av.open(file, 'w', format=fmt) as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width = size or frames.shape[1:3]
        stream.pix_fmt = 'yuv420p'
        stream.codec_context.thread_count = 1
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format='rgb24')
            container.mux(stream.encode(picture.reformat(stream.width, stream.height)))
        container.mux(stream.encode())
    return file.getvalue()


def look(tmp_path, contents):
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    facts, problems = survey_videos([str(tmp_path / name) for name in contents])
    assert not problems
    return {name: facts[str(tmp_path / name)] for name in contents}


def groups(facts):
    names = [name for name, fact in facts.items() if not (fact.static or fact.black)]
    pictures = np.stack([facts[name].decode_pictures() for name in names])
    found = find_duplicates([facts[name].seconds for name in names], pictures)
    return [{names[i] for i in group} for group in found]


def test_other_codecs_sizes_and_bit_rates_of_one_video(tmp_path):
    frames, other = (render_video(SPEC, 'train', number)[0] for number in (0, 1))
    copies = {
        'a.mp4': encode(frames, crf='18'),
        'coarse.mp4': encode(frames, crf='38'),
        'small.mkv': encode(frames, fmt='matroska', size=(64, 80), crf='30'),
        'old.avi': encode(frames, 'mpeg4', 'avi', qmin='10'),
    }
    facts = look(tmp_path, {**copies, 'b.mp4': encode(other, crf='18')})
    assert groups(facts) == [set(copies)]
    assert facts['small.mkv'].size == (80, 64)


def test_other_videos_of_one_scene_are_no_duplicates(tmp_path):
    scene = render_video(SPEC, 'train', 0)[0][:1]
    contents = {}
    for number, step in enumerate([(3, 0), (-3, 0), (0, 3), (2, 2)]):
        frames = scene.repeat(24, axis=0)
        for t, frame in enumerate(frames):
            y, x = 36 + t * np.array(step) // 2
            frame[y : y + 20, x : x + 20] = 230
        contents[f'{number}.mp4'] = encode(frames)
    assert groups(look(tmp_path, contents)) == []


@pytest.mark.parametrize('contrast, found', [(1.2, [[0, 1]]), (2.5, [])])
def test_like_things_that_move_alike_are_no_duplicates(contrast, found):
    pictures = np.zeros((6, 12, 12))
    for t, picture in enumerate(pictures):
        picture[4:7, t : t + 3] = 40
    copies = np.stack([100 + pictures, 100 + contrast * pictures])
    assert find_duplicates([2, 2], copies.astype(np.uint8)) == found


def test_what_does_not_move_is_static_and_no_duplicate(tmp_path):
    rng = np.random.default_rng(0)
    scene = render_video(SPEC, 'train', 0)[0][:1].repeat(24, axis=0)
    noise = rng.normal(0, 4, scene.shape)
    noisy = np.clip(scene + noise, 0, 255).astype(np.uint8)
    ball = scene.copy()
    for t, frame in enumerate(ball):
        frame[40:46, t : t + 6] = 255
    dark = np.clip(rng.normal(6, 2, scene.shape), 0, 255).astype(np.uint8)
    facts = look(
        tmp_path,
        {
            'still.mp4': encode(scene),
            'again.mp4': encode(scene),
            'noisy.mp4': encode(noisy, crf='28'),
            'black.mp4': encode(dark),
            'ball.mp4': encode(ball),
        },
    )
    kinds = {name: (fact.static, fact.black) for name, fact in facts.items()}
    assert kinds == {
        'still.mp4': (True, False),
        'again.mp4': (True, False),
        'noisy.mp4': (True, False),
        'black.mp4': (False, True),
        'ball.mp4': (False, False),
    }


@pytest.mark.parametrize('count', [3, 5000])
def test_any_number_of_videos(count):
    pictures = np.random.default_rng(0).integers(0, 256, (count, 6, 12, 12), np.uint8)
    seconds = np.linspace(1, 20, count)
    pictures[-1] = pictures[0]
    assert find_duplicates(seconds, pictures) == []  # not of one length
    seconds[-1] = 1.1
    assert find_duplicates(seconds, pictures) == [[0, count - 1]]
