import pytest
import torch
from mmaction.models import VisionTransformer
from torch.testing import assert_close

from projects.adamae import MaskedVisionTransformer

TINY = dict(img_size=32, patch_size=16, num_frames=8, embed_dims=32, num_heads=4)


@pytest.mark.parametrize(
    'extra',
    [
        {},
        dict(use_mean_pooling=False),
        dict(qkv_bias=False, init_values=0.1, norm_cfg=dict(type='LN', eps=1e-3)),
        dict(qk_scale=0.3, mlp_ratio=2, use_learnable_pos_emb=True),
        dict(return_feat_map=True),
    ],
)
def test_same_weights_same_features_as_mmaction2(extra):
    stock = VisionTransformer(depth=3, **TINY, **extra).double().eval()
    ours = MaskedVisionTransformer(depth=3, **TINY, **extra).double().eval()
    for p in stock.parameters():
        torch.nn.init.normal_(p, std=0.2)
    ours.load_state_dict(stock.state_dict(), strict=True)
    stock.load_state_dict(ours.state_dict(), strict=True)
    clips = torch.randn(2, 3, 8, 32, 32).double()
    assert_close(ours(clips), stock(clips))


def test_only_visible_tokens_have_influence():
    model = MaskedVisionTransformer(depth=2, **TINY, use_mean_pooling=False)
    model = model.double().eval()
    tokens = model.embed(torch.randn(2, 3, 8, 32, 32).double())
    everything = torch.arange(16).expand(2, -1)
    assert_close(model.encode(tokens, everything), model.encode(tokens))
    visible = torch.tensor([[1, 4, 7]]).expand(2, -1)
    changed = torch.randn_like(tokens)
    changed[:, [1, 4, 7]] = tokens[:, [1, 4, 7]]
    expected = model.encode(tokens, visible)
    assert_close(model.encode(changed, visible), expected)
    assert (model.encode(tokens)[:, [1, 4, 7]] - expected).abs().max() > 1e-3


def test_drop_path_rises_with_depth():
    model = MaskedVisionTransformer(depth=3, **TINY, drop_path_rate=0.2)
    rates = [getattr(block.drop_path, 'drop_prob', 0.0) for block in model.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2])


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(img_size=30), 'img_size=30 is not divisible by patch_size=16'),
        (dict(img_size=8), 'img_size=8 is not divisible by patch_size=16'),
        (dict(num_frames=7), 'num_frames=7 is not divisible by tubelet_size=2'),
        (dict(num_heads=5), 'num_heads=5 does not divide embed_dims=32'),
    ],
)
def test_sizes_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        MaskedVisionTransformer(depth=1, **{**TINY, **change})


@pytest.mark.parametrize('shape', [(3, 16, 32, 32), (3, 8, 48, 32), (4, 8, 32, 32)])
@pytest.mark.parametrize('method', ['embed', 'forward'])
def test_clips_of_another_size(shape, method):
    model = MaskedVisionTransformer(depth=1, **TINY)
    with pytest.raises(ValueError, match=r'expected clips of shape \(B, 3, 8, 32, 32'):
        getattr(model, method)(torch.zeros(1, *shape))
