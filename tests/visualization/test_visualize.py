"""The tool of the pictures on files and names as people have them."""

import warnings

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from PIL import Image

from projects.adamae.apis.pictures import picture_path
from projects.adamae.visualization import picture, sheet
from projects.adamae.visualization.rows import Row
from tests.helpers import run_tool, tiny_model_cfg, video_dataset_cfg, write_videos


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('visualize')
    write_videos(root / 'videos', 3, frames=20)
    (root / 'videos/bad.mp4').write_text('no video\n' * 300)
    names = ('0.mp4', 'bad.mp4', '1.mp4')
    (root / 'list.txt').write_text('\n'.join(f'{name} 0' for name in names))
    dataset = video_dataset_cfg(root, 'list.txt', frame_interval=2, test_mode=True)
    dataset['type'] = 'TolerantVideoDataset'
    loader = dict(dataset=dataset)
    model = tiny_model_cfg()
    cfg = Config(dict(model=model, train_dataloader=loader, work_dir=str(root)))
    cfg.dump(root / 'cfg.py')
    weights = dict(state_dict=MODELS.build(cfg.model).state_dict())
    for name in ('a.pth', 'b.pth'):
        torch.save(weights, root / name)
    return root


@pytest.fixture
def draw(root, tmp_path, capsys):
    """Runs the tool; gives its exit code, pictures by name, and last line of errors."""

    def run(*args, model='a.pth'):
        code = 0
        try:
            run_tool(
                'visualize', root / 'cfg.py', root / model, '--out', tmp_path, *args
            )
        except SystemExit as exit_info:
            code = exit_info.code
        lines = capsys.readouterr().err.splitlines()
        return code, sorted(p.name for p in tmp_path.iterdir()), lines

    return run


def test_no_video_takes_the_place_of_a_broken_one(draw, root):
    code, names, errors = draw('--split', 'train')
    assert code == 1 and len(names) == 2
    assert [name[:12] for name in names] == ['videos_0_mp4', 'videos_1_mp4']
    assert errors[-1].startswith(
        f'error: {root}/videos/bad.mp4: expected a readable video, '
    )


def test_files_that_are_no_videos(draw, root, tmp_path):
    good, bad = root / 'videos/0.mp4', root / 'videos/bad.mp4'
    code, names, errors = draw('--video', bad, good)
    assert code == 1 and len(names) == 1 and names[0].startswith('videos_0_mp4')
    assert [line for line in errors if line.startswith('error: ')] == errors[-1:]
    assert 'bad.mp4: expected a readable video, ' in errors[-1]
    assert draw('--video', good)[0] == 0


def test_every_video_and_model_has_its_picture(draw, root, tmp_path_factory):
    files = []
    for name in ('x', 'y'):
        folder = tmp_path_factory.mktemp(name) / 'same'
        folder.mkdir()
        (folder / '0.mp4').write_bytes((root / 'videos/0.mp4').read_bytes())
        files.append(folder / '0.mp4')
    assert len(draw('--video', *files)[1]) == 2
    for _ in range(2):
        assert len(draw('--video', files[0], model='b.pth')[1]) == 3


def test_frames_have_their_numbers_in_the_video(draw, root, monkeypatch):
    seen = []
    monkeypatch.setattr(
        picture,
        'assemble',
        lambda rows, title, frames, outline: (
            seen.append([*frames]) or np.zeros((2, 2, 3), 'u1')
        ),
    )
    draw('--video', root / 'videos/0.mp4', '--frame-interval', 2)
    draw('--split', 'train', '--num', 3)
    # 8 frames, 2 apart, from the middle of 20; a token has two.
    assert seen == [[2, 6, 10, 14]] * 3


@pytest.mark.parametrize(
    'name', ['a$b$_{c$ $\\frac', '\u7535\u5f71\u6d4b\u8bd5\n', 'n' * 100]
)
def test_any_name(draw, root, tmp_path_factory, name):
    file = tmp_path_factory.mktemp('names') / f'{name}{name}.mp4'
    file.write_bytes((root / 'videos/0.mp4').read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        code, names, _ = draw('--video', file)
    assert code == 0 and len(names) == 1


def test_headlines_are_not_formulas():
    row = Row(np.zeros((1, 8, 8, 3), np.uint8))
    rows = {'upper': row, 'lower': row}
    pictures = [
        sheet.assemble(rows, title) for title in ('$a$', 'a', '\u7535', '\u5f71')
    ]
    assert (pictures[0] != pictures[1]).any()
    np.testing.assert_array_equal(pictures[2], pictures[3])


def test_long_names_stay_apart(tmp_path):
    paths = {picture_path(tmp_path, '\u7535' * 120 + end, 'run/a.pth') for end in 'xy'}
    assert len(paths) == 2
    for path in paths:
        Image.new('RGB', (2, 2)).save(path)


def test_old_name_of_the_tool(root, tmp_path, capsys):
    """It says the new one, once, and draws."""
    good = root / 'videos/0.mp4'
    arguments = (root / 'cfg.py', root / 'a.pth', '--out', tmp_path, '--video', good)
    run_tool('visualise', *arguments)
    assert len([*tmp_path.glob('*.png')]) == 1
    assert capsys.readouterr().err.count('is now visualize.py') == 1
