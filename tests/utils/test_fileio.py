import errno
import os
import re

import pytest
import torch
from mmengine.runner import save_checkpoint

from projects.adamae.utils.fileio import atomic_path


def test_a_file_appears_when_it_is_complete(tmp_path):
    target = tmp_path / 'new/a.txt'
    for old in (None, 'first'):
        with atomic_path(str(target)) as partial:
            assert partial.parent == target.parent
            assert re.fullmatch(r'[0-9a-f]{32}\.partial', partial.name)
            partial.write_text('second' if old else 'first')
            # What a process leaves that is killed here.
            assert (target.read_text() if target.exists() else None) == old
    assert target.read_text() == 'second'
    assert os.listdir(target.parent) == ['a.txt']


def test_writers_do_not_share_a_partial_file(tmp_path):
    with atomic_path(tmp_path / 'a') as one, atomic_path(tmp_path / 'a') as two:
        one.write_text('one')
        two.write_text('two')
    assert (tmp_path / 'a').read_text() == 'one'  # its block ends last


def test_mmengine_writes_through_the_backend(tmp_path, monkeypatch):
    path = tmp_path / 'b/a.pth'
    save_checkpoint(dict(state_dict=dict(w=torch.ones(3))), str(path))

    def full(_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space'):
        save_checkpoint(dict(state_dict=dict(w=torch.zeros(3))), str(path))
    assert torch.load(path)['state_dict']['w'].sum() == 3
    assert os.listdir(path.parent) == ['a.pth']
