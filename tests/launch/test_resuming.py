"""Which checkpoint a run goes on from, and which it must not write over."""

import os
import re
import shutil

import pytest
import torch
from mmengine.config import Config

from projects.adamae.launch import TRAINING_KEYS, apply_train_arguments
from projects.adamae.launch.resuming import (
    find_newest_checkpoint,
    keep_checkpoints,
    warn_of_replaced,
)
from tests.helpers import load_tool, run_tool

TIME = '20260101_1200'


def save(folder, name, seconds=0, iteration=0, **keys):
    """What MMEngine saves, without the weights; returns the path as text."""
    folder.mkdir(parents=True, exist_ok=True)
    meta = dict(epoch=1, iter=iteration, time=f'{TIME}{seconds:02}')
    content = dict(meta=meta, message_hub={}, optimizer={}, state_dict={}) | keys
    torch.save(content, folder / name)
    return str(folder / name)


def config(work_dir, **hook):
    return Config(dict(work_dir=str(work_dir), default_hooks=dict(checkpoint=hook)))


def cut(path):
    os.truncate(path, os.path.getsize(path) // 2)


@pytest.fixture
def run(tmp_path):
    """The folder of a run of three epochs, without ``last_checkpoint``."""
    for epoch in (1, 2, 3):
        save(tmp_path / 'run', f'epoch_{epoch}.pth', iteration=epoch)
    return tmp_path / 'run'


def test_newest_needs_no_pointer(run):
    newest = str(run / 'epoch_3.pth')
    assert find_newest_checkpoint(config(run)) == newest
    save(run, 'best_acc_top1_epoch_3.pth', seconds=9, iteration=3)
    torch.save({}, run / 'weights.pth')  # none of the run's
    (run / f'{"0" * 32}.partial').write_text('half')
    os.utime(run / 'epoch_1.pth', (2e9, 2e9))  # as copying does
    assert find_newest_checkpoint(config(run)).startswith(str(run / 'best'))
    content = torch.load(run / 'best_acc_top1_epoch_3.pth')
    del content['optimizer']  # as MMEngine saves it
    torch.save(content, run / 'best_acc_top1_epoch_3.pth')
    assert find_newest_checkpoint(config(run)) == newest


@pytest.mark.parametrize('text', ['', ' \n', 'nowhere/epoch_7.pth'])
def test_pointer_that_is_empty_or_wrong(run, text):
    (run / 'last_checkpoint').write_text(text)
    assert find_newest_checkpoint(config(run)) == str(run / 'epoch_3.pth')


def test_newest_is_what_was_saved_last(run):
    """After going back to the first epoch, the second is newer than the third."""
    newest = save(run, 'epoch_2.pth', seconds=9, iteration=2)
    assert find_newest_checkpoint(config(run)) == newest


@pytest.mark.parametrize('copy', [shutil.move, shutil.copytree])
def test_moved_and_copied_runs(run, copy):
    (run / 'last_checkpoint').write_text(str(run / 'epoch_3.pth'))
    other = run.with_name('other')
    copy(run, other)
    assert find_newest_checkpoint(config(other)) == str(other / 'epoch_3.pth')


def test_damaged_ones_are_named_and_skipped(run, warned):
    cut(run / 'epoch_3.pth')
    assert find_newest_checkpoint(config(run)) == str(run / 'epoch_2.pth')
    (message,) = warned
    assert message.startswith(f'--resume: skipped {run}/epoch_3.pth: damaged')
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        cut(run / name)
    with pytest.raises(ValueError, match='no other than epoch_1.pth, epoch_2.pth, ep'):
        find_newest_checkpoint(config(run))


def test_checkpoints_in_a_folder_of_their_own(tmp_path):
    work_dir, out = tmp_path / 'run', tmp_path / 'out'
    work_dir.mkdir()
    saved = save(out / 'run', 'step-0005.pth')
    cfg = config(work_dir, out_dir=str(out), filename_tmpl='step-{:04d}.pth')
    assert find_newest_checkpoint(cfg) == saved
    (work_dir / 'last_checkpoint').write_text(saved)
    assert find_newest_checkpoint(config(work_dir)) == saved
    (work_dir / 'last_checkpoint').write_text('s3://bucket/epoch_1.pth')
    assert find_newest_checkpoint(config(work_dir)) == 's3://bucket/epoch_1.pth'
    with pytest.raises(ValueError, match='got epoch_1.pth; go on'):
        keep_checkpoints(config(work_dir))


def test_nothing_to_resume(tmp_path):
    assert find_newest_checkpoint(config(tmp_path / 'new')) is None
    keep_checkpoints(config(tmp_path / 'new'))
    (tmp_path / 'last_checkpoint').write_text('gone/epoch_1.pth')
    with pytest.raises(ValueError, match='got none, and last_checkpoint names gone/ep'):
        find_newest_checkpoint(config(tmp_path))


@pytest.mark.parametrize('is_whole', [True, False])
def test_a_run_never_starts_over_by_itself(toy, run, capsys, is_whole):
    if not is_whole:
        cut(run / 'epoch_3.pth')
    before = (run / 'epoch_1.pth').read_bytes()
    with pytest.raises(SystemExit) as exit_info:
        run_tool('train', toy, '--work-dir', run)
    assert exit_info.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'got epoch_1.pth, epoch_2.pth, epoch_3.pth; go on' in line
    assert (run / 'epoch_1.pth').read_bytes() == before
    run_tool('train', toy, '--work-dir', run, '--overwrite', '--no-validate')
    assert 'state_dict' in torch.load(run / 'epoch_1.pth')
    assert (run / 'epoch_1.pth').read_bytes() != before


def test_overwrite_starts_over_where_the_config_resumes(run, warned):
    cfg = config(run)
    cfg.update(dict.fromkeys(TRAINING_KEYS, {}), resume=True)
    args = load_tool('train').parse_args(['x.py', '--overwrite'])
    apply_train_arguments(cfg, args)
    assert not cfg.resume and not cfg.get('load_from')
    (message,) = warned
    assert re.match('--overwrite: .*epoch_3.pth in .* will be replaced', message)


def test_what_going_back_will_replace_is_named(run, warned):
    warn_of_replaced(config(run), str(run / 'epoch_3.pth'))
    assert warned == []
    save(run, 'best_acc_top1_epoch_3.pth')
    warn_of_replaced(config(run), str(run / 'epoch_1.pth'))
    (message,) = warned
    assert f'epoch_2.pth, epoch_3.pth in {run} will be replaced' in message
