"""What the decoder has to predict of a token's pixels, and the way back to pixels."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from ..tokens import gather_tokens, normalize_patches, token_statistics


class TokenTarget(nn.Module):
    """All pixels of a token (AdaMAE, sec. 3.2).

    Args:
        norm_pix (bool): normalize every token per channel.
        token_shape (tuple[int, int, int, int]): frames, rows, columns and channels of
            a token.
        grid_size (tuple[int, int, int]): tokens along time, rows, columns.

    Attributes:
        out_channels (int): P, values per token that the decoder has to predict.
        frames (tuple[int, ...]): a frame of every time step that is predicted.
        predicted_frames (tuple[int, ...]): all frames that are predicted.
    """

    def __init__(
        self,
        norm_pix: bool,
        token_shape: tuple[int, int, int, int],
        grid_size: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.norm_pix = norm_pix
        self.token_shape = tuple(token_shape)
        self.out_channels = prod(token_shape)
        self.predicted_frames = tuple(range(grid_size[0] * token_shape[0]))
        self.frames = self.predicted_frames[:: token_shape[0]]

    def forward(self, patches: Tensor, ids: Tensor | None = None) -> Tensor:
        """Turn pixels into what the decoder has to predict.

        Args:
            patches (Tensor): pixels in [0, 1], shape (B, K, frames * rows * columns,
                C), float32.
            ids (Tensor, optional): positions of the tokens, int64, shape (B, K).
                Defaults to None, all tokens in order.

        Returns:
            Tensor: shape (B, K, P), float32, in the order frame, row, column, channel.
        """
        return (normalize_patches(patches) if self.norm_pix else patches).flatten(2)

    def statistics(
        self, patches: Tensor, ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute what :meth:`forward` subtracts and divides by to normalize.

        Args:
            patches (Tensor): pixels, as in :meth:`forward`.
            ids (Tensor, optional): as in :meth:`forward`.

        Returns:
            tuple[Tensor, Tensor]: mean and deviation, shape (B, K, 1, C).
        """
        return token_statistics(patches)

    def to_pixels(
        self,
        values: Tensor,
        patches: Tensor,
        ids: Tensor | None = None,
        statistics: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Turn predictions back into pixels: the inverse of :meth:`forward`.

        Args:
            values (Tensor): predictions, shape (B, K, P), float.
            patches (Tensor): true pixels, as in :meth:`forward`; where targets are
                normalized, their mean and standard deviation are put back.
            ids (Tensor, optional): as in :meth:`forward`.
            statistics (tuple[Tensor, Tensor], optional): put these back instead, as
                from :meth:`statistics`; of ``patches``, only the shape is used then.

        Returns:
            Tensor: pixels, about in [0, 1], shape of ``patches``.
        """
        values = values.reshape(patches.shape)
        if not self.norm_pix:
            return values
        mean, std = statistics or self.statistics(patches, ids)
        return values * std + mean


class FrameTarget(TokenTarget):
    """One frame of a token (arXiv:2205.09113, sec. 3, and its released code).

    Of a clip of 16 frames 8 are predicted, spread evenly from its first to its last:
    0, 2, 4, 6, 8, 10, 12, 15. So the frame within a token depends on its time step. A
    target is normalized over all of its values, colors included, and not per channel:
    ``(x - mean) / sqrt(unbiased variance + eps)``.

    Args:
        norm_pix (bool): normalize the frame; sizes are as in :class:`TokenTarget`.
        eps (float): added to the variance of pixels in [0, 1].
    """

    offsets: Tensor

    def __init__(
        self,
        norm_pix: bool,
        token_shape: tuple[int, int, int, int],
        grid_size: tuple[int, int, int],
        eps: float,
    ) -> None:
        super().__init__(norm_pix, token_shape, grid_size)
        self.eps = eps
        self.out_channels = prod(token_shape[1:])
        steps, rows, columns = grid_size
        tubelet = token_shape[0]
        frames = torch.linspace(0, steps * tubelet - 1, steps).long()
        self.frames = self.predicted_frames = tuple(frames.tolist())
        offsets = frames - torch.arange(steps) * tubelet
        # For every token of the clip.
        offsets = offsets.repeat_interleave(rows * columns).unsqueeze(0)
        self.register_buffer('offsets', offsets, persistent=False)

    def forward(self, patches: Tensor, ids: Tensor | None = None) -> Tensor:
        """Take the frame to predict; see :meth:`TokenTarget.forward`."""
        frame = self._frame(patches, ids)
        if not self.norm_pix:
            return frame
        mean, std = self._mean_and_std(frame)
        return (frame - mean) / std

    def statistics(
        self, patches: Tensor, ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute mean and deviation of the frame to predict, shape (B, K, 1)."""
        return self._mean_and_std(self._frame(patches, ids))

    def to_pixels(
        self,
        values: Tensor,
        patches: Tensor,
        ids: Tensor | None = None,
        statistics: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Repeat the frame in its token; see :meth:`TokenTarget.to_pixels`."""
        if self.norm_pix:
            mean, std = statistics or self.statistics(patches, ids)
            values = values * std + mean
        pixels = values.unflatten(-1, (-1, patches.shape[-1]))
        return pixels.repeat(1, 1, self.token_shape[0], 1)

    def _frame(self, patches: Tensor, ids: Tensor | None) -> Tensor:
        """Take the frame to predict, shape (B, K, P)."""
        if ids is None:
            offsets = self.offsets.expand(patches.shape[0], -1)
        else:
            offsets = gather_tokens(self.offsets, ids)
        frames = patches.unflatten(2, (self.token_shape[0], -1)).flatten(3)
        index = offsets[..., None, None].expand(-1, -1, 1, frames.shape[-1])
        return frames.gather(2, index).squeeze(2)

    def _mean_and_std(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        var, mean = torch.var_mean(frame, dim=-1, keepdim=True)
        return mean, (var + self.eps).sqrt()
