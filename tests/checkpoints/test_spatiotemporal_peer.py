"""SpatiotemporalMAE, written from its paper for weights under their published names."""

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from mmaction.registry import MODELS
from torch.testing import assert_close

from projects.adamae.checkpoints.formats import find_format, to_ours
from tests.checkpoints.samples import (
    classifier,
    converted,
    separable_encoder,
    spatiotemporal,
)
from tests.helpers import tiny_spatiotemporal_cfg

SIZES = {
    'small': {},
    'other': dict(
        backbone=dict(
            img_size=24, patch_size=4, num_frames=12, tubelet_size=3, embed_dims=24
        ),
        decoder=dict(embed_dims=12, depth=2, num_heads=3),
        sampler=dict(type='RandomSamplerHead', mask_ratio=0.9),
    ),
}


def linear(w, name, x):
    return F.linear(x, w[f'{name}.weight'], w[f'{name}.bias'])


def norm(w, name, x):
    return F.layer_norm(x, x.shape[-1:], w[f'{name}.weight'], w[f'{name}.bias'], 1e-6)


def transformer(w, name, x, blocks):
    """As many pre-norm blocks with as many heads; biases of the keys included."""
    heads = blocks[0].attn.num_heads
    for block in (f'{name}.{i}' for i in range(len(blocks))):
        y = norm(w, f'{block}.norm1', x)
        q, k, v = (linear(w, f'{block}.attn.{part}', y) for part in 'qkv')
        q, k, v = rearrange([q, k, v], 'qkv b n (h c) -> qkv b h n c', h=heads)
        y = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
        x = x + linear(w, f'{block}.attn.proj', rearrange(y, 'b h n c -> b n (h c)'))
        y = linear(w, f'{block}.mlp.fc1', norm(w, f'{block}.norm2', x))
        x = x + linear(w, f'{block}.mlp.fc2', F.gelu(y))
    return x


def with_positions(w, prefix, x):
    """Add positions to tokens (B, T, H * W, D), and put the class token first."""
    x = x + w[f'{prefix}pos_embed_temporal'][:, :, None]
    x = x + w[f'{prefix}pos_embed_spatial'][:, None]
    first = w[f'{prefix}cls_token'] + w[f'{prefix}pos_embed_class']
    return torch.cat([first.expand(len(x), -1, -1), x.flatten(1, 2)], dim=1)


def embed(w, clips):
    kernel = w['patch_embed.proj.weight']
    x = F.conv3d(clips, kernel, w['patch_embed.proj.bias'], stride=kernel.shape[2:])
    return with_positions(w, '', rearrange(x, 'b d t h w -> b t (h w) d'))


def reference_loss(w, model, clip, pixels, mask):
    """Loss of one clip: normalized (C, T, H, W), its pixels in [0, 1], mask (N,)."""
    encoder, decoder = model.backbone, model.decoder
    tubelet, p, _, _ = encoder.token_shape
    steps = encoder.token_grid[0]
    x = embed(w, clip[None])[:, F.pad(~mask, (1, 0), value=True)]
    x = norm(w, 'norm', transformer(w, 'blocks', x, encoder.blocks))
    # All tokens in their order, visible or not.
    full = w['mask_token'].repeat(1, len(mask), 1)
    full[:, ~mask] = linear(w, 'decoder_embed', x[:, 1:])
    x = with_positions(w, 'decoder_', full.unflatten(1, (steps, -1)))
    x = transformer(w, 'decoder_blocks', x, decoder.blocks)
    pred = linear(w, 'decoder_pred', norm(w, 'decoder_norm', x))[0, 1:]

    last = tubelet * steps - 1
    frames = [int(i * last / (steps - 1) + 1e-9) for i in range(steps)]
    target = rearrange(
        pixels[:, frames], 'c t (h p) (w q) -> (t h w) (p q c)', p=p, q=p
    )
    mean, var = target.mean(1, keepdim=True), target.var(1, keepdim=True)
    return (pred - (target - mean) / (var + 1e-6) ** 0.5).square()[mask].mean()


@pytest.mark.parametrize('size', SIZES)
def test_loss_and_gradients(size):
    model = MODELS.build(tiny_spatiotemporal_cfg(**SIZES[size])).double()
    for param in model.parameters():
        torch.nn.init.normal_(param, std=0.3)
    preprocessor = model.data_preprocessor
    pixels = torch.rand(2, 3, *model.backbone.clip_size).double()
    # A flat token, where eps matters.
    pixels[..., :8, :8] = 0.5 + 1e-4 * torch.rand_like(pixels[..., :8, :8])
    clips = (pixels * 255 - preprocessor.mean) / preprocessor.std
    mask = model.sampler(model.backbone.embed(clips)).mask
    losses = model(clips, None, 'loss', mask=mask)
    assert list(losses) == ['loss_reconstruction']
    losses['loss_reconstruction'].backward()

    weights = {name: p.detach() for name, p in model.named_parameters()}
    w, _ = find_format('released', weights).write(weights)
    for name in w:
        if name.endswith('attn.k.bias'):  # which changes nothing
            w[name] = torch.randn_like(w[name])
    w = {name: tensor.clone().requires_grad_() for name, tensor in w.items()}
    loss = sum(reference_loss(w, model, clips[i], pixels[i], mask[i]) for i in (0, 1))
    (loss / 2).backward()
    # Predictions are compared in float32.
    assert_close(losses['loss_reconstruction'], loss / 2, rtol=1e-5, atol=0)
    expected = to_ours({name: tensor.grad for name, tensor in w.items()})
    assert expected.keys() == weights.keys()
    for name, param in model.named_parameters():
        scale = expected[name].abs().max().item()
        assert scale > 0, name
        assert_close(param.grad, expected[name], rtol=0, atol=1e-5 * scale, msg=name)


def test_logits_with_biases_of_the_keys(tmp_path):
    model = MODELS.build(classifier(backbone=separable_encoder())).eval()
    path, report = converted(tmp_path, 'fine-tuning')
    assert report[0].startswith('found: fine-tuning checkpoint of the Spatiotemporal')
    assert any('k.bias' in x and 'biases of attention keys' in x for x in report)
    model.load_state_dict(torch.load(path)['state_dict'], strict=True)
    w = {name: x.double() for name, x in spatiotemporal('fine-tuning').items()}
    clips = torch.randn(3, 3, 8, 16, 16).double()
    x = transformer(w, 'blocks', embed(w, clips), model.backbone.blocks)[:, 1:].mean(1)
    with torch.no_grad():
        logits = model.double().cls_head(model.backbone(clips))
    assert_close(logits, linear(w, 'head', norm(w, 'norm', x)))
