"""The block against MMAction2's, its attention kernels, and the fused head."""

from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from mmaction.models.backbones.vit_mae import Attention
from mmcv.cnn.bricks import DropPath
from torch import nn
from torch.testing import assert_close

from projects.adamae.models import transformer
from projects.adamae.models.transformer import FusedAttention, TransformerBlock


@pytest.mark.parametrize(
    'tokens, onednn, fused',
    [(256, True, False), (257, True, True), (5, False, True), (257, False, True)],
)
def test_kernel_is_chosen_once(tokens, onednn, fused):
    """Short sequences are plain where oneDNN multiplies; the result is the same."""
    model = nn.Sequential(FusedAttention(16, 2, qkv_bias=True)).double()
    stock = Attention(16, 2).double()
    for param in model.parameters():
        nn.init.normal_(param)
    stock.load_state_dict(model[0].state_dict())
    transformer.set_attention_kernel(model, onednn=onednn)
    x = torch.randn(1, tokens, 16).double()
    kernel = F.scaled_dot_product_attention
    with patch.object(F, 'scaled_dot_product_attention', wraps=kernel) as calls:
        assert_close(model(x), stock(x))
    assert calls.call_count == fused


@pytest.mark.parametrize('in_use', [True, False])
def test_kernel_of_a_new_model_is_that_of_the_process(monkeypatch, in_use):
    monkeypatch.setattr(transformer.cpu, 'uses_onednn', lambda: in_use)
    assert FusedAttention(16, 2).min_fused_tokens == (257 if in_use else 0)


@pytest.mark.parametrize(
    'change',
    [
        dict(init_values=0.1),
        dict(drop_path_rate=0.1),
        dict(drop_rate=0.1),
        nn.Dropout(0.1),
        DropPath(0.1),
    ],
    ids=str,
)
def test_what_stands_between_block_and_head_is_not_skipped(change):
    options = change if isinstance(change, dict) else {}
    block, head = TransformerBlock(16, 2, **options), nn.Linear(16, 1)
    if not options:
        block.drop_path = change
    assert not block.can_fuse_head
    with pytest.raises(ValueError, match='head: expected a block without layer scale'):
        block(torch.randn(2, 3, 16), head=head)


@pytest.mark.parametrize('drop_path', [nn.Identity(), nn.Dropout(0.0), DropPath(0.0)])
@pytest.mark.parametrize('with_cp', [False, True])
def test_fused_head_is_the_same_function(with_cp, drop_path):
    block, head = TransformerBlock(16, 2, with_cp=with_cp).double(), nn.Linear(16, 3)
    block.drop_path = drop_path
    head.double()
    for param in block.parameters():
        nn.init.normal_(param, std=0.3)
    x = torch.randn(2, 5, 16).double()
    found = block(x, head=head)
    expected = head(block(x))
    assert_close(found, expected)
    weights, params = torch.randn_like(found), [*block.parameters(), *head.parameters()]
    assert_close(
        torch.autograd.grad((found * weights).sum(), params),
        torch.autograd.grad((expected * weights).sum(), params),
    )
