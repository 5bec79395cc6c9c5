"""Checkpoints whose names have what wrappers of torch add."""

import pytest
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope
from torch.testing import assert_close

from projects.adamae.checkpoints import adapt_checkpoint
from tests.helpers import tiny_model_cfg


@pytest.mark.parametrize(
    'prefix', ['_orig_mod.', 'module._orig_mod.', '_orig_mod.module.']
)
def test_names_of_wrapped_models(prefix):
    init_default_scope('mmaction')
    model = MODELS.build(tiny_model_cfg())
    own = model.state_dict()
    stored = {prefix + name: tensor for name, tensor in own.items()}
    assert_close(adapt_checkpoint(dict(state_dict=stored), model, 'test'), dict(own))
    part = {
        name.replace('decoder.', 'decoder._orig_mod.'): t for name, t in own.items()
    }
    assert_close(adapt_checkpoint(dict(state_dict=part), model, 'test'), dict(own))
