"""What SpatiotemporalMAE predicts: one frame of every token."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from mmaction.registry import MODELS
from torch import Tensor

from ..tokens import gather_tokens
from .adamae_loss import AdaMAELoss


@MODELS.register_module()
class SpatiotemporalMAELoss(AdaMAELoss):
    """:class:`AdaMAELoss` on one frame of every time step.

    As in "Masked Autoencoders As Spatiotemporal Learners" (arXiv:2205.09113, sec. 3
    and its released code): of a clip of 16 frames 8 are predicted, spread evenly from
    its first to its last: 0, 2, 4, 6, 8, 10, 12, 15. So the frame within a token
    depends on its time step. A target is normalised over all of its values, colours
    included, and not per channel: (x - mean) / sqrt(unbiased variance + eps).

    Args:
        eps (float): added to the variance of pixels in [0, 1]. Defaults to 1e-6.
        token_shape (tuple[int, int, int, int]): frames, rows, columns and channels of
            a token, from the recognizer. Defaults to (2, 16, 16, 3).
        grid_size (tuple[int, int, int]): tokens along time, rows, columns, from the
            recognizer. Defaults to (8, 14, 14).
        **kwargs: as in :class:`AdaMAELoss`.
    """

    offsets: Tensor

    def __init__(
        self,
        eps: float = 1e-6,
        token_shape: tuple[int, int, int, int] = (2, 16, 16, 3),
        grid_size: tuple[int, int, int] = (8, 14, 14),
        **kwargs: Any,
    ) -> None:
        super().__init__(token_shape=token_shape, grid_size=grid_size, **kwargs)
        self.eps = eps
        self.out_channels = prod(token_shape[1:])
        steps, rows, columns = grid_size
        tubelet = token_shape[0]
        frames = torch.linspace(0, steps * tubelet - 1, steps).long()
        self.frames = tuple(frames.tolist())
        offsets = frames - torch.arange(steps) * tubelet
        # For every token of the clip.
        offsets = offsets.repeat_interleave(rows * columns).unsqueeze(0)
        self.register_buffer('offsets', offsets, persistent=False)

    def target(self, patches: Tensor, ids: Tensor | None = None) -> Tensor:
        """Turn pixels into what the decoder has to predict.

        Args:
            patches (Tensor): pixels in [0, 1], shape (B, K, P // C, C), float32.
            ids (Tensor, optional): places of the tokens, int64, shape (B, K). Defaults
                to None, all tokens in order.

        Returns:
            Tensor: shape (B, K, P / frames of a token), float32, in the order row,
            column, channel.
        """
        frame = self._frame(patches, ids)
        if not self.norm_pix:
            return frame
        var, mean = torch.var_mean(frame, dim=-1, keepdim=True)
        return (frame - mean) / (var + self.eps).sqrt()

    def to_pixels(
        self, values: Tensor, patches: Tensor, ids: Tensor | None = None
    ) -> Tensor:
        """Turn predictions back into pixels: the inverse of :meth:`target`.

        Args:
            values (Tensor): predictions, shape (B, K, P / frames of a token), float.
            patches (Tensor): true pixels in [0, 1], shape (B, K, P // C, C), float.
            ids (Tensor, optional): places of the tokens, int64, shape (B, K). Defaults
                to None, all tokens in order.

        Returns:
            Tensor: pixels, about in [0, 1], shape (B, K, P // C, C). Frames that are
            not predicted hold the predicted one of their token.
        """
        if self.norm_pix:
            frame = self._frame(patches, ids)
            var, mean = torch.var_mean(frame, dim=-1, keepdim=True)
            values = values * (var + self.eps).sqrt() + mean
        pixels = values.unflatten(-1, (-1, patches.shape[-1]))
        return pixels.repeat(1, 1, self.token_shape[0], 1)

    def _frame(self, patches: Tensor, ids: Tensor | None) -> Tensor:
        """Take the frame to predict, shape (B, K, P / frames of a token)."""
        if ids is None:
            offsets = self.offsets.expand(patches.shape[0], -1)
        else:
            offsets = gather_tokens(self.offsets, ids)
        frames = patches.unflatten(2, (self.token_shape[0], -1)).flatten(3)
        index = offsets[..., None, None].expand(-1, -1, 1, frames.shape[-1])
        return frames.gather(2, index).squeeze(2)
