import pytest
import torch
from torch.testing import assert_close

from projects.adamae.models.tokens import (
    denormalize_patches,
    floor_product,
    gather_tokens,
    normalize_patches,
    patchify,
    split_ids,
    unpatchify,
)


def test_rounding_of_a_ratio_loses_no_token():
    assert floor_product(10, 1 - 0.9) == 1  # 0.9999999999999998
    assert floor_product(10, 0.19) == 1


def test_patchify_puts_pixels_where_it_says():
    clips = torch.arange(2 * 3 * 4 * 4 * 6).reshape(2, 3, 4, 4, 6)
    patches = patchify(clips, patch_size=2, tubelet_size=2)
    assert patches.shape == (2, 2 * 2 * 3, 8, 3)
    # Token (time 1, row 1, column 2) of clip 1; pixel (frame 1, row 0, column 1).
    token, pixel = (1 * 2 + 1) * 3 + 2, (1 * 2 + 0) * 2 + 1
    assert torch.equal(patches[1, token, pixel], clips[1, :, 2 + 1, 2 + 0, 4 + 1])
    assert torch.equal(unpatchify(patches, (2, 2, 3), 2, 2), clips)


def test_gather_and_split():
    mask = torch.tensor([[True, False, True, False], [False, False, True, True]])
    visible, masked = split_ids(mask, 2)
    assert visible.tolist() == [[1, 3], [0, 1]]
    assert masked.tolist() == [[0, 2], [2, 3]]
    x = torch.randn(2, 4, 3, 5)
    assert torch.equal(gather_tokens(x, masked)[1, 0], x[1, 2])
    assert torch.equal(gather_tokens(x[:1], masked)[1, 1], x[0, 3])


def test_gathering_keeps_one_index_per_token():
    kept = []

    def keep(tensor):
        if tensor.dtype == ids.dtype:
            kept.append(tensor.untyped_storage().nbytes())
        return tensor

    tokens = torch.randn(2, 6, 8, requires_grad=True)
    ids = torch.tensor([[0, 2, 5], [1, 3, 4]])
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        gather_tokens(tokens, ids)
    assert kept == [ids.nbytes]


def test_normalized_patches_are_standard_and_do_not_see_brightness():
    patches = torch.rand(2, 5, 32, 3).double()
    close = dict(rtol=0, atol=1e-4)  # of the eps
    normal = normalize_patches(patches)
    assert_close(normal.mean(2), torch.zeros(2, 5, 3).double(), **close)
    assert_close(normal.var(2), torch.ones(2, 5, 3).double(), **close)
    assert_close(normalize_patches(patches * 0.5 + 0.2), normal, **close)
    assert_close(denormalize_patches(normal, patches), patches)
    assert not normalize_patches(torch.ones(1, 1, 8, 3)).any()
    with pytest.raises(ValueError, match=r'\(B, N, P // C, C\), got \(2, 5, 96\)'):
        normalize_patches(patches.flatten(2))
