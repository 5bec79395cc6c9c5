"""Files of all releases of ``transformers``, by their names alone."""

import json

import pytest
import torch
from mmaction.registry import MODELS
from safetensors.torch import load_file, save_file

from projects.adamae.checkpoints.convert import convert
from tests.checkpoints.samples import assert_same, autoencoder, classifier, save

SECOND = {'query.bias': 'q_bias', 'value.bias': 'v_bias'}


@pytest.fixture(params=['pre-training', 'classifier'])
def export(request, tmp_path):
    """A model of ours, and the folder it was exported to."""
    cfg = autoencoder() if request.param == 'pre-training' else classifier()
    weights = MODELS.build(cfg).state_dict()
    for name, weight in weights.items():
        if 'q_bias' in name or 'v_bias' in name:
            torch.nn.init.normal_(weight)
    heads = {'backbone.num_heads': 4, 'backbone.num_frames': 16}
    heads |= {'backbone.img_size': 32}
    if request.param == 'pre-training':
        heads['decoder.num_heads'] = 2
    source = save(tmp_path / 'ours.pth', weights, key='state_dict')
    convert(source, tmp_path / 'hf', 'transformers', heads)
    return weights, tmp_path / 'hf'


def rewrite(folder, change):
    weights = load_file(folder / 'model.safetensors')
    save_file(change(weights), folder / 'model.safetensors')


def as_5_16(weights):
    """Biases are those of three linear layers; keys have been trained as well."""
    weights = {k: w for k, w in weights.items() if not k.endswith(('q_bias', 'v_bias'))}
    biases = {k: w for k, w in weights.items() if k.endswith('query.bias')}
    for name, bias in biases.items():
        weights[name.replace('query', 'key')] = torch.rand_like(bias)
    return weights


def as_5_23(weights):
    return {k: w for k, w in weights.items() if not k.endswith(tuple(SECOND))}


def test_biases_are_written_under_both_names(export):
    weights, folder = export
    written = load_file(folder / 'model.safetensors')
    seconds = [name for name in written if name.endswith(tuple(SECOND))]
    blocks = [n for n in weights if n.endswith('q_bias') and 'sampler' not in n]
    assert len(seconds) == 2 * len(blocks)
    for name in seconds:
        layer, _, kind = name.rpartition('attention.')
        assert torch.equal(written[name], written[f'{layer}attention.{SECOND[kind]}'])
        assert written[name].any()
    assert not any(name.endswith('key.bias') for name in written)
    config = json.loads((folder / 'config.json').read_text())
    assert config['qv_bias'] is config['qkv_bias'] is True


@pytest.mark.parametrize('change', [as_5_16, as_5_23])
def test_files_of_all_releases_are_read(change, export, tmp_path):
    weights, folder = export
    rewrite(folder, change)
    report = '\n'.join(convert(folder, tmp_path / 'back.pth'))
    lines = [line for line in report.splitlines() if 'key.bias' in line]
    assert len(lines) == (change is as_5_16)
    assert all('skipped: ' in line and 'the same' in line for line in lines)
    back = torch.load(tmp_path / 'back.pth')['state_dict']
    expected = {k: w for k, w in weights.items() if not k.startswith('sampler.')}
    assert_same({name: back[name] for name in expected}, expected)


def test_two_names_with_other_values_are_rejected(export, tmp_path):
    def change(weights):
        name = 'videomae.encoder.layer.0.attention.attention.query.bias'
        return {**weights, name: weights[name] + 1}

    _, folder = export
    rewrite(folder, change)
    with pytest.raises(ValueError, match='_bias|query.bias: expected the values'):
        convert(folder, tmp_path / 'back.pth')
