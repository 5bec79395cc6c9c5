"""Annotation files of all kinds: each is read right, or gets one line."""

import codecs

import cv2
import numpy as np
import pytest
from mmaction.registry import DATASETS
from mmengine.config import Config

from projects.adamae import launch
from projects.adamae.datasets.unreadable import UnreadableVideos
from projects.adamae.launch.class_checks import check_classes, check_labels
from projects.adamae.video.error import VideoError


def config(root, kind='TolerantVideoDataset', prefix='videos', **changes):
    dataset = dict(
        type=kind,
        ann_file='a.txt',
        data_root=str(root),
        data_prefix=dict(img=prefix) if 'frame' in kind else dict(video=prefix),
        pipeline=[],
    )
    return Config(
        dict(
            model=dict(cls_head=dict(num_classes=3)),
            train_dataloader=dict(dataset=dataset | changes),
        )
    )


def check(cfg):
    launch.check_data(cfg, ('train',), UnreadableVideos)
    check_classes(cfg, ('train',))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (
            codecs.BOM_UTF8 + b'0.mp4 0\n',
            'a.txt begins with a byte-order mark.*: sed -i',
        ),
        ('0.mp4 0\n'.encode('utf-16'), 'UTF-8, got UTF-16.*: iconv -f UTF-16'),
        ('0.mp4 0\n'.encode('utf-16-le'), 'UTF-8, got UTF-16.*: iconv -f UTF-16'),
        ('caf\xe9.mp4 0\n'.encode('latin-1'), 'got the byte 0xe9 at 3.*iconv'),
        (b'[{"id": "1", "template": "Pushing"}]', 'is JSON, as published.*docs/data'),
        (b'{"0kt": {"duration": 10}}', 'is JSON, as published'),
        (b'label,youtube_id,time_start\nx,y,1', "is CSV, as .*'VIDEO LABEL' with a nu"),
        (
            b'0.mp4 jump',
            "'VIDEO LABEL', numbers from 0 for all but the name, got '0.mp",
        ),
        (b'0.mp4', 'line 1 of .*: expected a label from 0 to 2, .* got none'),
        ('\u7535\u5f71.mp4 0\n0.mp4 1'.encode(), None),
    ],
)
def test_files(toy, content, message):
    (toy.parent / 'a.txt').write_bytes(content)
    cfg = config(toy.parent)
    if message is None:
        check(cfg)
    else:
        with pytest.raises(ValueError, match=message):
            check(cfg)


def test_a_folder_of_classes_has_no_labels(toy):
    cfg = config(toy.parent, 'VideoFolderDataset', ann_file=None)
    message = r'dataset\.type: VideoFolderDataset has no labels, and the model is a cla'
    with pytest.raises(ValueError, match=message):
        check(cfg)
    with pytest.raises(ValueError, match='VideoFolderDataset has no labels; expected'):
        check_labels(cfg, 'train')
    cfg.model.pop('cls_head')
    check(cfg)


@pytest.mark.parametrize('label', ['', ' -1', ' 0 1'])
def test_labels_to_compare(toy, label):
    (toy.parent / 'a.txt').write_text(f'0.mp4 1\n1.mp4{label}')
    with pytest.raises(ValueError, match='line 2 of .* with one label from 0'):
        check_labels(config(toy.parent, multi_class=True), 'train')


PIPELINE = [
    dict(type='SampleFrames', clip_len=4, frame_interval=2),
    dict(type='RawFrameDecode'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]


@pytest.fixture
def frames(tmp_path):
    """Two folders of 8 frames; one of the first cannot be read, one is missing."""
    for name in ('a', 'b'):
        (tmp_path / 'frames' / name).mkdir(parents=True)
        for i in range(1, 9):
            image = np.full((16, 16, 3), 20 * i, np.uint8)
            cv2.imwrite(f'{tmp_path}/frames/{name}/img_{i:05}.jpg', image)
    (tmp_path / 'a.txt').write_text('a 8 0\nb 8 2')
    return tmp_path


def frames_config(root, kind='TolerantRawframeDataset', **changes):
    return config(root, kind, 'frames', **dict(pipeline=PIPELINE) | changes)


@pytest.mark.parametrize(
    ('text', 'changes', 'message'),
    [
        ('a 8 0\nb 8 2', {}, None),
        ('a 0 8 0\nb 1 7 2', dict(with_offset=True), None),
        ('a 8 0 1\nb 8 2', dict(multi_class=True, num_classes=3), None),
        ('a 8 0\nb 8 3', {}, 'line 2 of .* from 0 to 2, .* got 3'),
        ('a 8 0\nb', {}, "line 2 of .*: expected 'FOLDER FRAMES LABEL'"),
        ('a 8 0\nb x 1', {}, "line 2 of .*: expected 'FOLDER FRAMES LABEL'"),
        ('a 8 0\nc 8 1', dict(type='RawframeDataset'), '1 of 2 folders .* not found'),
        (
            'a 8 0',
            dict(data_prefix=dict(video='frames')),
            r'dict\(img=FOLDER\), as Tol',
        ),
        (
            'a 8 0',
            dict(pipeline=[dict(type='DecordInit')]),
            'RawFrameDecode, without De',
        ),
        ('a 8 0', dict(type='VideoDataset'), r'dict\(video=FOLDER\), as VideoD'),
    ],
)
def test_lists_of_frames(frames, text, changes, message):
    (frames / 'a.txt').write_text(text)
    cfg = frames_config(frames, **changes)
    if message is None:
        check(cfg)
    else:
        with pytest.raises((FileNotFoundError, ValueError), match=message):
            check(cfg)


@pytest.mark.parametrize('content', [None, b'', b'no picture'])
def test_one_unreadable_frame(frames, content):
    file = frames / 'frames/a/img_00003.jpg'
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    cfg = frames_config(frames).train_dataloader.dataset
    dataset = DATASETS.build(cfg)
    assert dataset[0]['data_samples'].gt_label == 2, 'the other takes its place'
    dataset = DATASETS.build(cfg | dict(test_mode=True))
    expected = r'frames/a: expected a readable video, got: \S*img_00003\.jpg'
    with pytest.raises(VideoError, match=expected):
        dataset[0]
    dataset.keep_unreadable = True
    sample = dataset[0]['data_samples']
    assert sample.gt_label == 0 and 'img_00003' in sample.unreadable
