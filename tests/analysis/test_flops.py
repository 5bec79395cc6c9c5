"""Parameters and multiply-adds against published numbers, through the tool."""

import pytest
import torch
from mmaction.registry import MODELS

from projects.adamae.analysis import flops
from tests.helpers import CONFIGS, run_tool, tiny_model_cfg


def run(capsys, config, *options):
    """Call the tool; returns parameters (M) and multiply-adds (G) by part."""
    run_tool('get_flops', CONFIGS / config, *options)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    return {row[0]: (float(row[1]), float(row[3])) for row in rows if len(row) == 6}


@pytest.mark.parametrize(
    'config, parameters, multiply_adds',
    [
        ('adamae_vitb_k400_finetune.py', 87, 180),
        ('adamae_vitl_k400_finetune.py', 305, 597),
    ],
)
def test_published_classifiers(capsys, config, parameters, multiply_adds):
    parts = run(capsys, config)
    assert list(parts) == ['tokenizer', 'encoder', 'head', 'total']
    # The papers round up.
    assert parameters - 1 < parts['total'][0] <= parameters
    assert round(parts['total'][1]) == multiply_adds


def test_pretraining_part_by_part(capsys):
    """GFLOP of a forward pass, counted for the released model."""
    parts = run(capsys, 'adamae_vitb_ssv2_pretrain.py')
    assert parts.pop('total')[0] == pytest.approx(102.5, abs=0.05)
    known = dict(tokenizer=3.7, sampler=29.8, encoder=13.5, decoder=37.3, head=1.8)
    assert list(parts) == list(known)
    for name, gflop in known.items():
        assert 2 * parts[name][1] == pytest.approx(gflop, abs=0.06), name


@pytest.mark.parametrize('sampler', ['AdaptiveSamplerHead', 'RandomSamplerHead'])
def test_parameters_are_those_of_the_real_model(sampler):
    heads = dict(num_heads=2) if sampler == 'AdaptiveSamplerHead' else {}
    cfg = tiny_model_cfg(dict(type=sampler, mask_ratio=0.75, **heads))
    parts = flops.count(cfg)
    model = MODELS.build(cfg)
    assert all(p.device.type == 'cpu' for p in model.parameters()), 'no trace is left'
    for part in parts[2:]:
        assert part.parameters > 0 and part.multiply_adds > 0
    assert sum(p.parameters for p in parts) == sum(
        p.numel() for p in model.parameters()
    )


def test_by_hand():
    """One block of a classifier: N tokens, D wide."""
    n, d = 16, 16
    backbone = {**tiny_model_cfg()['backbone'], 'depth': 1}
    head = dict(type='TimeSformerHead', num_classes=5, in_channels=d)
    cfg = dict(type='Recognizer3D', backbone=backbone, cls_head=head)
    parts = {part.name: part.multiply_adds for part in flops.count(cfg)}
    block = 3 * n * d**2 + 2 * n**2 * d + n * d**2 + 2 * 4 * n * d**2
    assert parts == dict(tokenizer=n * 2 * 8 * 8 * 3 * d, encoder=block, head=5 * d)
    stock = {k: v for k, v in backbone.items() if k != 'type'}
    cfg['backbone'] = dict(type='VisionTransformer', **stock)
    with pytest.raises(ValueError, match='VisionTransformer does not state .* --clip'):
        flops.count(cfg)
    assert flops.count(cfg, (3, 8, 16, 16))[1].multiply_adds == block


def test_huge_model_needs_no_memory():
    cfg = tiny_model_cfg(backbone=dict(embed_dims=8192, num_heads=64, depth=48))
    with flops.without_weights():
        encoder = MODELS.build(cfg['backbone'])
    assert sum(p.numel() for p in encoder.parameters()) > 38e9  # 150 GB
    assert {p.device for p in encoder.parameters()} == {torch.device('meta')}


def test_other_models(capsys):
    with pytest.raises(ValueError, match='expected .* MAERecognizer or Recognizer3D'):
        flops.count(dict(type='MaskedVisionTransformer', depth=1))
    with pytest.raises(SystemExit, match='2'):
        run(capsys, 'nowhere.py')
    assert capsys.readouterr().err.startswith('error: config not found: ')


@pytest.mark.parametrize(
    'kind, clip, message',
    [
        ('VisionTransformer', (1, 8, 16, 16), '1 x 8 x 16 x 16 .* does not fit Vision'),
        ('MaskedVisionTransformer', (3, 8, 32, 32), 'expected clips of shape'),
    ],
)
def test_a_clip_of_another_size(kind, clip, message):
    backbone = {**tiny_model_cfg()['backbone'], 'type': kind}
    with pytest.raises(ValueError, match=message):
        flops.count(dict(type='Recognizer3D', backbone=backbone), clip)
