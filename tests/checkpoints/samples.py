"""Weights under published names, and configs of the models that they are for."""

import numpy as np
import torch

from projects.adamae.checkpoints.convert import convert
from projects.adamae.checkpoints.io import read_file, weights_in
from tests.helpers import DATA

HEADS = {'backbone.num_heads': 4, 'decoder.num_heads': 2}
CLIP = {'backbone.num_frames': 16, 'backbone.img_size': 32}
PREPROCESSOR = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], format_shape='NCTHW'
)
# Of SpatiotemporalMAE: time steps, tokens along a side, pixels along a token.
STEPS, SIDE, PATCH = 4, 2, 8


def golden(name):
    with np.load(DATA / f'{name}.npz') as archive:
        return {key: torch.from_numpy(archive[key]) for key in archive if key != 'cfg'}


def released(name):
    """The weights of a golden file under the authors' names."""
    return {k[2:]: v for k, v in golden(name).items() if k.startswith('w/')}


def videomae():
    weights = released('adamae_pretrain_tiny')
    return {name: tensor for name, tensor in weights.items() if 'probs' not in name}


def _block(name, width):
    layers = {
        **dict.fromkeys([f'attn.{x}' for x in ('q', 'k', 'v', 'proj')], (width, width)),
        'mlp.fc1': (4 * width, width),
        'mlp.fc2': (width, 4 * width),
        **dict.fromkeys(('norm1', 'norm2'), (width,)),
    }
    weights = {f'{name}.{layer}.weight': shape for layer, shape in layers.items()}
    return weights | {f'{name}.{layer}.bias': s[:1] for layer, s in layers.items()}


def _tables(prefix, width):
    lengths = dict(pos_embed_spatial=SIDE**2, pos_embed_temporal=STEPS)
    lengths |= dict(cls_token=1, pos_embed_class=1)
    return {f'{prefix}{name}': (1, n, width) for name, n in lengths.items()}


def spatiotemporal(kind, depth=2, width=32, decoder_width=16):
    """Random weights of SpatiotemporalMAE under the published names."""
    shapes = _tables('', width)
    shapes['patch_embed.proj.weight'] = (width, 3, 2, PATCH, PATCH)
    shapes['patch_embed.proj.bias'] = (width,)
    for i in range(depth):
        shapes |= _block(f'blocks.{i}', width)
    shapes |= {'norm.weight': (width,), 'norm.bias': (width,)}
    if kind == 'pre-training':
        shapes |= _tables('decoder_', decoder_width)
        shapes |= _block('decoder_blocks.0', decoder_width)
        shapes['mask_token'] = (1, 1, decoder_width)
        for layer, shape in (
            ('decoder_embed', (decoder_width, width)),
            ('decoder_norm', (decoder_width,)),
            ('decoder_pred', (PATCH**2 * 3, decoder_width)),
        ):
            shapes |= {f'{layer}.weight': shape, f'{layer}.bias': shape[:1]}
    if kind == 'fine-tuning':
        shapes |= {'head.weight': (5, width), 'head.bias': (5,)}
    generator = torch.Generator().manual_seed(0)
    return {
        name: 0.3 * torch.randn(shape, generator=generator)
        for name, shape in shapes.items()
    }


def encoder(frames=16, size=32, **kwargs):
    cfg = dict(img_size=size, num_frames=frames, embed_dims=32, depth=2, num_heads=4)
    return dict(type='MaskedVisionTransformer', **cfg | kwargs)


def separable_encoder(frames=8, size=16, **kwargs):
    cfg = encoder(frames, size, patch_size=PATCH, **kwargs)
    return cfg | dict(type='SeparableVisionTransformer')


def classifier(num_classes=5, backbone=None, **kwargs):
    return dict(
        type='Recognizer3D',
        backbone=backbone or encoder(**kwargs),
        cls_head=dict(type='TimeSformerHead', num_classes=num_classes, in_channels=32),
        data_preprocessor=dict(type='ActionDataPreprocessor', **PREPROCESSOR),
    )


def autoencoder(sampler='AdaptiveSamplerHead', **kwargs):
    return dict(
        type='MAERecognizer',
        backbone=encoder(**kwargs),
        sampler=dict(type=sampler, mask_ratio=0.75),
        decoder=dict(type='MAEDecoder', embed_dims=16, depth=2, num_heads=2),
        data_preprocessor=dict(type='AdaMAEDataPreprocessor', **PREPROCESSOR),
    )


def separable_autoencoder(**kwargs):
    cfg = autoencoder('RandomSamplerHead')
    return cfg | dict(
        backbone=separable_encoder(**kwargs),
        decoder=cfg['decoder'] | dict(type='SeparableMAEDecoder', depth=1),
        loss=dict(type='SpatiotemporalMAELoss'),
    )


def save(path, weights, key='model', **content):
    torch.save({key: weights, **content}, path)
    return str(path)


def converted(folder, kind):
    """Convert weights of SpatiotemporalMAE; returns the path and the report."""
    path = save(folder / 'a.pth', spatiotemporal(kind))
    report = convert(path, folder / 'b.pth', overrides=HEADS)
    return str(folder / 'b.pth'), report


def stored(path):
    return weights_in(read_file(path))


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], expected[name]) for name in expected)
