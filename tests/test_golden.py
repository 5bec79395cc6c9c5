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
from tests.helpers import DATA

CLOSE = dict(rtol=1e-5, atol=1e-7)
# softmax does not notice these two biases: their gradients are rounding noise.
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
    """Losses and data of the golden clip, on the device of the model."""
    clips = torch.from_numpy(golden['input_uint8'])
    data = model.data_preprocessor(
        dict(
            inputs=list(clips.unsqueeze(1)),
            data_samples=[ActionDataSample() for _ in clips],
        )
    )
    mask = torch.from_numpy(golden['mask']).to(data['inputs'].device)
    return model(data['inputs'], data['data_samples'], 'loss', mask=mask), data


def step(model, golden):
    """Forward and backward on the golden clip; losses and gradients by name."""
    losses, data = forward(model, golden)
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    return losses, {k: p.grad for k, p in model.named_parameters()}, data


@pytest.mark.parametrize('joins_head', [True, False])
def test_losses_and_every_gradient(golden, joins_head):
    model = build(golden)
    assert model.sampler.joins_head  # as there is no dropout
    model.sampler.joins_head = joins_head
    losses, grads, _ = step(model, golden)
    assert_close(
        losses['loss_reconstruction'],
        torch.tensor(golden['loss_reconstruction']),
        **CLOSE,
    )
    assert_close(
        losses['loss_sampling'], torch.tensor(golden['loss_sampling_weighted']), **CLOSE
    )
    expected = tensors(golden, 'g/')
    assert grads.keys() == expected.keys()
    for name, gradient in expected.items():
        if name in MOVES_ALL_LOGITS_ALIKE:
            assert max(gradient.abs().max(), grads[name].abs().max()) < 1e-11, name
            continue
        # Relative to the largest entry: a sum of many terms has no exact zeros.
        scale = gradient.abs().max().item()
        assert scale > 1e-8, name
        assert_close(grads[name], gradient, rtol=1e-5, atol=1e-5 * scale, msg=name)


def test_the_same_with_onednn(golden, onednn):
    test_losses_and_every_gradient(golden, joins_head=False)


def test_predictions_and_token_errors(golden):
    model = build(golden).eval()
    with torch.no_grad():
        clips = torch.from_numpy(golden['input_uint8'])
        samples = model.test_step(
            dict(
                inputs=list(clips.unsqueeze(1)),
                data_samples=[ActionDataSample() for _ in clips],
            )
        )
        assert len(samples) == len(clips)
        mask = torch.from_numpy(golden['mask'])
        inputs = (clips - model.data_preprocessor.mean) / model.data_preprocessor.std
        samples = model(inputs, samples, 'predict', mask=mask)
    for i, sample in enumerate(samples):
        assert torch.equal(sample.mask, mask[i])
        assert_close(sample.probs, torch.from_numpy(golden['prob'][i]), **CLOSE)
        assert_close(
            sample.pred[mask[i]],
            torch.from_numpy(golden['pred'][i]),
            rtol=1e-5,
            atol=1e-6,
        )
        assert_close(
            sample.token_error[mask[i]],
            torch.from_numpy(golden['token_error'][i]),
            **CLOSE,
        )
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
    alone = dict(type='AdaMAELoss', sampling_weight=0.0)
    _, expected, _ = step(build(golden, alone), golden)
    _, detached, _ = step(build(golden, detach_tokens=True), golden)
    _, default, _ = step(build(golden), golden)
    for name in expected:
        if not name.startswith('sampler.'):
            assert torch.equal(detached[name], expected[name]), name
    # By default the tokenizer, and nothing else outside the sampler, hears L_S.
    touched = {
        name.split('.')[1]
        for name in expected
        if not name.startswith('sampler.')
        and not torch.equal(default[name], expected[name])
    }
    assert touched == {'patch_embed'}
    for name, gradient in detached.items():
        if name.startswith('sampler.') and name not in MOVES_ALL_LOGITS_ALIKE:
            assert gradient.any(), name
            assert not expected[name].any(), name
