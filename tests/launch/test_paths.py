"""Checkpoints that MMEngine would fail to load minutes later."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from projects.adamae.launch.paths import require_checkpoint

WEIGHTS = {'encoder.norm.weight': torch.ones(1000)}


@pytest.mark.parametrize('zipped', [False, True])
@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (Namespace(lr=1), 'authors do; convert it with tools/convert'),
        (Path, 'rejected, it asks to run'),
    ],
)
def test_content(tmp_path, zipped, args, message):
    path = str(tmp_path / 'a.pth')
    torch.save(dict(model=WEIGHTS), path, _use_new_zipfile_serialization=zipped)
    require_checkpoint(path)
    content = dict(model=WEIGHTS, args=args)
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=message) as info:
        require_checkpoint(path)
    # PyTorch's advice is to switch safety off.
    assert 'weights_only' not in str(info.value)


def test_files(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    torch.save(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match='a part of a file'):
        require_checkpoint(str(path))
    (tmp_path / 'a.safetensors').write_bytes(b'x')
    with pytest.raises(ValueError, match='does not load .safetensors; convert it'):
        require_checkpoint(str(tmp_path / 'a.safetensors'))
    with pytest.raises(FileNotFoundError, match='checkpoint not found'):
        require_checkpoint(str(tmp_path / 'b.pth'))
    require_checkpoint('s3://bucket/b.pth')
