"""What goes wrong without a NaN is told, once; what is right is not."""

import re
from types import SimpleNamespace

import pytest
import torch
from mmaction.registry import MODELS

from projects.adamae.engine.hooks import HealthCheckHook
from tests.helpers import tiny_model_cfg

PICTURE = torch.randint(0, 256, (1, 3, 8, 16, 16), dtype=torch.uint8)
BLACK = torch.full_like(PICTURE, 16)


@pytest.fixture(scope='module')
def model():
    return MODELS.build(tiny_model_cfg())


@pytest.fixture
def run(model):
    """Let the hook see iterations; returns what it warned of."""
    told = []
    runner = SimpleNamespace(
        model=model,
        hooks=[],
        train_dataloader=[None] * 10,  # it logs where an epoch ends
        logger=SimpleNamespace(warning=told.append),
        iter=0,
    )
    hook = HealthCheckHook()

    def run(count, loss=1.0, entropy=0.9, inputs=(PICTURE, PICTURE), start=None):
        runner.iter = runner.iter if start is None else start
        for _ in range(count):
            outputs = dict(loss_reconstruction=torch.tensor(loss))
            if entropy is not None:
                outputs['sampler_entropy'] = torch.tensor(entropy)
            batch = dict(inputs=list(inputs))
            hook.after_train_iter(runner, runner.iter % 10, batch, outputs)
            runner.iter += 1
        return told

    return run


def test_a_healthy_run_is_left_alone(run):
    run(1, loss=1.5)
    for loss in (1.2, 1.0, 0.9, 0.5, 0.9, 0.3):
        run(20, loss=loss, entropy=0.55)
    mixed = (PICTURE,) * 15 + (BLACK,)
    assert run(200, loss=0.4, entropy=None, inputs=mixed, start=6000) == []


@pytest.mark.parametrize(
    'kind, wrong',
    [
        ('iteration 80: the token sampler has collapsed', dict(entropy=0.45)),
        ('iteration 80: loss_reconstruction rises: 3.', dict(loss=3.5)),
        ('8 of .* clips that were looked at are of one color', dict(inputs=[BLACK])),
        (
            'iteration 5.*: loss_reconstruction is 1.02, and predicting 0 .* give 1',
            dict(loss=1.02, start=5000),
        ),
    ],
)
def test_what_is_wrong_is_told_once(run, kind, wrong):
    assert run(60) == []
    (line,) = run(400, **wrong)
    assert re.search(kind, line), line


def test_a_rate_that_is_too_high_from_the_first_step_on(run):
    run(1, loss=1.3)
    (line,) = run(19, loss=1400.0)
    assert 'more than 3 times 1.3, where it has been' in line


def test_black_videos_are_told_in_the_first_iterations(run):
    (line,) = run(8, inputs=(BLACK, PICTURE))
    assert line.startswith('iteration 8: 8 of 16 clips')


def test_clips_of_one_video_are_looked_at_one_by_one(run):
    video = torch.cat([PICTURE, BLACK, BLACK])
    (line,) = run(4, inputs=[video])
    assert line.startswith('iteration 4: 8 of 12 clips')
