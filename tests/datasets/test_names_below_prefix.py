"""Names in annotation files stay below the folder they are for, or are allowed."""

import os

import pytest
from mmaction.registry import DATASETS
from mmengine.config import Config

from projects.adamae import launch
from projects.adamae.datasets.names_below_prefix import leaves

KINDS = ['TolerantVideoDataset', 'TolerantRawframeDataset', 'TolerantRepeatAugDataset']
STEPS = [dict(type=t) for t in ('PyAVSkipInit', 'SampleFrames', 'PyAVSkipDecode')]
STEPS[1]['clip_len'] = 1


@pytest.mark.parametrize(
    ('prefix', 'name', 'expected'),
    [
        ('videos', 'a/b.mp4', False),
        ('videos', '..a/b..c/...mp4', False),
        ('videos', '../a.mp4', True),
        ('videos', 'a/../../a.mp4', True),
        ('videos', 'link/../a.mp4', True),  # that is not here/a.mp4
        ('videos', 'a/..', True),
        ('videos', '/etc/a.mp4', True),
        ('/data/videos', '/data/videos/a.mp4', False),
        ('/data/videos/', '/data/videos/a.mp4', False),
        ('/data/videos', '/data/videos_of_others/a.mp4', True),
        ('/data/videos', '/data/videos/../a.mp4', True),
        ('../videos', 'a.mp4', False),
        ('../videos', '../a.mp4', True),
        ('s3://bucket/videos', 'a.mp4', False),
        ('s3://bucket/videos', '/etc/a.mp4', True),
        ('', '/data/a.mp4', False),
        ('', '../a.mp4', False),
    ],
)
def test_names(prefix, name, expected):
    assert leaves(prefix, os.path.join(prefix, name)) is expected


def test_a_prefix_that_is_relative_or_a_link(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'real').mkdir()
    (tmp_path / 'link').symlink_to('real')
    for prefix in ('real', 'link', str(tmp_path / 'link')):
        assert not leaves(prefix, str(tmp_path / 'real/a.mp4'))
    assert leaves('real', str(tmp_path / 'link/a.mp4'))


@pytest.fixture
def data(tmp_path, request):
    """A dataset whose second line leads out of its folder, to what is there."""
    kind = request.param
    frames = kind == 'TolerantRawframeDataset'
    for name in ('inside/0', '1'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if frames else path.write_bytes(b'')
    (tmp_path / 'a.txt').write_text('0 3 1\n../1 3 1\n' if frames else '0 1\n../1 1\n')
    return dict(
        type=kind,
        ann_file='a.txt',
        data_root=str(tmp_path),
        data_prefix={'img' if frames else 'video': 'inside'},
        pipeline=STEPS if 'Repeat' in kind else [],
    )


MESSAGE = (
    r"line 2 of .*a\.txt: expected a name below the folder .*inside, got '.*\.\./1'"
)


@pytest.mark.parametrize('data', KINDS, indirect=True)
def test_datasets(data):
    with pytest.raises(ValueError, match=MESSAGE):
        DATASETS.build(data)
    assert len(DATASETS.build(dict(data, allow_outside_prefix=True))) == 2


@pytest.mark.parametrize(
    'data', [*KINDS, 'VideoDataset', 'RepeatAugDataset'], indirect=True
)
def test_check_before_a_run(data):
    def check(dataset):
        cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
        launch.check_data(cfg, ('train',))

    message = rf'\Atrain_dataloader\.dataset\.ann_file: {MESSAGE}, .*=True, .*\Z'
    with pytest.raises(ValueError, match=message):
        check(data)
    check(dict(data, allow_outside_prefix=True))
    whole = f'{data["data_root"]}/inside/0 1'
    if 'img' not in data['data_prefix']:
        with open(os.path.join(data['data_root'], 'a.txt'), 'w') as file:
            file.write(whole)
        check(data)
