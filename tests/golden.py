"""What the authors' implementation computed, and our model with its weights.

``data/adamae_pretrain_tiny.npz`` holds random weights, a random clip, a mask and what
the released code computed from them, gradients included.
"""

import json

import numpy as np
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from torch.testing import assert_close

from projects.adamae.checkpoints import to_ours
from tests.helpers import DATA

# Softmax does not notice these two biases: their gradients are rounding noise.
SHIFTS_ALL_LOGITS = ('sampler.blocks.0.mlp.layers.1.bias', 'sampler.head.bias')


def load():
    with np.load(DATA / 'adamae_pretrain_tiny.npz') as archive:
        return {key: archive[key] for key in archive.files}


def tensors(golden, prefix):
    """Weights (``w/``) or gradients (``g/``) under our names."""
    return to_ours(
        {k[2:]: torch.from_numpy(v) for k, v in golden.items() if k.startswith(prefix)}
    )


def build(golden, loss=None, **sampler):
    cfg = json.loads(str(golden['cfg']))
    model = MODELS.build(
        dict(
            type='MAERecognizer',
            data_preprocessor=dict(
                type='AdaMAEDataPreprocessor',
                mean=[123.675, 116.28, 103.53],
                std=[58.395, 57.12, 57.375],
            ),
            backbone=dict(
                type='MaskedVisionTransformer',
                img_size=cfg['img_size'],
                patch_size=cfg['patch_size'],
                num_frames=cfg['num_frames'],
                tubelet_size=cfg['tubelet_size'],
                embed_dims=cfg['embed_dims'],
                depth=cfg['depth'],
                num_heads=cfg['num_heads'],
            ),
            sampler=dict(
                type='AdaptiveSamplerHead',
                mask_ratio=cfg['mask_ratio'],
                num_heads=cfg['sampler_num_heads'],
                **{'drop_rate': 0.0, **sampler},
            ),
            decoder=dict(
                type='MAEDecoder',
                embed_dims=cfg['decoder_embed_dims'],
                depth=cfg['decoder_depth'],
                num_heads=cfg['decoder_num_heads'],
            ),
            loss=loss or dict(type='AdaMAELoss'),
        )
    )
    keys = model.load_state_dict(tensors(golden, 'w/'), strict=False)
    assert keys.missing_keys == ['backbone.pos_embed'] and not keys.unexpected_keys
    return model.train()


def forward(model, golden):
    """Losses of the golden clip under the golden mask, on the device of the model."""
    clips = torch.from_numpy(golden['input_uint8'])
    data = model.data_preprocessor(
        dict(
            inputs=list(clips.unsqueeze(1)),
            data_samples=[ActionDataSample() for _ in clips],
        )
    )
    mask = torch.from_numpy(golden['mask']).to(data['inputs'].device)
    return model(data['inputs'], data['data_samples'], 'loss', mask=mask)


def step(model, golden):
    """Forward and backward on the golden clip; losses and gradients by name."""
    losses = forward(model, golden)
    model.parse_losses(losses)[0].backward()
    return losses, {name: p.grad for name, p in model.named_parameters()}


def assert_golden(losses, gradients, golden, tolerance):
    """Losses to a tenth of the tolerance; gradients relative to their largest entry."""
    for name, key in (
        ('loss_reconstruction', 'loss_reconstruction'),
        ('loss_sampling', 'loss_sampling_weighted'),
    ):
        expected = torch.tensor(golden[key])
        assert_close(losses[name].cpu(), expected, rtol=tolerance / 10, atol=0)
    expected = tensors(golden, 'g/')
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        if name in SHIFTS_ALL_LOGITS:
            continue
        scale = gradient.abs().max().item()
        assert scale > 1e-8, name
        found = gradients[name].cpu()
        assert_close(found, gradient, rtol=0, atol=tolerance * scale, msg=name)
