import pytest
import torch
from conftest import tiny_model_cfg
from mmaction.registry import MODELS
from torch.testing import assert_close

from projects.adamae import AdaMAELoss


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
