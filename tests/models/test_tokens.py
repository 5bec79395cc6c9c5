import pytest
import torch
from torch.testing import assert_close

from projects.adamae.models.tokens import (
    gather_tokens,
    normalise_patches,
    num_visible,
    patchify,
    split_ids,
    unpatchify,
)


@pytest.mark.parametrize(
    'ratio, visible', [(0.98, 31), (0.95, 78), (0.90, 156), (0.85, 235), (0.80, 313)]
)
def test_visible_tokens_of_the_papers_table(ratio, visible):
    assert num_visible(1568, ratio) == visible


def test_rounding_of_the_ratio_loses_no_token():
    assert num_visible(10, 0.9) == 1  # 10 * (1 - 0.9) == 0.9999999999999998


@pytest.mark.parametrize('ratio', [-0.1, 0, 1, 1.5])
def test_ratio_outside_0_1(ratio):
    with pytest.raises(ValueError, match=r'expected a number in \(0, 1\)'):
        num_visible(10, ratio)


@pytest.mark.parametrize('tokens, ratio', [(10, 0.95), (10, 1e-9)])
def test_ratio_that_leaves_no_visible_or_no_masked_token(tokens, ratio):
    with pytest.raises(ValueError, match='expected 1 to 9'):
        num_visible(tokens, ratio)


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


def test_normalised_patches_are_standard_and_do_not_see_brightness():
    patches = torch.rand(2, 5, 32, 3)
    normal = normalise_patches(patches)
    assert_close(normal.mean(2), torch.zeros(2, 5, 3), atol=1e-5, rtol=0)
    assert_close(normal.var(2), torch.ones(2, 5, 3), atol=1e-4, rtol=0)
    assert_close(normalise_patches(patches * 0.5 + 0.2), normal, atol=1e-4, rtol=1e-4)
    assert not normalise_patches(torch.ones(1, 1, 8, 3)).any()
    with pytest.raises(ValueError, match=r'\(B, N, P // C, C\), got \(2, 5, 96\)'):
        normalise_patches(patches.flatten(2))
