"""One step of the authors' implementation, reproduced to rounding."""

import pytest
import torch
from mmaction.structures import ActionDataSample
from torch.testing import assert_close

from tests.golden import SHIFTS_ALL_LOGITS, assert_golden, build, load, step

# Float32 on any CPU: each sums in an order of its own.
CLOSE = dict(rtol=1e-4, atol=1e-6)


@pytest.fixture(scope='module')
def golden():
    return load()


@pytest.mark.parametrize('joins_head', [True, False])
def test_losses_and_every_gradient(golden, joins_head):
    model = build(golden)
    assert model.sampler.joins_head  # as there is no dropout
    model.sampler.joins_head = joins_head
    losses, grads = step(model, golden)
    assert_golden(losses, grads, golden, 1e-4)
    for name in SHIFTS_ALL_LOGITS:
        largest = grads[name.replace('bias', 'weight')].abs().max()
        assert grads[name].abs().max() < 1e-4 * largest, name


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
            rtol=1e-4,
            atol=1e-5,
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
    losses, _ = step(build(golden, loss), golden)
    assert_close(losses['loss_reconstruction'], torch.tensor(golden[key]), **CLOSE)


def test_detached_tokens_leave_the_tokenizer_to_the_reconstruction_loss(golden):
    alone = dict(type='AdaMAELoss', sampling_weight=0.0)
    _, expected = step(build(golden, alone), golden)
    _, detached = step(build(golden, detach_tokens=True), golden)
    _, default = step(build(golden), golden)
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
        if name.startswith('sampler.') and name not in SHIFTS_ALL_LOGITS:
            assert gradient.any(), name
            assert not expected[name].any(), name
