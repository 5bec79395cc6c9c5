"""compile=True: one graph, compiled once, with the eager result."""

import pytest
import torch
from mmaction.registry import HOOKS, MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from torch._dynamo.testing import CompileCounterWithBackend
from torch.testing import assert_close

from projects.adamae.engine.hooks.compile_hook import compile_model
from tests.helpers import ROOT, tiny_model_cfg


@pytest.fixture(autouse=True)
def _fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize('kind', ['Adaptive', 'Random'])
def test_pretraining_is_one_graph_compiled_once(kind, with_cp):
    """Steps differ in clips, draws and dropout; gradients come and go."""
    parts = dict(depth=1, with_cp=with_cp)
    sampler = dict(type=f'{kind}SamplerHead', mask_ratio=0.75)
    if kind == 'Adaptive':
        sampler.update(num_heads=2, with_cp=with_cp)
    model = MODELS.build(tiny_model_cfg(sampler, backbone=parts, decoder=parts)).train()
    counter = CompileCounterWithBackend('eager')
    compile_model(model, backend=counter, fullgraph=True)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for _ in range(4):
        losses = model(torch.randn(2, 3, 8, 16, 16), [ActionDataSample()] * 2, 'loss')
        model.parse_losses(losses)[0].backward()
        assert all(p.grad is not None for p in model.parameters())
        optimizer.step()
        optimizer.zero_grad()
    assert counter.frame_count == 1


def test_drawn_masks_differ():
    model = MODELS.build(tiny_model_cfg(backbone=dict(depth=1)))
    compile_model(model, backend='eager')
    clips = torch.randn(2, 3, 8, 16, 16)
    drawn = {model(clips, mode='loss')['loss_reconstruction'].item() for _ in range(3)}
    assert len(drawn) == 3, 'a mask was compiled in'


def test_gradients_are_the_eager_ones():
    cfg = tiny_model_cfg(backbone=dict(depth=1))
    cfg['sampler']['drop_rate'] = 0.0
    eager = MODELS.build(cfg)
    model = MODELS.build(cfg)
    model.load_state_dict(eager.state_dict())
    names = list(model.state_dict())
    compile_model(model, backend='aot_eager')
    assert list(model.state_dict()) == names
    clips = torch.randn(2, 3, 8, 16, 16)
    mask = torch.rand(2, 16).argsort(1) < 12
    for m in (eager, model):
        losses = m(clips, mode='loss', mask=mask)
        m.parse_losses(losses)[0].backward()
    gradients = {k: p.grad for k, p in eager.named_parameters()}
    for name, parameter in model.named_parameters():
        assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-6, msg=name)


def test_encoder_of_a_classifier_is_compiled_for_training_only():
    backbone = dict(tiny_model_cfg()['backbone'], drop_path_rate=0.5)
    head = dict(type='TimeSformerHead', num_classes=5, in_channels=16)
    model = MODELS.build(dict(type='Recognizer3D', backbone=backbone, cls_head=head))
    counter = CompileCounterWithBackend('eager')
    compile_model(model.train(), backend=counter, fullgraph=True)
    samples = [ActionDataSample().set_gt_label(i) for i in range(2)]
    for _ in range(3):
        losses = model(torch.randn(2, 1, 3, 8, 16, 16), samples, mode='loss')
        losses['loss_cls'].backward()
    assert counter.frame_count == 1
    model.eval()
    with torch.no_grad():
        model(torch.randn(1, 3, 3, 8, 16, 16), samples[:1], mode='predict')
    assert counter.frame_count == 1


@pytest.mark.parametrize(
    'options, compiled',
    [
        ({}, False),
        ({'compile': False}, False),
        ({'compile': True}, True),
        ({'compile.disable': False}, True),
        ({'compile.mode': 'reduce-overhead'}, True),
    ],
)
def test_switch(options, compiled):
    """The hook takes the switch before MMEngine compiles its train_step."""

    class Runner:
        cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
        model = MODELS.build(tiny_model_cfg())

    Runner.cfg.merge_from_dict(options)
    hook = HOOKS.build(dict(type='CompileHook'))
    hook.before_run(Runner)
    assert Runner.cfg.compile is False
    hook.before_train(Runner)
    assert (Runner.model.compiled_loss is not None) == compiled
