"""Annotation files: what passes the check, the dataset reads; the rest is one line."""

import os

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from mmaction.registry import DATASETS
from mmengine.config import Config

from projects.adamae import launch
from projects.adamae.datasets.unreadable import UnreadableVideos
from projects.adamae.launch.class_checks import check_classes, check_labels
from tests.fuzz import documented, fuzz

NAMES = ['0.mp4', '1.mp4', 'sub/0.mp4', 'frames', 'a b', '', '.', '..', '../secret.mp4']
NAMES += ['sub/../0.mp4', '/etc/passwd', '\0', 'caf\xe9', '\u202e', 's3://b/0.mp4', '~']
NAMES += ['http://127.0.0.1:1/0.mp4', 'concat:0.mp4|1.mp4', '%s', '{0.__class__}', '#']
NUMBERS = ['0', '1', '7', '-1', '--1', '+1', '1.0', '1e3', '\u0663', '\xb2', '9' * 30]
NUMBERS += ['9' * 5000, '0x1', '1_0', 'True', '']
word = st.sampled_from(NAMES) | st.sampled_from(NUMBERS) | st.text(max_size=4)
blank = st.sampled_from([' ', ' ', ' ', ',', '\t', '  ', '\u3000', '\x1f'])
line = st.lists(st.tuples(word, blank), max_size=5).map(
    lambda parts: ''.join(w + b for w, b in parts)
)
end = st.sampled_from(['\n', '\n', '\r\n', '\r', '\n\n', '\x0b', '\x85', '\u2028'])
text = st.lists(st.tuples(line, end), max_size=6).map(
    lambda parts: ''.join(a + b for a, b in parts)
)
good = st.lists(
    st.tuples(st.sampled_from(NAMES[:3]), st.sampled_from(NUMBERS[:3])), min_size=1
).map(lambda rows: ''.join(f'{name} {number}\n' for name, number in rows))
content = st.one_of(
    good.map(str.encode),
    text.map(lambda t: t.encode('utf-8', 'surrogatepass')),
    text.map(lambda t: t.encode('utf-16', 'surrogatepass')),
    st.binary(max_size=60),
    st.tuples(good.map(str.encode), st.binary(max_size=4)).map(b''.join),
)
CASE = ('VideoDataset', ' ', False, False, False, False)
KINDS = ['TolerantVideoDataset', 'TolerantRawframeDataset', 'VideoDataset']


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('annotations')
    for name in ('secret.mp4', 'videos/0.mp4', 'videos/1.mp4', 'videos/sub/0.mp4'):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b'')
    (root / 'videos/frames').mkdir()
    return root


@fuzz
@given(
    content,
    st.sampled_from(KINDS),
    st.sampled_from([' ', ',', '\t', None]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
@example(f'0.mp4 {"9" * 5000}'.encode(), *CASE)
@example(b'0.mp4 ' + b'9' * 30, *CASE)
@example(b'\x1b[2J 0', *CASE)
@example(b'../secret.mp4 0', *CASE)
def test_annotation_files(
    root, content, kind, delimiter, many, offset, tolerant, classifier
):
    (root / 'list.txt').write_bytes(content)
    frames = 'Rawframe' in kind
    dataset = dict(
        type=kind,
        ann_file='list.txt',
        data_root=str(root),
        data_prefix={'img' if frames else 'video': 'videos'},
        pipeline=[],
        serialize_data=False,
        **(dict(with_offset=offset) if frames else dict(delimiter=delimiter)),
        **(dict(multi_class=True, num_classes=3) if many else {}),
    )
    head = dict(cls_head=dict(num_classes=3)) if classifier else {}
    cfg = Config(dict(model=head, train_dataloader=dict(dataset=dataset)))
    passed = False
    with documented():
        launch.check_data(cfg, ('train',), UnreadableVideos if tolerant else ())
        check_classes(cfg, ('train',))
        passed = True
        check_labels(cfg, 'train')
    if passed:
        for info in DATASETS.build(dataset).load_data_list():
            path = os.path.normpath(info['frame_dir' if frames else 'filename'])
            assert path.startswith(str(root / 'videos'))
            torch.tensor(info['label'])
            assert many or not classifier or 0 <= info['label'] < 3
