"""uint8 clips in, normalized batch out."""

from __future__ import annotations

from typing import Any

from mmaction.registry import MODELS
from mmaction.utils import SampleList
from torch import Tensor

from .batched_data_preprocessor import BatchedDataPreprocessor


@MODELS.register_module()
class AdaMAEDataPreprocessor(BatchedDataPreprocessor):
    """Normalize clips and fold the clips of one video into the batch.

    A pipeline that ends with ``FormatShape(input_format='NCTHW')`` gives every video
    a leading axis of clips. Masked pre-training has no use for it: several clips of
    one decoded video (repeated sampling, arXiv:2205.09113, sec. 3) are so many
    samples of the batch.

    Args:
        mean (Sequence[float]): per channel, on the scale 0 to 255.
        std (Sequence[float]): per channel, on the scale 0 to 255.
        **kwargs: as in MMAction2's ``ActionDataPreprocessor``; ``format_shape``
            defaults to ``'NCTHW'``, the only one allowed.

    Raises:
        ValueError: if mean or std is missing, or ``format_shape`` is not NCTHW.
    """

    def __init__(self, mean: Any = None, std: Any = None, **kwargs: Any) -> None:
        format_shape = kwargs.setdefault('format_shape', 'NCTHW')
        if mean is None or std is None:
            raise ValueError(
                f'AdaMAEDataPreprocessor: expected mean and std, got {mean} and {std}; '
                'the reconstruction target cannot be made without them'
            )
        if format_shape != 'NCTHW':
            raise ValueError(
                "AdaMAEDataPreprocessor: expected format_shape='NCTHW', got "
                f'{format_shape!r}'
            )
        super().__init__(mean=mean, std=std, **kwargs)

    def preprocess(
        self,
        inputs: Tensor | list[Tensor],
        data_samples: SampleList,
        training: bool = False,
    ) -> tuple[Tensor, SampleList]:
        """Normalize and fold.

        Args:
            inputs (Tensor | list[Tensor]): B videos, each (clips, C, T, H, W), uint8.
            data_samples (list[ActionDataSample]): one per video.
            training (bool): as in MMAction2.

        Returns:
            tuple[Tensor, list[ActionDataSample]]: (B * clips, C, T, H, W) float32,
            clips of a video next to each other, and a data sample for each.

        Raises:
            ValueError: if a video is not 5-dimensional, or not shaped as the others.
        """
        if inputs[0].ndim != 5:
            raise ValueError(
                'expected videos of shape (clips, C, T, H, W), got '
                f'{tuple(inputs[0].shape)}; does the pipeline end with '
                "dict(type='FormatShape', input_format='NCTHW')?"
            )
        shapes = sorted({tuple(video.shape) for video in inputs})
        if len(shapes) > 1:
            # MMAction2 would pad them with zeros, to be rebuilt by the model.
            raise ValueError(
                f'expected videos of one shape (clips, C, T, H, W), got {shapes}; does '
                'the pipeline end with a crop or Resize to one size?'
            )
        batch, data_samples = super().preprocess(inputs, data_samples, training)
        clips = batch.shape[1]
        if data_samples is not None and clips > 1:
            data_samples = [s.new() for s in data_samples for _ in range(clips)]
        return batch.flatten(0, 1), data_samples

    def denormalize(self, patches: Tensor) -> Tensor:
        """Turn normalized pixels, channels last (..., C), into those in [0, 1]."""
        return (patches * self.std.flatten() + self.mean.flatten()) / 255
