from itertools import permutations, product
from math import log

import pytest
import torch
from mmaction.registry import MODELS
from torch.testing import assert_close

from projects.adamae import AdaMAELoss
from projects.adamae.models.losses.sampling_policy import plackett_luce
from tests.helpers import tiny_model_cfg, token_sample

CLOSE = dict(rtol=1e-6, atol=1e-9)  # of float64


def random_input(clips, tokens=3):
    """Predictions and pixels of 8 x 3 values per token, float64, float32 numbers."""
    shape = (clips, tokens)
    return torch.randn(*shape, 24).double(), torch.rand(*shape, 8, 3).double()


def test_loss_is_that_of_the_paper():
    """Sec. 3.2 and 3.3, whatever the order of the masked tokens."""
    pred, patches = random_input(2, 4)
    masked_ids = torch.rand(2, 7).argsort(1)[:, :4]
    log_probs = torch.randn(2, 7).double().log_softmax(1)
    sample = token_sample(masked_ids, 7, log_probs)
    losses = AdaMAELoss(sampling_weight=0.5)(pred, patches, sample)

    std, mean = torch.std_mean(patches, dim=2, keepdim=True)
    error = (pred - ((patches - mean) / (std + 1e-6)).flatten(2)).square().mean(2)
    sampling = -(log_probs.gather(1, masked_ids) * error).mean()
    assert_close(losses['loss_reconstruction'], error.mean(), **CLOSE)
    assert_close(losses['loss_sampling'], 0.5 * sampling, **CLOSE)
    assert 0 < losses['sampler_entropy'] < 1
    without = AdaMAELoss()(pred, patches, token_sample(masked_ids, 7))
    assert without.keys() == {
        'loss_reconstruction',
        'token_error',
    }  # nothing is learned


class Draw:
    """Logits, draws and errors of clips: 4 of 7 tokens are drawn, 3 masked."""

    def __init__(self, clips=2):
        self.logits = torch.randn(clips, 7).double().mul(2).requires_grad_()
        self.log_probs = self.logits.log_softmax(1)
        perturbed = torch.randn(clips, 7)
        order = perturbed.argsort(1, descending=True)
        self.drawn, masked_ids = order[:, :4], order[:, 4:].sort(1).values
        self.sample = token_sample(masked_ids, 7, self.log_probs, perturbed)
        self.input = random_input(clips)

    def sampling_loss(self, **options):
        loss = AdaMAELoss(sampling_weight=1.0, **options)
        self.errors = loss.token_error(*self.input, self.sample.masked_ids)
        return loss(*self.input, self.sample)['loss_sampling']

    def masked(self, x):
        return x.gather(1, self.sample.masked_ids)

    def log_draw(self):
        """The probability of the draw, token after token."""
        drawn = self.log_probs.exp().gather(1, self.drawn)
        left = 1 - drawn.cumsum(1) + drawn
        return (drawn / left).log().sum(1, keepdim=True).expand(-1, 3)

    def gradient(self, loss):
        return torch.autograd.grad(loss, self.logits, retain_graph=True)[0]

    def assert_same(self, loss, expected):
        """Equal value and equal gradient."""
        assert_close(loss, expected, **CLOSE)
        assert_close(self.gradient(loss), self.gradient(expected), **CLOSE)


@pytest.mark.parametrize('clips', [1, 3])
@pytest.mark.parametrize(
    'policy, baseline',
    [
        *product(['log', 'linear'], [None, 'clip', 'batch']),
        *product(['plackett_luce'], [None, 'batch']),  # 'clip' is rejected
    ],
)
def test_policies_and_baselines(policy, baseline, clips):
    draw = Draw(clips)
    loss = draw.sampling_loss(policy=policy, baseline=baseline)
    scores = {
        'log': draw.masked(draw.log_probs),
        'linear': draw.masked(draw.log_probs.exp()),
        'plackett_luce': draw.log_draw(),
    }[policy]
    errors = draw.errors
    if baseline == 'clip':
        errors = errors - errors.mean(1, keepdim=True)
    if baseline == 'batch' and clips > 1:  # a clip alone has no baseline
        others = [errors[torch.arange(clips) != i].mean() for i in range(clips)]
        errors = errors - torch.stack(others)[:, None]
    draw.assert_same(loss, -(scores * errors).mean())


def test_plackett_luce_is_the_gradient_of_the_expected_error():
    """Every ordered draw of 2 of 4: probabilities sum to 1, and REINFORCE holds."""
    logits = torch.randn(4, dtype=torch.float64, requires_grad=True)
    errors = torch.rand(4, dtype=torch.float64)
    log_probs = logits.log_softmax(0)[None]
    total, expected_error, surrogate = 0.0, 0.0, 0.0
    for drawn in permutations(range(4), 2):
        masked = [i for i in range(4) if i not in drawn]
        perturbed = torch.zeros(1, 4).double()
        perturbed[0, list(drawn)] = torch.tensor([2.0, 1.0]).double()
        sample = token_sample(torch.tensor([masked]), 4, log_probs, perturbed)
        log_draw = plackett_luce(log_probs, sample)[0, 0]
        mean_error = errors[masked].mean()
        total = total + log_draw.exp()
        expected_error = expected_error + log_draw.exp() * mean_error
        surrogate = surrogate - log_draw.exp().detach() * log_draw * mean_error
    assert_close(total.item(), 1.0)
    (a,) = torch.autograd.grad(surrogate, logits, retain_graph=True)
    (b,) = torch.autograd.grad(-expected_error, logits)
    assert a.abs().max() > 1e-3
    assert_close(a, b)


@pytest.mark.parametrize('sharp', [30.0, 3e4])
def test_plackett_luce_where_nothing_of_the_mass_remains(sharp):
    """The first token drawn has it all; the other two are as good as any of 7."""
    logits = torch.tensor([[sharp] + [0.0] * 7], requires_grad=True)
    log_probs, perturbed = logits.log_softmax(1), torch.arange(8.0).flip(0)[None]
    sample = token_sample(torch.arange(3, 8)[None], 8, log_probs, perturbed)
    value = plackett_luce(log_probs, sample)[0, 0]
    assert value.item() == pytest.approx(-log(7) - log(6), rel=1e-3)
    value.backward()
    assert logits.grad.isfinite().all()


def test_baseline_over_the_clip_leaves_visible_tokens_alone():
    """Without it, all masked tokens gain probability at the cost of the visible."""
    draw = Draw()
    plain = draw.gradient(draw.sampling_loss())
    ranked = draw.gradient(draw.sampling_loss(baseline='clip'))
    assert (plain.gather(1, draw.drawn) > 0).all()
    assert_close(ranked.gather(1, draw.drawn), torch.zeros(2, 4).double(), **CLOSE)
    above = draw.errors > draw.errors.mean(1, keepdim=True)
    assert torch.equal(draw.masked(ranked) < 0, above)


def test_entropy_bonus():
    logits = torch.randn(1, 7).double().requires_grad_()
    sample = token_sample(torch.tensor([[0, 1]]), 7, logits.log_softmax(1))
    args = *random_input(1, 2), sample
    losses = AdaMAELoss(entropy_weight=0.3)(*args)

    def entropy(logits):
        return -sum(x * x.log() for x in logits.softmax(1)[0]) / log(7)

    expected = entropy(logits.detach())
    assert_close(losses['loss_entropy'].detach(), -0.3 * expected, **CLOSE)
    assert_close(losses['sampler_entropy'], expected, **CLOSE)
    losses['loss_entropy'].backward()
    assert entropy(logits.detach() - 0.1 * logits.grad) > expected
    assert 'loss_entropy' not in AdaMAELoss()(*args)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(criterion='huber'), "expected 'mse' or 'l1', got 'huber'"),
        (dict(policy='exp'), r"policy: expected .*'linear'.* got 'exp'"),
        (dict(baseline='mean'), "baseline: expected .* got 'mean'"),
        (dict(policy='plackett_luce', baseline='clip'), "use baseline='batch'"),
    ],
)
def test_options_that_are_not_there(options, message):
    with pytest.raises(ValueError, match=message):
        AdaMAELoss(**options)


def test_a_forced_mask_was_drawn_in_no_order():
    model = MODELS.build(
        tiny_model_cfg(loss=dict(type='AdaMAELoss', policy='plackett_luce'))
    )
    clips = torch.randn(2, 3, 8, 16, 16)
    assert model(clips, None, 'loss')['loss_sampling'].isfinite()
    mask = torch.rand(2, 16).argsort(1) < 12
    with pytest.raises(ValueError, match="a forced mask was not drawn .* policy='log'"):
        model(clips, None, 'loss', mask=mask)
