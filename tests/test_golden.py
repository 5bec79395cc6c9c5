"""One step of the authors' implementation, reproduced to rounding.

``data/adamae_pretrain_tiny.npz`` holds random weights, a random clip, a mask and what
the released code computed from them, gradients included.
"""

import json

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from torch.testing import assert_close

from projects.adamae.checkpoints import to_ours
from projects.adamae.models.transformer import set_attention_kernel
from tests.helpers import DATA, tiny_model_cfg

CLOSE = dict(rtol=1e-4, atol=0)
# These two biases move all logits alike: their gradients are rounding noise.
MOVES_ALL_LOGITS_ALIKE = ('sampler.blocks.0.mlp.layers.1.bias', 'sampler.head.bias')


@pytest.fixture(scope='module')
def golden():
    with np.load(DATA / 'adamae_pretrain_tiny.npz') as archive:
        return {key: archive[key] for key in archive.files}


def tensors(golden, prefix):
    """Weights (``w/``) or gradients (``g/``) under our names."""
    return to_ours(
        {k[2:]: torch.from_numpy(v) for k, v in golden.items() if k.startswith(prefix)}
    )


def build(golden, loss=None, **sampler):
    cfg = json.loads(str(golden['cfg']))
    widths = ('embed_dims', 'depth', 'num_heads')
    sizes = ('img_size', 'patch_size', 'num_frames', 'tubelet_size', *widths)
    drawn = dict(mask_ratio=cfg['mask_ratio'], num_heads=cfg['sampler_num_heads'])
    model = MODELS.build(
        tiny_model_cfg(
            dict(type='AdaptiveSamplerHead', drop_rate=0.0) | drawn | sampler,
            backbone={size: cfg[size] for size in sizes},
            decoder={size: cfg[f'decoder_{size}'] for size in widths},
            loss=loss or dict(type='AdaMAELoss'),
        )
    )
    keys = model.load_state_dict(tensors(golden, 'w/'), strict=False)
    assert keys.missing_keys == ['backbone.pos_embed'] and not keys.unexpected_keys
    return model.train()


def batch(golden):
    clips = torch.from_numpy(golden['input_uint8'])
    samples = [ActionDataSample() for _ in clips]
    return dict(inputs=list(clips.unsqueeze(1)), data_samples=samples)


def forward(model, golden):
    """Losses and data of the golden clip, on the device of the model."""
    data = model.data_preprocessor(batch(golden))
    mask = torch.from_numpy(golden['mask']).to(data['inputs'].device)
    return model(data['inputs'], data['data_samples'], 'loss', mask=mask), data


def step(model, golden):
    """Forward and backward on the golden clip; losses and gradients by name."""
    losses, data = forward(model, golden)
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    return losses, {k: p.grad for k, p in model.named_parameters()}, data


@pytest.mark.parametrize('fuses_head', [True, False])
@pytest.mark.parametrize('fuses_attention', [True, False])
def test_losses_and_every_gradient(golden, fuses_head, fuses_attention):
    model = build(golden)
    assert model.sampler.fuses_head  # as there is no dropout
    model.sampler.fuses_head = fuses_head
    set_attention_kernel(model, onednn=not fuses_attention)
    losses, grads, _ = step(model, golden)
    for name, key in (
        ('loss_reconstruction', 'loss_reconstruction'),
        ('loss_sampling', 'loss_sampling_weighted'),
    ):
        assert_close(losses[name], torch.tensor(golden[key]), **CLOSE)
    expected = tensors(golden, 'g/')
    assert grads.keys() == expected.keys()
    for name, gradient in expected.items():
        # Relative to the largest entry: a sum of many terms has no exact zeros.
        scale = gradient.abs().max().item()
        if name in MOVES_ALL_LOGITS_ALIKE:
            largest = grads['sampler.head.weight'].abs().max()
            assert max(scale, grads[name].abs().max()) < 1e-4 * largest, name
            continue
        assert scale > 1e-8, name
        assert_close(grads[name], gradient, rtol=1e-4, atol=1e-4 * scale, msg=name)


def test_the_same_with_onednn(golden, onednn):
    test_losses_and_every_gradient(golden, fuses_head=False, fuses_attention=False)


def test_predictions_and_token_errors(golden):
    model = build(golden).eval()
    with torch.no_grad():
        samples = model.test_step(batch(golden))
        assert len(samples) == len(golden['mask'])
        mask = torch.from_numpy(golden['mask'])
        inputs = model.data_preprocessor(batch(golden))['inputs']
        samples = model(inputs, samples, 'predict', mask=mask)
    for i, sample in enumerate(samples):
        assert torch.equal(sample.mask, mask[i])
        for found, key in (
            (sample.probs, 'prob'),
            (sample.pred[mask[i]], 'pred'),
            (sample.token_error[mask[i]], 'token_error'),
        ):
            expected = torch.from_numpy(golden[key][i])
            atol = 1e-4 * expected.abs().max().item()
            assert_close(found, expected, rtol=1e-4, atol=atol)
        assert not sample.token_error[~mask[i]].any()


@pytest.mark.parametrize(
    'criterion, norm_pix, key',
    [
        ('l1', True, 'rec_l1_norm'),
        ('mse', False, 'rec_mse_raw'),
        ('l1', False, 'rec_l1_raw'),
    ],
)
def test_other_targets(golden, criterion, norm_pix, key):
    loss = dict(type='AdaMAELoss', criterion=criterion, norm_pix=norm_pix)
    losses, _, _ = step(build(golden, loss), golden)
    assert_close(losses['loss_reconstruction'], torch.tensor(golden[key]), **CLOSE)


def test_detached_tokens_leave_the_tokenizer_to_the_reconstruction_loss(golden):
    def gradients(sampling_weight, **sampler):
        loss = dict(type='AdaMAELoss', sampling_weight=sampling_weight)
        return step(build(golden, loss, **sampler), golden)[1]

    expected, default = gradients(0.0), gradients(1.0)
    detached = gradients(1.0, detach_tokens=True)
    touched = set()
    for name, gradient in expected.items():
        if not name.startswith('sampler.'):
            scale = gradient.abs().max()
            assert (detached[name] - gradient).abs().max() < 1e-4 * scale, name
            if (default[name] - gradient).abs().max() > 1e-3 * scale:
                touched.add(name.split('.')[1])
        elif name not in MOVES_ALL_LOGITS_ALIKE:
            assert detached[name].any(), name
            assert not gradient.any(), name
    # By default the tokenizer, and nothing else outside the sampler, hears L_S.
    assert touched == {'patch_embed'}
