"""Checkpoint files: hostile, damaged, and what they may hold."""

import argparse
import os

import pytest
import torch

from projects.adamae.checkpoints.convert import convert, read_checkpoint
from projects.adamae.checkpoints.io import load_safely
from tests.checkpoints.samples import assert_same, released, save


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize('legacy', [False, True])
def test_code_is_rejected_and_not_run(tmp_path, legacy):
    weights = released('vit_finetune_tiny')
    content = {'model': weights, 'args': argparse.Namespace(x=Evil(tmp_path / 'evil'))}
    torch.save(content, tmp_path / 'a.pth', _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r'rejected, it asks to run \w+\.mkdir'):
        convert(tmp_path / 'a.pth', tmp_path / 'b.pth')
    assert not (tmp_path / 'evil').exists() and not (tmp_path / 'b.pth').exists()


def test_a_namespace_is_allowed_only_here(tmp_path):
    torch.save(argparse.Namespace(lr=1.0), tmp_path / 'a.pth')
    assert load_safely(tmp_path / 'a.pth').lr == 1.0
    with pytest.raises(Exception, match='Namespace'):
        torch.load(tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='a dict of weights, got Namespace'):
        read_checkpoint(tmp_path / 'a.pth')


def test_damaged_files(tmp_path):
    whole = tmp_path / 'whole.pth'
    save(whole, released('vit_finetune_tiny'))
    files = {
        'half.pth': whole.read_bytes()[: whole.stat().st_size // 2],
        'empty.pth': b'',
        'text.pth': b'<html>not found</html>',
        'text.safetensors': b'<html>not found</html>',
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f'{name}: damaged, |{name}: damaged or'):
            convert(tmp_path / name, tmp_path / 'out.pth')
    with pytest.raises(FileNotFoundError, match='checkpoint not found'):
        convert(tmp_path / 'none.pth', tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()


@pytest.mark.parametrize('legacy', [False, True])
def test_a_file_cut_anywhere_is_an_error(tmp_path, legacy):
    content = {'state_dict': {'a': torch.zeros(50), 'b': torch.ones(3, 3)}}
    torch.save(content, tmp_path / 'a', _use_new_zipfile_serialization=not legacy)
    whole = (tmp_path / 'a').read_bytes()
    for length in range(len(whole)):
        (tmp_path / 'b').write_bytes(whole[:length])
        # Of a name of torch's that is cut one may ask to run the rest.
        with pytest.raises(ValueError, match='b: (damaged, a part|rejected)') as info:
            load_safely(tmp_path / 'b')
        assert 'weights_only' not in str(info.value)


@pytest.mark.parametrize(
    'content, message',
    [
        ({'epoch': 3}, 'no weights in it, only epoch'),
        ({'model': {3: torch.zeros(1)}}, 'no weights in it, only model'),
    ],
)
def test_no_weights(tmp_path, content, message):
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=rf'a\.pth: {message}'):
        read_checkpoint(tmp_path / 'a.pth')


@pytest.mark.parametrize(
    'config, message',
    [
        (None, 'expected a folder of transformers'),
        ('{', 'not JSON'),
        ('[]', "expected model_type 'videomae', got None"),
        ('{"model_type": "vit"}', "expected model_type 'videomae', got 'vit'"),
        ('{"model_type": "videomae"}', r'pytorch_model\.bin: no weights in it'),
    ],
)
def test_folders_that_are_not_of_videomae(tmp_path, config, message):
    torch.save({'epoch': 3}, tmp_path / 'pytorch_model.bin')
    if config is not None:
        (tmp_path / 'config.json').write_text(config)
    with pytest.raises(ValueError, match=message):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize('size', [None, [224], '224', 0])
def test_a_size_that_makes_no_sense_is_not_read(tmp_path, size):
    args = argparse.Namespace(input_size=size, num_frames=16)
    path = save(tmp_path / 'a.pth', released('vit_finetune_tiny'), args=args)
    arch = read_checkpoint(path).arch
    assert arch['backbone.num_frames'] == 16 and 'backbone.img_size' not in arch
    cfg = f'model = dict(backbone=dict(img_size={size!r}, num_frames=16))'
    path = save(tmp_path / 'a.pth', released('vit_finetune_tiny'), meta={'cfg': cfg})
    assert 'backbone.img_size' not in read_checkpoint(path).arch


@pytest.mark.parametrize('key', ['model', 'module', 'model_state', 'state_dict'])
def test_weights_are_found_also_of_a_wrapped_model(tmp_path, key):
    weights = released('vit_finetune_tiny')
    expected = read_checkpoint(save(tmp_path / 'a.pth', weights)).weights
    wrapped = {f'module.{name}': tensor for name, tensor in weights.items()}
    got = read_checkpoint(save(tmp_path / 'b.pth', wrapped, key)).weights
    assert_same(got, expected)
