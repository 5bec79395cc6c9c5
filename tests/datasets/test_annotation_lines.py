"""Names with blanks, from the list to the file."""

import pytest
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from projects.adamae.datasets.annotation_lines import split_line
from projects.adamae.launch.class_checks import check_labels
from projects.adamae.launch.data_checks import check_data
from tests.helpers import load_tool, write_videos

NAMES = 'a b.mp4', ' leading.mp4', '[set] 1.mp4', 'dir/ü  x.mp4'


@pytest.mark.parametrize(
    'line, delimiter, columns',
    [
        ('a b.mp4\t3', None, ['a b.mp4', '3']),
        (' a.mp4\t3\r', None, [' a.mp4', '3']),
        ('a b.mp4\t3\t4 5', None, ['a b.mp4', '3', '4', '5']),
        ('a b.mp4\t-1', None, ['a b.mp4', '-1']),
        (' a.mp4  3 ', None, ['a.mp4', '3']),
        ('a.mp4', None, ['a.mp4']),
        ('a b.mp4,3', ',', ['a b.mp4', '3']),
    ],
)
def test_a_tab_ends_the_name(line, delimiter, columns):
    assert split_line(line, delimiter) == columns


@pytest.fixture
def root(tmp_path):
    write_videos(tmp_path, count=1, frames=8)
    content = (tmp_path / '0.mp4').read_bytes()
    lines = []
    for number, name in enumerate(reversed(NAMES)):
        (tmp_path / 'videos' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'videos' / name).write_bytes(content)
        lines.append(f'{name}\t{number}\n')
    lines.sort(key=lambda line: not line.startswith('['))  # a list, not JSON
    (tmp_path / 'list.txt').write_text(''.join(lines))
    return tmp_path


@pytest.mark.parametrize('kind', ['TolerantVideoDataset', 'TolerantRepeatAugDataset'])
def test_names_with_blanks_are_checked_and_read(root, kind):
    init_default_scope('mmaction')
    dataset = dict(
        type=kind,
        ann_file=str(root / 'list.txt'),
        data_prefix=dict(video=str(root / 'videos')),
        pipeline=[
            dict(type='PyAVSkipInit'),
            dict(type='SampleFrames', clip_len=4),
            dict(type='PyAVSkipDecode'),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs'),
        ],
    )
    cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
    check_data(cfg, ['train'])
    check_labels(cfg, 'train')
    built = DATASETS.build(dataset)
    names = {built.get_data_info(i)['filename'] for i in range(len(built))}
    assert names == {str(root / 'videos' / name) for name in NAMES}
    assert built[0]


def test_the_check_of_videos_reads_the_same_list(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    tool = load_tool('data/check_videos')
    args = tool.parse_args(['list.txt', '--root', 'videos'])
    assert {*tool.videos_of('list.txt', args)} == {f'videos/{name}' for name in NAMES}
