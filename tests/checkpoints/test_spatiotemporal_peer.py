"""SpatiotemporalMAE, converted: the numbers of its published weights."""

import torch
from mmaction.registry import MODELS
from torch import nn
from torch.testing import assert_close

from projects.adamae.checkpoints.convert import convert
from tests.checkpoints.samples import (
    HEADS,
    PATCH,
    SIDE,
    STEPS,
    classifier,
    save,
    separable_autoencoder,
    separable_encoder,
    spatiotemporal,
)


def converted(folder, kind):
    path = save(folder / 'a.pth', spatiotemporal(kind))
    report = convert(path, folder / 'b.pth', overrides=HEADS)
    assert report[0].startswith(
        f'found: {kind} checkpoint of the SpatiotemporalMAE authors'
    )
    assert any(
        'k.bias' in line and 'biases of attention keys' in line for line in report
    )
    return torch.load(folder / 'b.pth')['state_dict']


def linear(w, name, x):
    return nn.functional.linear(x, w[f'{name}.weight'], w[f'{name}.bias'])


def norm(w, name, x):
    weight, bias = w[f'{name}.weight'], w[f'{name}.bias']
    return nn.functional.layer_norm(x, x.shape[-1:], weight, bias, eps=1e-6)


def published_blocks(w, name, x, depth, heads):
    """Pre-norm transformer blocks, biases of the keys included."""
    for block in (f'{name}.{i}' for i in range(depth)):
        y = norm(w, f'{block}.norm1', x)
        parts = (linear(w, f'{block}.attn.{part}', y) for part in 'qkv')
        q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in parts)
        y = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
        x = x + linear(w, f'{block}.attn.proj', y.transpose(1, 2).flatten(2))
        y = linear(w, f'{block}.mlp.fc1', norm(w, f'{block}.norm2', x))
        x = x + linear(w, f'{block}.mlp.fc2', nn.functional.gelu(y))
    return x


def published_tokens(w, clips):
    x = nn.functional.conv3d(
        clips,
        w['patch_embed.proj.weight'],
        w['patch_embed.proj.bias'],
        stride=(2, PATCH, PATCH),
    )
    x = x.flatten(3).permute(0, 2, 3, 1)  # b, t, h * w, d
    x = x + w['pos_embed_temporal'][:, :, None] + w['pos_embed_spatial'][:, None]
    first = (w['cls_token'] + w['pos_embed_class']).expand(len(clips), -1, -1)
    return torch.cat([first, x.flatten(1, 2)], dim=1)


def test_logits_with_biases_of_the_keys(tmp_path):
    model = MODELS.build(classifier(backbone=separable_encoder())).eval()
    model.load_state_dict(converted(tmp_path, 'fine-tuning'), strict=True)
    w = spatiotemporal('fine-tuning')
    clips = torch.randn(3, 3, 8, 16, 16)
    with torch.no_grad():
        x = published_blocks(w, 'blocks', published_tokens(w, clips), 2, 4)
        expected = linear(w, 'head', norm(w, 'norm', x[:, 1:].mean(1)))
        logits = model.cls_head(model.backbone(clips))
    assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_predictions_with_biases_of_the_keys(tmp_path):
    model = MODELS.build(separable_autoencoder()).eval()
    model.load_state_dict(converted(tmp_path, 'pre-training'), strict=True)
    w = spatiotemporal('pre-training')
    clips = torch.randn(2, 3, 8, 16, 16)
    mask = torch.rand(2, 16).argsort(1) >= 4
    visible, masked = (m.nonzero()[:, 1].reshape(2, -1) for m in (~mask, mask))
    with torch.no_grad():
        sample, pred = model.reconstruct(clips, mask)[:2]
        for i in range(2):
            x = published_tokens(w, clips[i : i + 1])
            x = torch.cat([x[:, :1], x[:, 1 + visible[i]]], dim=1)
            x = published_blocks(w, 'blocks', x, 2, 4)
            full = w['mask_token'].repeat(1, 16, 1)
            full[:, visible[i]] = linear(w, 'decoder_embed', norm(w, 'norm', x)[:, 1:])
            full = full.reshape(1, STEPS, SIDE**2, 16)
            full = full + w['decoder_pos_embed_temporal'][:, :, None]
            full = full + w['decoder_pos_embed_spatial'][:, None]
            first = w['decoder_cls_token'] + w['decoder_pos_embed_class']
            x = torch.cat([first, full.flatten(1, 2)], dim=1)
            x = published_blocks(w, 'decoder_blocks', x, 1, 2)[:, 1 + masked[i]]
            x = linear(w, 'decoder_pred', norm(w, 'decoder_norm', x))
            assert torch.equal(sample.masked_ids[i], masked[i])
            assert_close(pred[i], x[0], rtol=1e-5, atol=2e-5)
