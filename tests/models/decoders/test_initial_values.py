"""The decoders' first weights are distributed as in the released codes."""

from math import sqrt

import pytest
import torch
from mmaction.registry import MODELS
from torch.testing import assert_close

from tests.helpers import tiny_model_cfg, tiny_spatiotemporal_cfg

SIZES = dict(in_channels=768, embed_dims=384, depth=1)


def decoder(make_cfg=tiny_model_cfg):
    """A decoder of the published width, initialized as the runner does it."""
    cfg = {**make_cfg()['decoder'], **SIZES, 'num_heads': 6}
    model = MODELS.build(cfg)
    model.init_weights()
    return model


def test_first_layer_is_torch_s_default():
    """Uniform up to 1 / sqrt(768): a standard deviation of 0.0208."""
    weight = decoder().embed.weight
    bound = 1 / sqrt(768)
    assert 0.999 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / sqrt(3), rel=0.01)
    torch.manual_seed(0)
    assert weight.std().item() == pytest.approx(
        torch.nn.Linear(768, 384, bias=False).weight.std().item(), rel=0.01
    )


def test_other_layers_are_xavier_s():
    model = decoder()
    layers = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    assert len(layers) == 6
    for name, layer in layers.items():
        if name != 'embed':
            rows, columns = layer.weight.shape
            expected = sqrt(2 / (rows + columns))
            assert layer.weight.std().item() == pytest.approx(expected, rel=0.02), name
            assert layer.bias is None or not layer.bias.any()


def test_mask_token_is_cut_at_one_standard_deviation():
    tokens = torch.cat([decoder().mask_token for _ in range(20)])
    assert tokens.abs().max() <= 0.02
    # A normal distribution cut there has 0.54 of its standard deviation.
    assert tokens.std().item() == pytest.approx(0.0107, rel=0.03)


def test_spatiotemporal_class_token_is_zero():
    model = decoder(tiny_spatiotemporal_cfg)
    assert_close(model.cls_token, torch.zeros(1, 1, 384), rtol=0, atol=0)
    for name in ('mask_token', 'pos_embed_class', 'pos_embed_spatial'):
        std = getattr(model, name).std().item()
        assert std == pytest.approx(0.02, rel=0.2), name
    assert MODELS.build(tiny_spatiotemporal_cfg()['backbone']).cls_token.any()
