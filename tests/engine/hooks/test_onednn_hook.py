"""The hook tells the model which attention kernel is the faster one."""

from unittest.mock import Mock

import pytest
import torch
from mmaction.registry import HOOKS, MODELS

from projects.adamae.utils import cpu
from tests.helpers import tiny_model_cfg


@pytest.mark.parametrize('enabled', [True, False])
def test_kernels_follow_the_switch(monkeypatch, enabled):
    monkeypatch.setattr(cpu, '_is_worth_it', lambda: True)
    monkeypatch.setattr(cpu, '_rounds_operands', lambda multiply: False)
    runner = Mock(model=MODELS.build(tiny_model_cfg()))
    hook = HOOKS.build(dict(type='OneDNNHook', enabled=enabled))

    def kernels():
        modules = runner.model.modules()
        return {m.min_fused_tokens for m in modules if hasattr(m, 'min_fused_tokens')}

    assert kernels() == {0}
    hook.before_run(runner)
    assert cpu.uses_onednn() == enabled
    assert kernels() == ({257} if enabled else {0})
    hook.after_run(runner)
    assert kernels() == {0} and torch.get_float32_matmul_precision() == 'highest'
