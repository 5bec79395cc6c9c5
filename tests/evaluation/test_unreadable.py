"""Features and neighbours of lists with files that cannot be read."""

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from safetensors.numpy import load_file

from projects.adamae.evaluation.features import unreadable
from projects.adamae.video.error import VideoError
from tests.helpers import run_tool, tiny_model_cfg, video_dataset_cfg, write_videos


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('unreadable')
    write_videos(root / 'videos', 4, frames=10)
    (root / 'videos/bad.mp4').write_text('no video\n' * 300)
    lines = ['0.mp4 0', 'bad.mp4 1', '1.mp4 1', 'gone.mp4 0', '2.mp4 0', '3.mp4 1']
    (root / 'bad.txt').write_text('\n'.join(lines))
    (root / 'good.txt').write_text('\n'.join(lines[:1] + lines[2:3] + lines[4:]))
    loader = dict(batch_size=2, num_workers=0)
    loaders = {
        f'{split}_dataloader': dict(
            **loader, dataset=video_dataset_cfg(root, 'bad.txt', test_mode=True)
        )
        for split in ('train', 'val')
    }
    cfg = Config(dict(model=tiny_model_cfg(), work_dir=str(root), **loaders))
    cfg.dump(root / 'cfg.py')
    weights = dict(state_dict=MODELS.build(cfg.model).state_dict())
    torch.save(weights, root / 'a.pth')
    return root


def run(root, tool, *args, code=0, **options):
    """Run a tool on the list without bad files, or on the other one."""
    if not code:
        for split in ('train', 'val'):
            options[f'{split}_dataloader.dataset.ann_file'] = root / 'good.txt'
        return run_tool(tool, root / 'cfg.py', root / 'a.pth', *args, **options)
    with pytest.raises(SystemExit) as exit_info:
        run_tool(tool, root / 'cfg.py', root / 'a.pth', *args, **options)
    assert exit_info.value.code == code


@pytest.mark.parametrize('suffix', ['npy', 'safetensors'])
def test_features_of_the_others(root, tmp_path, capsys, suffix):
    for name, code in (('bad', 1), ('good', 0)):
        run(root, 'extract_features', tmp_path / f'{name}.{suffix}', code=code)
    load = np.load if suffix == 'npy' else lambda path: load_file(path)['features']
    bad, good = (load(tmp_path / f'{name}.{suffix}') for name in ('bad', 'good'))
    assert bad.shape == (4, 16)
    np.testing.assert_allclose(bad, good, rtol=1e-5, atol=1e-6)
    names = [tmp_path / f'{name}.{suffix}.txt' for name in ('bad', 'good')]
    assert names[0].read_text() == names[1].read_text()
    errors = capsys.readouterr().err.splitlines()
    errors = [line for line in errors if line.startswith('error: ')]
    assert [line.split(': ')[1].rpartition('/')[2] for line in errors] == [
        'bad.mp4',
        'gone.mp4',
    ]


def test_neighbours_of_the_others(root, capsys):
    outputs = []
    for code in (1, 0):
        run(root, 'knn_eval', '--k', 2, code=code)
        out, err = capsys.readouterr()
        outputs.append(out.partition('top-5')[2])
        assert ('error: ' in err) == code
    assert outputs[0] == outputs[1]


def test_labels_are_missed_before_anything_is_encoded(root, capsys):
    (root / 'unlabeled.txt').write_text('0.mp4\n1.mp4')
    options = {'train_dataloader.dataset.ann_file': root / 'unlabeled.txt'}
    run(root, 'knn_eval', code=2, **options)
    out, err = capsys.readouterr()
    assert "expected 'VIDEO LABEL' with one label from 0, got '0.mp4'" in err
    assert 'train: ' not in out


def test_nothing_can_be_read(root, capsys):
    (root / 'none.txt').write_text('bad.mp4 0')
    options = {'train_dataloader.dataset.ann_file': root / 'none.txt'}
    run(root, 'knn_eval', '--k', 1, code=2, **options)
    assert 'error: train: no video can be read: ' in capsys.readouterr().err


def test_error_of_the_reader_is_handed_on():
    text = f'a.mp4: expected what a reader expects, got {"a codec, " * 40}; do this'
    assert str(unreadable('a.mp4', VideoError(text))) == text
    error = unreadable('b.mp4', RuntimeError('cannot\nopen\0 ' + 'x' * 300))
    assert str(error).startswith('b.mp4: cannot be read (RuntimeError: cannot open x')
    assert len(str(error)) < 250
