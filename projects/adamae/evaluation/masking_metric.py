"""What a token sampler looks at, and what that does to the reconstruction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmaction.registry import METRICS
from mmengine.evaluator import BaseMetric
from torch import Tensor

from ..models.tokens import patchify


def object_tokens(
    object_mask: np.ndarray | Tensor, patch_size: int, tubelet_size: int
) -> Tensor:
    """Find the tokens that touch the object with at least one pixel.

    Args:
        object_mask (np.ndarray | Tensor): bool, shape (T, H, W), True = object.
        patch_size (int): pixels along each side of a token.
        tubelet_size (int): frames in a token.

    Returns:
        Tensor: bool, shape (N,), on the CPU.

    Raises:
        ValueError: if the mask is not a whole number of tokens.
    """
    mask = torch.as_tensor(object_mask).cpu()
    if mask.ndim != 3 or any(
        size % part
        for size, part in zip(
            mask.shape, (tubelet_size, patch_size, patch_size), strict=True
        )
    ):
        raise ValueError(
            'object_mask: expected (T, H, W), whole tokens of '
            f'{tubelet_size} x {patch_size} x {patch_size}, got {tuple(mask.shape)}'
        )
    return patchify(mask[None, None], patch_size, tubelet_size).flatten(2).any(-1)[0]


@METRICS.register_module()
class MaskingMetric(BaseMetric):
    """Reconstruction error, and how much a sampler prefers the moving object.

    Over all tokens of the dataset, with ``object_mask`` in the data samples:

    - ``reconstruction``: mean error of the masked tokens;
    - ``error_object``, ``error_background``: of those that touch the object or not;
    - ``enrichment``: share of the visible tokens that touch the object over the share
      of all tokens that do; 1 for random sampling;
    - ``prob_mass_object``: probability on tokens that touch the object over the same
      share: the enrichment of the first token drawn, without the randomness in it. Only
      for a learned sampler.

    Without object masks: only ``reconstruction``. A mean over nothing is nan. Videos
    that could not be read are left out.

    Args:
        patch_size (int): pixels along each side of a token.
        tubelet_size (int): frames in a token. Defaults to 2.
        collect_device (str): as in MMEngine. Defaults to ``'cpu'``.
        prefix (str, optional): as in MMEngine. Defaults to None: ``'masking'``.
    """

    default_prefix = 'masking'

    def __init__(
        self,
        patch_size: int,
        tubelet_size: int = 2,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.patch_size = patch_size
        self.tubelet_size = tubelet_size

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count one batch.

        Args:
            data_batch (Any): what was loaded, ``inputs`` one per video.
            data_samples (Sequence[dict]): predictions of ``MAERecognizer``: ``mask``
                (N,), ``token_error`` (N,), perhaps ``probs`` (N,) and ``object_mask``
                (T, H, W).

        Raises:
            ValueError: if an object mask does not have as many tokens as the clip,
                or a video more than one clip.
        """
        if data_batch is not None and len(data_batch['inputs']) != len(data_samples):
            # MMEngine keeps as many results as there are videos and drops the rest.
            raise ValueError(
                'MaskingMetric: expected one clip per video, got '
                f'{len(data_samples)} of {len(data_batch["inputs"])} videos; set '
                'num_clips=1 in the pipeline'
            )
        for sample in data_samples:
            if 'unreadable' in sample:  # its pixels are those of another video
                self.results.append({})
                continue
            masked = sample['mask'].cpu()
            error = sample['token_error'].cpu().double()
            sums = dict(masked=masked.sum(), error=error[masked].sum())
            if 'object_mask' in sample:
                touch = object_tokens(
                    sample['object_mask'], self.patch_size, self.tubelet_size
                )
                if touch.shape != masked.shape:
                    raise ValueError(
                        f'expected the object mask of {len(masked)} tokens, got '
                        f'{len(touch)}; are patch_size={self.patch_size} and '
                        f'tubelet_size={self.tubelet_size} those of the model?'
                    )
                sums.update(
                    tokens=torch.tensor(len(touch)),
                    object=touch.sum(),
                    visible_object=(touch & ~masked).sum(),
                    error_object=error[masked & touch].sum(),
                )
                if 'probs' in sample:
                    sums['probability_object'] = sample['probs'].cpu()[touch].sum()
            self.results.append({key: float(value) for key, value in sums.items()})

    def compute_metrics(self, results: list[dict[str, float]]) -> dict[str, float]:
        """Put the counts of all clips together.

        Args:
            results (list[dict[str, float]]): what :meth:`process` kept, one per clip.

        Returns:
            dict[str, float]: see the class.

        Raises:
            ValueError: if some clips have an object mask or probabilities, and others
                have not.
        """
        results = [result for result in results if result]
        if any(result.keys() != results[0].keys() for result in results):
            raise ValueError(
                'expected object_mask and probs in all data samples or in none'
            )
        n = {key: float(sum(r[key] for r in results)) for key in results[0]}
        metrics = dict(reconstruction=_ratio(n['error'], n['masked']))
        if 'object' in n:
            share = _ratio(n['object'], n['tokens'])
            masked_object = n['object'] - n['visible_object']
            metrics.update(
                error_object=_ratio(n['error_object'], masked_object),
                error_background=_ratio(
                    n['error'] - n['error_object'], n['masked'] - masked_object
                ),
                enrichment=_ratio(
                    n['visible_object'], (n['tokens'] - n['masked']) * share
                ),
            )
        if 'probability_object' in n:
            metrics['prob_mass_object'] = _ratio(
                n['probability_object'], len(results) * share
            )
        return metrics


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float('nan')
