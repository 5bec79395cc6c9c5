"""A batch of uint8 clips on the device in one copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmaction.models.data_preprocessors import ActionDataPreprocessor
from mmaction.registry import MODELS
from mmaction.utils import SampleList
from torch import Tensor


@MODELS.register_module()
class BatchedDataPreprocessor(ActionDataPreprocessor):
    """MMAction2's ``ActionDataPreprocessor`` with one copy per batch.

    The stock class copies clip by clip and waits for each. Here the clips are put
    together on the host, in pinned memory where the device is a GPU, and copied as
    bytes without waiting; normalization runs on the device. The result is the same.
    Clips of different sizes, which have to be padded, go the stock way.

    Args:
        **kwargs: as in MMAction2's ``ActionDataPreprocessor``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._non_blocking = True

    def cast_data(self, data: Any) -> Any:
        """Copy what a data loader returned to the device.

        Its ``inputs`` are clips; those of one size and dtype become a batch (B, ...).
        """
        if isinstance(data, Mapping) and self._fits(data.get('inputs')):
            rest = super().cast_data({k: v for k, v in data.items() if k != 'inputs'})
            return {**rest, 'inputs': self._copy(data['inputs'])}
        return super().cast_data(data)

    def preprocess(
        self,
        inputs: Tensor | list[Tensor],
        data_samples: SampleList,
        training: bool = False,
    ) -> tuple[Tensor, SampleList]:
        """Normalize and, where configured, swap colors and blend.

        Args:
            inputs (Tensor | list[Tensor]): a batch from :meth:`cast_data`, or clips to
                be padded as in MMAction2.
            data_samples (list[ActionDataSample]): one per clip.
            training (bool): whether to blend.
        """
        if not isinstance(inputs, Tensor):
            return super().preprocess(inputs, data_samples, training)
        batch = self.swap_colors(inputs)
        if hasattr(self, 'mean'):
            batch = (batch - self.mean).div_(self.std)
        elif self.to_float32:
            batch = batch.float()
        if training and self.blending is not None:
            batch, data_samples = self.blending(batch, data_samples)
        return batch, data_samples

    def swap_colors(self, clips: Tensor) -> Tensor:
        """Put the channels of clips in the order of the model, where it is another."""
        if not self.to_rgb:
            return clips
        return clips.flip(-4 if self.format_shape == 'NCTHW' else -3)

    def _fits(self, inputs: Any) -> bool:
        """Whether these are clips that make one tensor."""
        return (
            self.format_shape in ('NCHW', 'NCTHW')
            and isinstance(inputs, Sequence)
            and all(isinstance(c, Tensor) and c.device.type == 'cpu' for c in inputs)
            and len({(c.shape, c.dtype) for c in inputs}) == 1
        )

    def _copy(self, clips: Sequence[Tensor]) -> Tensor:
        """Stack on the host, copy, and put the axes in order there."""
        # Pipelines transpose without moving anything: clips lie in memory with their
        # channels last, and one core takes five times as long to stack them otherwise.
        first = clips[0]
        order = sorted(range(first.ndim), key=first.stride, reverse=True)
        stored = [clip.permute(order) for clip in clips]
        batch = torch.empty(
            (len(clips), *stored[0].shape),
            dtype=first.dtype,
            pin_memory=self.device.type == 'cuda',
        )
        torch.stack(stored, out=batch)
        batch = batch.to(self.device, non_blocking=True)
        positions = [1 + order.index(axis) for axis in range(first.ndim)]
        return batch.permute(0, *positions).contiguous()
