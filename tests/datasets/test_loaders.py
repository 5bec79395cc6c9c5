"""Every kind of file through the loaders, its frames told by their content."""

import os
from copy import deepcopy
from functools import cache
from threading import Event

import av
import decord
import numpy as np
import pytest
import torch
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from projects.adamae import TolerantRepeatAugDataset, TolerantVideoDataset
from projects.adamae.datasets import checked_decord
from projects.adamae.datasets.from_config import build_dataset, center_clip_pipeline
from projects.adamae.video.error import VideoError
from projects.adamae.video.reader import VideoReader
from tests.helpers import CONFIGS
from tests.numbered_videos import FORMATS, number_of, write

FRAMES = 80
HEVC = {'x265-params': 'log-level=none:keyint=24:min-keyint=24:bframes=3'}
#: As FORMATS: kinds whose frames other readers get wrong, and common ones.
MORE = {
    'H.264 in AVI, no B-frames': ('avi', 'libx264', {'bf': '0', 'g': '12'}, {}),
    'H.264 in FLV': ('flv', 'libx264', {}, {}),
    'HEVC, open GOPs': ('mkv', 'libx265', HEVC, {}),
    'VP8': ('webm', 'libvpx', {'cpu-used': '8', 'auto-alt-ref': '1'}, {}),
    'MPEG-1': ('mpg', 'mpeg1video', {'bf': '2'}, {}),
    'MPEG-2 in a transport stream': ('ts', 'mpeg2video', {'bf': '2'}, {}),
    'WMV': ('wmv', 'wmv2', {}, {}),
    'MJPEG': ('avi', 'mjpeg', {'strict': '-1'}, {}),
}
KINDS = FORMATS | MORE
#: Frames in front that an edit list hides, as cutting without encoding anew leaves.
CUT = {
    'H.264': ('libx264', {'g': '12'}),
    'H.264, one group': ('libx264', {'g': '250'}),
    'HEVC': ('libx265', {'x265-params': 'log-level=none'}),
    'MPEG-4': ('mpeg4', {'bf': '2'}),
}
HIDDEN = 20
#: What decord may open; other kinds are refused.
EXACT_WITH_DECORD = {
    'x264 default',
    'closed GOPs',
    'deep pyramid',
    'no B-frames',
    'intra refresh',
    'interlaced',
    'fragmented',
    'VP9',
    'VP9, hidden frames',
}
DECORD = dict(PyAVSkipInit='DecordInit', PyAVSkipDecode='DecordDecode')


@cache
def recipe(dataset):
    return Config.fromfile(CONFIGS / f'adamae_vitb_{dataset}_finetune.py')


def views(dataset, path, loader=None):
    """The frames of the recipe's test views, and the numbers that were asked for."""
    init_default_scope('mmaction')
    steps = deepcopy(recipe(dataset).test_pipeline[:3])
    for step in steps:
        step.type = (loader or {}).get(step.type, step.type)
    built = TolerantVideoDataset('', steps, lazy_init=True, test_mode=True)
    results = built.pipeline(dict(filename=str(path), start_index=0, modality='RGB'))
    return [number_of(img) for img in results['imgs']], [*results['frame_inds']]


def make(path, encoder, options, muxer={}, **kwargs):
    if encoder not in av.codecs_available:
        pytest.skip(f'FFmpeg has no {encoder} here')
    return write(path, encoder, options, muxer, frames=FRAMES, **kwargs)


def assert_exact_or_refused(path, hidden=0):
    """By the default loader; by decord, if it is chosen, or one error."""
    for dataset, count in (('ssv2', 32), ('k400', 80)):
        shown, asked = views(dataset, path)
        assert len(asked) == count and max(asked) < FRAMES - hidden
        assert shown == [number + hidden for number in asked]
    try:
        shown, asked = views('ssv2', path, DECORD)
    except VideoError as error:
        return str(error)
    assert shown == asked
    return None


@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_of_file_in_the_recipes_views(tmp_path, kind):
    suffix, *how = KINDS[kind]
    path = make(tmp_path / f'a.{suffix}', *how)
    refusal = assert_exact_or_refused(path)
    if kind in EXACT_WITH_DECORD:
        assert refusal is None
    else:
        assert refusal.startswith(f'{path}: expected a file whose frames decord finds')
        assert refusal.count(str(path)) == 1 and 'load it with PyAVSkipInit' in refusal


@pytest.mark.parametrize('kind', CUT)
def test_frames_that_an_edit_list_hides_are_not_counted(tmp_path, kind):
    path = make(tmp_path / 'a.mp4', *CUT[kind], shift=HIDDEN)
    assert len(VideoReader(path)) == FRAMES - HIDDEN
    assert 'decord finds' in assert_exact_or_refused(path, HIDDEN)


def test_frames_after_the_end_of_an_edit_list(tmp_path):
    path = tmp_path / 'a.mp4'
    make(path, 'libx264', {'g': '12'})
    content = bytearray(path.read_bytes())
    at = content.index(b'elst') + 12  # version, count, then the duration in ms
    duration = int.from_bytes(content[at : at + 4], 'big') // 2
    content[at : at + 4] = duration.to_bytes(4, 'big')
    path.write_bytes(content)
    with av.open(str(path)) as container:
        plain = [number_of(f.to_ndarray(format='rgb24')) for f in container.decode()]
    reader = VideoReader(str(path))
    assert reader.indexed and len(reader) == len(plain) < FRAMES
    shown = reader.get_frames(range(len(reader)))
    assert [number_of(image) for image in shown] == plain == [*range(len(plain))]


def test_decord_is_never_waited_for_without_end(tmp_path, monkeypatch):
    """Whatever makes it hang: here a call that returns after the test."""
    wait = Event()
    path = make(tmp_path / 'a.mp4', 'libx264', {})
    monkeypatch.setattr(decord.VideoReader, 'get_batch', lambda *_: wait.wait(60))
    monkeypatch.setattr(checked_decord, '_TIME_LIMIT', 0.2)
    with pytest.raises(VideoError, match=r'a\.mp4: expected frames within 0.2 s, dec'):
        views('ssv2', path, DECORD)
    wait.set()


def test_a_count_of_decord_that_differs_is_an_error(tmp_path, monkeypatch):
    path = make(tmp_path / 'a.mp4', 'libx264', {})
    monkeypatch.setattr(decord.VideoReader, '__len__', lambda self: 81)
    with pytest.raises(VideoError, match='expected the 80 frames of h264 in .* 81; lo'):
        views('ssv2', path, DECORD)


@pytest.mark.parametrize('loader', [None, DECORD])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path, loader):
    os.mkfifo(tmp_path / 'a.mp4')
    with pytest.raises(VideoError, match=r'a\.mp4: .* got: no regular file'):
        views('ssv2', tmp_path / 'a.mp4', loader)
    with pytest.raises(VideoError, match='/dev/zero: .* got: no regular file'):
        VideoReader('/dev/zero')


def test_errors_name_codec_and_container(tmp_path):
    path = tmp_path / 'a.mp4'
    write(path, 'libx264', muxer={'movflags': 'faststart'})
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(VideoError, match=r'a\.mp4: .* \(h264 in QuickTime / MOV\)$'):
        VideoReader(str(path))


def test_a_file_without_index_is_decoded_once(tmp_path, monkeypatch):
    """Counting keeps the frames, as far as there is room for them."""
    path = make(tmp_path / 'a.ts', 'libx264', {})
    opened, opening = [], VideoReader._all
    monkeypatch.setattr(
        VideoReader, '_all', lambda self: opened.append(self) or opening(self)
    )
    kept = VideoReader(path).get_frames([3, 79])
    assert len(opened) == 1
    monkeypatch.setattr('projects.adamae.video.reader._MAX_KEPT', 200_000)
    reader = VideoReader(path)
    assert 0 < len(reader._kept) < 40
    again = reader.get_frames([3, 79])
    assert len(opened) == 3 and np.array_equal(kept, again)


@pytest.mark.parametrize('stage', ['pretrain', 'finetune'])
def test_repeated_clips_of_one_video_with_the_recipes_loader(
    tmp_path, stage, monkeypatch
):
    """An HEVC file, which decord gets wrong, opened once for all clips."""
    init_default_scope('mmaction')
    make(tmp_path / 'a.mkv', *MORE['HEVC, open GOPs'][1:])
    (tmp_path / 'list.txt').write_text('a.mkv 3')
    cfg = Config.fromfile(CONFIGS / f'maest_vitb_k400_{stage}.py')
    cfg = cfg.train_dataloader.dataset
    cfg.ann_file, cfg.data_prefix.video = str(tmp_path / 'list.txt'), str(tmp_path)
    dataset = DATASETS.build(cfg)
    assert type(dataset) is TolerantRepeatAugDataset
    dataset.pipeline.transforms[3:] = []
    opened, init = [], VideoReader.__init__
    monkeypatch.setattr(
        VideoReader, '__init__', lambda s, *a: opened.append(a) or init(s, *a)
    )
    samples = dataset[0]
    assert len(samples) == cfg.num_repeats and len(opened) == 1
    asked = samples[0]['frame_inds'].reshape(len(samples), -1)
    shown = [[number_of(img) for img in sample['imgs']] for sample in samples]
    assert shown == asked.tolist()


def test_repeated_clips_need_the_three_first_steps():
    steps = [dict(type='PyAVSkipInit'), dict(type='PyAVSkipDecode')]
    with pytest.raises(ValueError, match="'PyAVSkipInit', one that samples frames"):
        TolerantRepeatAugDataset('', steps, lazy_init=True)


def test_tools_take_the_center_clip_by_the_same_loader(tmp_path):
    init_default_scope('mmaction')
    path = make(tmp_path / 'a.ts', 'libx264', {'g': '15'})
    results = dict(filename=path, start_index=0, modality='RGB')
    steps = Compose(center_clip_pipeline((16, 64, 64), 2)[:3])
    results = steps(results)
    assert [number_of(x) for x in results['imgs']] == [*results['frame_inds']]


def test_features_of_any_dataset_are_not_of_other_frames(tmp_path):
    """MMAction2's own dataset and loader."""
    init_default_scope('mmaction')
    make(tmp_path / 'a.ts', 'libx264', {'g': '15'})
    (tmp_path / 'list.txt').write_text('a.ts 3')
    steps = [dict(type='DecordInit'), dict(type='SampleFrames', clip_len=4)]
    dataset = dict(
        type='VideoDataset',
        ann_file=str(tmp_path / 'list.txt'),
        data_prefix=dict(video=str(tmp_path)),
        pipeline=[*steps, dict(type='DecordDecode')],
    )
    cfg = Config(dict(val_dataloader=dict(dataset=dataset)))
    with pytest.raises(VideoError, match='decord finds, got h264 in MPEG-TS'):
        build_dataset(cfg, 'val', (4, 16, 16))[0]


def test_a_folder_of_unreadable_videos_ends_with_what_to_do(tmp_path):
    init_default_scope('mmaction')
    for i in range(3):
        (tmp_path / f'{i}.mp4').write_text('no video')
    (tmp_path / 'list.txt').write_text('0.mp4 0\n1.mp4 0\n2.mp4 0')
    dataset = TolerantVideoDataset(
        str(tmp_path / 'list.txt'),
        [dict(type='PyAVSkipInit')],
        data_prefix=dict(video=str(tmp_path)),
    )
    message = r'got 101 in a row that are not, the last .*\.mp4: .*Invalid data.*H.264'
    with pytest.raises(VideoError, match=message):
        dataset[0]
    loader = torch.utils.data.DataLoader(dataset, num_workers=1)
    with pytest.raises(VideoError) as error:
        next(iter(loader))
    assert str(error.value).startswith('expected readable videos, got 10')
    assert len(str(error.value).splitlines()) == 1
