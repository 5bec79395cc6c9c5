from itertools import permutations
from math import log

import pytest
import torch
from mmaction.registry import MODELS
from torch.testing import assert_close

from projects.adamae import AdaMAELoss
from projects.adamae.models.losses.sampling_policy import plackett_luce
from tests.helpers import tiny_model_cfg


def test_loss_against_loops():
    """Sec. 3.2 and 3.3 of the paper, written as loops over clips and tokens."""
    b, n, m, c = 2, 7, 4, 3
    pred = torch.randn(b, m, 8 * c)
    patches = torch.rand(b, m, 8, c)
    masked_ids = torch.stack([torch.randperm(n)[:m].sort().values for _ in range(b)])
    log_probs = torch.randn(b, n).log_softmax(1)
    losses = AdaMAELoss(sampling_weight=0.5)(pred, patches, masked_ids, log_probs)

    reconstruction, sampling = 0.0, 0.0
    for i in range(b):
        for k in range(m):
            target = torch.empty(8, c)
            for channel in range(c):
                x = patches[i, k, :, channel]
                target[:, channel] = (x - x.mean()) / (x.std() + 1e-6)
            error = ((pred[i, k] - target.flatten()) ** 2).mean()
            reconstruction += error / (b * m)
            sampling -= log_probs[i, masked_ids[i, k]] * error / (b * m)
    assert_close(losses['loss_reconstruction'], reconstruction)
    assert_close(losses['loss_sampling'], 0.5 * sampling)
    assert 0 < losses['sampler_entropy'] < 1


def test_without_a_learnt_sampler_there_is_no_sampling_loss():
    losses = AdaMAELoss()(
        torch.zeros(1, 2, 24), torch.rand(1, 2, 8, 3), torch.tensor([[0, 1]])
    )
    assert losses.keys() == {'loss_reconstruction'}


def test_order_of_the_masked_tokens_does_not_matter():
    loss = AdaMAELoss()
    pred, patches = torch.randn(1, 5, 24), torch.rand(1, 5, 8, 3)
    ids, log_probs = torch.tensor([[0, 2, 3, 5, 6]]), torch.randn(1, 8).log_softmax(1)
    shuffle = torch.tensor([3, 0, 4, 1, 2])
    a = loss(pred, patches, ids, log_probs)
    b = loss(pred[:, shuffle], patches[:, shuffle], ids[:, shuffle], log_probs)
    for key in a:
        assert_close(a[key], b[key])


def test_unknown_criterion():
    with pytest.raises(ValueError, match="expected 'mse' or 'l1', got 'huber'"):
        AdaMAELoss(criterion='huber')


def test_probability_moves_towards_tokens_with_larger_error():
    """Encoder and decoder frozen; the sampling loss alone moves the sampler."""
    cfg = tiny_model_cfg(loss=dict(type='AdaMAELoss', sampling_weight=1.0))
    cfg['sampler']['drop_rate'] = 0.0
    model = MODELS.build(cfg)
    model.init_weights()
    model.backbone.requires_grad_(False)
    model.decoder.requires_grad_(False)
    clips = torch.randn(4, 3, 8, 16, 16)
    # Half of the tokens of every clip are flat: the target is 0, easy to predict.
    easy = torch.arange(16) % 2 == 0
    torch.nn.init.zeros_(model.decoder.head.weight)
    patches = clips.reshape(4, 3, 4, 2, 2, 8, 2, 8)
    patches[:, :, :, :, :, :, 0] = 0.0  # column 0: even tokens
    clips = patches.reshape(4, 3, 8, 16, 16)
    optimizer = torch.optim.Adam(model.sampler.parameters(), lr=1e-3)

    def mass_on_hard_tokens():
        with torch.no_grad():
            tokens = model.backbone.embed(clips)
            return model.sampler(tokens).log_probs.exp()[:, ~easy].sum(1).mean().item()

    before = mass_on_hard_tokens()
    for _ in range(60):
        losses = model(clips, None, 'loss')
        optimizer.zero_grad()
        (losses['loss_reconstruction'] + losses['loss_sampling']).backward()
        optimizer.step()
    assert mass_on_hard_tokens() > before + 0.2


def reward(errors, scores):
    """Mean over clips and tokens of score times error, as a loop."""
    return sum((s * e).sum() for s, e in zip(scores, errors, strict=True)) / (
        errors.numel()
    )


class Draw:
    """Logits, keys and errors of two clips; the 3 lowest of 7 keys are masked."""

    def __init__(self, clips=2):
        self.logits = torch.randn(clips, 7).mul(2).requires_grad_()
        self.log_probs = self.logits.log_softmax(1)
        self.keys = torch.randn(clips, 7)
        order = self.keys.argsort(1, descending=True)
        self.drawn, self.masked_ids = order[:, :4], order[:, 4:].sort(1).values
        self.pred, self.patches = torch.randn(clips, 3, 24), torch.rand(clips, 3, 8, 3)

    def sampling_loss(self, **options):
        loss = AdaMAELoss(sampling_weight=1.0, **options)
        self.errors = loss.token_error(self.pred, self.patches, self.masked_ids)
        args = self.pred, self.patches, self.masked_ids, self.log_probs, self.keys
        return loss(*args)['loss_sampling']

    def masked(self, x):
        return x.gather(1, self.masked_ids)

    def log_draw(self):
        """The probability of the draw, token after token."""
        values = []
        for p, drawn in zip(self.log_probs.double().exp(), self.drawn, strict=True):
            left, value = 1.0, 0.0
            for i in drawn:
                value = value + (p[i] / left).log()
                left = left - p[i]
            values.append(value)
        return torch.stack(values)[:, None].expand(-1, 3).float()


def assert_same(draw, loss, expected):
    """Equal value and equal gradient."""
    assert_close(loss, expected)
    a, b = (
        torch.autograd.grad(x, draw.logits, retain_graph=True)[0]
        for x in (loss, expected)
    )
    assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('policy', ['log', 'linear', 'plackett_luce'])
@pytest.mark.parametrize('baseline', [None, 'clip', 'batch'])
def test_policies_and_baselines_against_loops(policy, baseline):
    if (policy, baseline) == ('plackett_luce', 'clip'):
        return  # refused, see below
    draw = Draw(clips=3)
    loss = draw.sampling_loss(policy=policy, baseline=baseline)
    scores = {
        'log': draw.masked(draw.log_probs),
        'linear': draw.masked(draw.log_probs.exp()),
        'plackett_luce': draw.log_draw(),
    }[policy]
    errors = draw.errors
    if baseline == 'clip':
        errors = errors - errors.mean(1, keepdim=True)
    if baseline == 'batch':
        others = [errors[[j for j in range(3) if j != i]].mean() for i in range(3)]
        errors = errors - torch.stack(others)[:, None]
    assert_same(draw, loss, -reward(errors, scores))


def test_a_clip_alone_has_no_baseline_over_the_batch():
    draw = Draw(clips=1)
    plain = draw.sampling_loss(policy='plackett_luce')
    assert_same(
        draw, draw.sampling_loss(policy='plackett_luce', baseline='batch'), plain
    )


def test_plackett_luce_is_the_gradient_of_the_expected_error():
    """Every ordered draw of 2 of 4: probabilities sum to 1, and REINFORCE holds."""
    logits = torch.randn(4, dtype=torch.float64, requires_grad=True)
    errors = torch.rand(4, dtype=torch.float64)
    log_probs = logits.log_softmax(0)[None]
    total, expected_error, surrogate = 0.0, 0.0, 0.0
    for drawn in permutations(range(4), 2):
        masked = [i for i in range(4) if i not in drawn]
        keys = torch.zeros(1, 4).double()
        keys[0, list(drawn)] = torch.tensor([2.0, 1.0]).double()
        log_draw = plackett_luce(log_probs, torch.tensor([masked]), keys)[0, 0]
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
    keys, masked_ids = torch.arange(8.0).flip(0)[None], torch.arange(3, 8)[None]
    value = plackett_luce(logits.log_softmax(1), masked_ids, keys)[0, 0]
    assert value.item() == pytest.approx(-log(7) - log(6), rel=1e-3)
    value.backward()
    assert logits.grad.isfinite().all()


def test_baseline_over_the_clip_leaves_visible_tokens_alone():
    """Without it, all masked tokens gain probability at the cost of the visible."""
    draw = Draw()
    (plain,) = torch.autograd.grad(draw.sampling_loss(), draw.logits, retain_graph=True)
    (ranked,) = torch.autograd.grad(draw.sampling_loss(baseline='clip'), draw.logits)
    assert (plain.gather(1, draw.drawn) > 0).all()
    assert_close(ranked.gather(1, draw.drawn), torch.zeros(2, 4), rtol=0, atol=1e-6)
    above = draw.errors > draw.errors.mean(1, keepdim=True)
    assert torch.equal(draw.masked(ranked) < 0, above)


def test_entropy_bonus():
    args = torch.zeros(1, 2, 24), torch.rand(1, 2, 8, 3), torch.tensor([[0, 1]])
    logits = torch.randn(1, 7, requires_grad=True)
    losses = AdaMAELoss(entropy_weight=0.3)(*args, logits.log_softmax(1))
    p = logits.detach().softmax(1)[0]
    entropy = -sum(x * x.log() for x in p) / log(7)
    assert_close(losses['loss_entropy'], -0.3 * entropy)
    assert_close(losses['sampler_entropy'], entropy)
    losses['loss_entropy'].backward()
    flatter = (logits.detach() - 0.1 * logits.grad).softmax(1)
    assert -(flatter * flatter.log()).sum() / log(7) > entropy
    assert 'loss_entropy' not in AdaMAELoss()(*args, logits.log_softmax(1))


def test_options_that_are_not_there():
    with pytest.raises(ValueError, match=r"policy: expected .*'linear'.* got 'exp'"):
        AdaMAELoss(policy='exp')
    with pytest.raises(ValueError, match="baseline: expected .* got 'mean'"):
        AdaMAELoss(baseline='mean')
    with pytest.raises(ValueError, match="use baseline='batch'"):
        AdaMAELoss(policy='plackett_luce', baseline='clip')


def test_a_forced_mask_was_drawn_in_no_order():
    model = MODELS.build(
        tiny_model_cfg(loss=dict(type='AdaMAELoss', policy='plackett_luce'))
    )
    clips = torch.randn(2, 3, 8, 16, 16)
    assert model(clips, None, 'loss')['loss_sampling'].isfinite()
    mask = torch.rand(2, 16).argsort(1) < 12
    with pytest.raises(ValueError, match="a forced mask was not drawn .* policy='log'"):
        model(clips, None, 'loss', mask=mask)
