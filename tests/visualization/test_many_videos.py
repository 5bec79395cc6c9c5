"""The tool of the pictures on folders and lists, in all formats, again and again."""

import os

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from PIL import Image

from projects.adamae.apis import pictures
from projects.adamae.apis.clips import video_clips
from tests.helpers import run_tool, tiny_model_cfg, video_dataset_cfg, write_videos


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('many')
    write_videos(root / 'videos', 3, frames=12)
    (root / 'videos/empty.mp4').touch()
    names = ('videos/0.mp4', 'videos/empty.mp4', 'nowhere.mp4', 'videos/2.mp4')
    (root / 'list.txt').write_text('\n'.join(str(root / name) for name in names))
    loader = dict(dataset=video_dataset_cfg(root, 'list.txt', frame_interval=1))
    for name, loss in (('a', {}), ('raw', dict(norm_pix=False))):
        model = tiny_model_cfg(loss=dict(type='AdaMAELoss', **loss))
        cfg = Config(dict(model=model, train_dataloader=loader, work_dir=str(root)))
        cfg.dump(root / f'{name}.py')
        weights = dict(state_dict=MODELS.build(cfg.model).state_dict())
        torch.save(weights, root / f'{name}.pth')
    other = tiny_model_cfg(backbone=dict(img_size=32))
    Config(dict(model=other, train_dataloader=loader)).dump(root / 'large.py')
    torch.save(dict(state_dict=MODELS.build(other).state_dict()), root / 'large.pth')
    return root


@pytest.fixture
def draw(root, tmp_path, capsys):
    """Runs the tool; gives its exit code, lines of output and of errors."""

    def run(*args):
        code = 0
        try:
            run_tool(
                'visualize', root / 'a.py', root / 'a.pth', f'--out={tmp_path}', *args
            )
        except SystemExit as exit_info:
            code = exit_info.code
        out, err = capsys.readouterr()
        errors = [line for line in err.splitlines() if line.startswith('error: ')]
        return code, out.splitlines(), errors

    return run


def state(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_folder_and_list(draw, root, tmp_path):
    """Unreadable ones are named at the end; what is there is kept, to the bit."""
    code, out, errors = draw('--video', root / 'videos')
    assert code == 1 and len(out) == 3 and len(errors) == 1
    assert 'empty.mp4: expected a readable video' in errors[0]
    assert [line.partition(' ')[0] for line in out] == ['1/4', '2/4', '3/4']
    before = state(tmp_path)
    code, out, errors = draw('--video', root / 'list.txt')
    assert code == 1 and len(errors) == 2
    assert all(line.endswith(' (was there)') for line in out) and len(out) == 2
    assert state(tmp_path) == before
    assert not [*tmp_path.glob('*.partial')]


def test_other_settings_and_files_are_other_pictures(draw, root, tmp_path):
    file = tmp_path / 'in' / 'x.mp4'
    file.parent.mkdir()
    file.write_bytes((root / 'videos/0.mp4').read_bytes())
    for count, options in enumerate(([], ['--seed=1'], ['--rows', 'video', 'mask']), 1):
        assert draw('--video', file, *options)[0] == 0
        assert len([*tmp_path.glob('*.png')]) == count
    os.utime(file, ns=(1, 1))
    draw('--video', file)
    assert len([*tmp_path.glob('*.png')]) == 4


def test_a_picture_is_the_same_whatever_was_drawn_before(draw, root, tmp_path):
    draw('--video', root / 'videos')
    name = next(tmp_path.glob('*_2_mp4*')).name
    together = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    draw('--video', root / 'videos')
    assert (tmp_path / name).read_bytes() == together


def test_formats_and_models_side_by_side(draw, root, tmp_path):
    options = [
        '--format',
        'png',
        'gif',
        'mp4',
        '--samplers',
        'adaptive@0.5,tube@0.5',
    ]
    options += ['--also', root / 'raw.py', root / 'raw.pth']
    code, out, errors = draw('--video', root / 'videos/0.mp4', *options)
    assert code == 0 and len(out) == 3, errors
    (sheet,) = tmp_path.glob('*.png')
    with Image.open(sheet) as image:
        # Video; of each model two masks: two rows, and three of the adaptive one.
        assert image.height > (1 + 2 * 5) * 120
    with Image.open(next(tmp_path.glob('*.gif'))) as image:
        assert image.n_frames == 8


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (['--samplers=cube'], 'expected some of adaptive, random'),
        (['--samplers=tube@0.01'], 'mask_ratio=0.01 leaves 16 of 16 tokens visible'),
        (['--also', '{root}/large.py', '{root}/large.pth'], '--also: expected a model'),
        (['--rows', 'probability', '--samplers=tube'], 'rows: expected some of video'),
        (['--video', 'nowhere.mp4'], 'no such video: nowhere.mp4'),
    ],
)
def test_errors(draw, root, options, text):
    options = [option.format(root=root) for option in options]
    code, _, errors = draw('--video', root / 'videos/0.mp4', *options)
    assert code == 2 and len(errors) == 1 and text in errors[0]


def test_videos_are_read_one_at_a_time(root):
    """Thousands are no more in memory than one."""
    files = [str(root / 'videos/0.mp4'), *(f'{root}/{i}.mp4' for i in range(5000))]
    clips = video_clips((8, 16, 16), files)
    assert len(clips) == len(clips.names) == 5001
    assert clips[0].packed['inputs'].shape == (1, 3, 8, 16, 16)
    assert 'expected a readable video' in str(clips[5000])


def test_a_sampler_shares_the_weights():
    model = MODELS.build(tiny_model_cfg()).eval()
    other = pictures.with_sampler(model, dict(type='TubeSamplerHead', mask_ratio=0.5))
    ours = {id(p) for p in model.parameters()}
    assert {id(p) for p in other.parameters()} < ours
    sampler = dict(type='AdaptiveSamplerHead', mask_ratio=0.5, num_heads=2)
    own = pictures.with_sampler(model, sampler).sampler
    assert own.num_visible == 8 and model.sampler.num_visible == 4
    for name, weight in own.state_dict().items():
        assert torch.equal(weight, model.sampler.state_dict()[name])
