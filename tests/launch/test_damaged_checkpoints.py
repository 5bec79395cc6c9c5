"""A damaged checkpoint is noticed, named, and the one before is taken."""

import os
import random

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from projects.adamae.checkpoints import load_pretrained
from projects.adamae.checkpoints.io import check_loadable, load_safely
from projects.adamae.launch import resuming
from projects.adamae.utils.checksums import verify_checksums
from tests.helpers import run_tool

CHECKPOINT = dict(
    meta=dict(epoch=1, iter=3, time='20260101_120000', cfg='x' * 100),
    state_dict=dict(a=torch.arange(500.0), b=torch.ones(3, 3)),
    message_hub={},
    optimizer={},
)


def flip(path, position=None, bit=0):
    """Flip a bit of a file, by default one of the largest tensor."""
    content = bytearray(path.read_bytes())
    if position is None:
        position = content.index(torch.arange(500.0).numpy().tobytes()[400:500])
    content[position] ^= 1 << bit
    path.write_bytes(content)


def same(one, other):
    if torch.is_tensor(one):
        return torch.is_tensor(other) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    return one == other


def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path):
    whole = tmp_path / 'whole.pth'
    torch.save(CHECKPOINT, whole)
    rng = random.Random(0)
    noticed = 0
    for number in range(60):
        path = tmp_path / f'{number}.pth'
        path.write_bytes(whole.read_bytes())
        flip(path, rng.randrange(whole.stat().st_size), rng.randrange(8))
        try:
            content = load_safely(path)
            check_loadable(path)
        except ValueError as error:
            assert str(error).startswith(f'{path}: damaged') and '\n' not in str(error)
            noticed += 1
        else:
            assert same(content, CHECKPOINT)
    assert noticed > 20


@pytest.mark.parametrize('where', ['end', 'folder'])
def test_flipped_bits_of_the_index(tmp_path, where):
    path = tmp_path / 'a.pth'
    torch.save(CHECKPOINT, path)
    content = path.read_bytes()
    if where == 'end':  # zipfile.is_zipfile raises
        flip(path, content.rindex(b'PK\x06\x07') + 4)
    else:  # torch takes a tensor for a folder and does not read it
        flip(path, content.index(b'PK\x01\x02') + 38, 4)
    for load in (load_safely, check_loadable):
        with pytest.raises(ValueError, match='a.pth: damaged'):
            load(path)


def test_every_way_of_loading_looks_at_the_sums(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(CHECKPOINT, path)
    verify_checksums(path)  # once in a process, but not of another content
    flip(path)
    os.utime(path, (1, 1))
    for load in (
        load_safely,
        check_loadable,
        lambda path: load_pretrained(torch.nn.Linear(2, 2), str(path)),
        lambda path: CheckpointLoader.load_checkpoint(str(path)),  # any runner
    ):
        with pytest.raises(ValueError, match='differs from the checksums .*data/0'):
            load(path)


def test_files_without_sums_pass(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(CHECKPOINT, path, _use_new_zipfile_serialization=False)
    assert same(load_safely(path), CHECKPOINT)
    check_loadable(path)


DAMAGES = {
    'cut': lambda path: os.truncate(path, 1000),
    'empty': lambda path: os.truncate(path, 0),
    'gone': os.remove,
    'flipped': flip,
    'end': lambda path: flip(path, path.read_bytes().rindex(b'PK\x06\x07') + 4),
    'text': lambda path: path.write_text('<html>'),
    'moved': lambda path: path.rename(path.parent.parent / path.name),
}


@pytest.mark.parametrize('pointer', ['right', 'empty', 'wrong', 'none'])
@pytest.mark.parametrize('damage', DAMAGES)
def test_the_one_before_is_taken(tmp_path, warned, damage, pointer):
    run = tmp_path / 'run'
    run.mkdir()
    for epoch, name in ((1, 'epoch_1.pth'), (2, 'iter_7.pth')):
        meta = CHECKPOINT['meta'] | dict(iter=3 * epoch, time=f'20260101_12000{epoch}')
        torch.save(CHECKPOINT | dict(meta=meta), run / name)
    newest = run / 'iter_7.pth'
    text = dict(right=str(newest), empty='', wrong='/nowhere/a.pth').get(pointer)
    if text is not None:
        (run / 'last_checkpoint').write_text(text)
    cfg = Config(dict(work_dir=str(run)))
    assert resuming.find_newest_checkpoint(cfg) == str(newest)
    DAMAGES[damage](newest)
    assert resuming.find_newest_checkpoint(cfg) == str(run / 'epoch_1.pth')
    assert len(warned) == (damage not in ('gone', 'moved'))
    assert all(text.startswith(f'--resume: skipped {newest}: dam') for text in warned)


def test_processes_that_found_different_ones(monkeypatch):
    cfg = Config(dict(resume=True, load_from='epoch_2.pth'))
    resuming.require_same_checkpoint(cfg)
    found = [(True, 'epoch_2.pth')] * 2 + [(True, 'epoch_1.pth')]
    monkeypatch.setattr(resuming, 'all_gather_object', lambda _: found)
    with pytest.raises(ValueError, match=r'epoch_2.pth on .* epoch_1.pth on number 2;'):
        resuming.require_same_checkpoint(cfg)


def test_a_run_goes_on_from_the_one_before(toy, tmp_path, warned):
    run = tmp_path / 'run'
    options = {'train_cfg.max_epochs': 2, 'default_hooks.logger.interval': 100}
    run_tool('train', toy, '--work-dir', run, '--no-validate', **options)
    before = torch.load(run / 'epoch_2.pth')['state_dict']
    size = (run / 'epoch_2.pth').stat().st_size
    flip(run / 'epoch_2.pth', size // 2)
    run_tool('train', toy, '--work-dir', run, '--no-validate', '--resume', **options)
    assert f'skipped {run}/epoch_2.pth: damaged' in ' '.join(warned)
    again = torch.load(run / 'epoch_2.pth')['state_dict']
    assert before.keys() == again.keys()
    verify_checksums(run / 'epoch_2.pth')
