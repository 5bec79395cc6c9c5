import pytest
import torch

from projects.adamae.engine.hooks import FiniteCheckHook


class Runner:
    """What the hook needs: a batch an epoch, so that every iteration is logged."""

    iter = 41
    hooks = []
    train_dataloader = [0]


@pytest.mark.parametrize(
    'bad, cause',
    [
        ({'loss_reconstruction': float('nan')}, 'the loss became'),
        (
            {'sampler_entropy': float('nan'), 'loss_sampling': float('inf')},
            "the token sampler's logits became",
        ),
        (
            {'sampler_entropy': float('nan'), 'loss_reconstruction': float('nan')},
            'logits and the reconstruction',
        ),
    ],
)
def test_names_iteration_and_cause(bad, cause):
    good = dict(loss_reconstruction=1.0, loss_sampling=1e-3, sampler_entropy=0.9)
    hook = FiniteCheckHook()
    outputs = {k: torch.tensor(v) for k, v in good.items()}
    hook.after_train_iter(Runner, 0, outputs=outputs)
    outputs.update({k: torch.tensor(v) for k, v in bad.items()})
    with pytest.raises(FloatingPointError, match=f'iteration 42: .*{cause}'):
        hook.after_train_iter(Runner, 0, outputs=outputs)


def test_first_of_several_iterations_is_named():
    class Later(Runner):
        train_dataloader = range(10)

    hook = FiniteCheckHook()
    for Later.iter, value in enumerate([1.0, float('nan'), 2.0, float('inf')]):
        hook.after_train_iter(Later, Later.iter, outputs={'loss': torch.tensor(value)})
    with pytest.raises(FloatingPointError, match=r'iteration 2: .*loss=nan'):
        hook.before_save_checkpoint(Later, dict(state_dict={}))


def test_no_ruined_weight_is_saved():
    state = dict(a=torch.ones(2), steps=torch.tensor(3))
    FiniteCheckHook().before_save_checkpoint(Runner, dict(state_dict=state))
    state['b'] = torch.tensor([1.0, float('inf')])
    with pytest.raises(FloatingPointError, match='iteration 42: b is non-finite'):
        FiniteCheckHook().before_save_checkpoint(Runner, dict(state_dict=state))
