"""Masked video autoencoder: embed, sample, encode, decode, compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmaction.models.recognizers.base import BaseRecognizer
from mmaction.registry import MODELS
from mmaction.utils import ConfigType, OptConfigType, OptSampleList, SampleList
from torch import Tensor

from .backbones.masked_vit import MaskedVisionTransformer
from .build import build_part
from .tokens import (
    TokenSample,
    TrainingStep,
    check_mask,
    gather_tokens,
    patchify,
    split_ids,
)


@MODELS.register_module()
class MAERecognizer(BaseRecognizer):
    """Masked video autoencoder with any token sampler (AdaMAE, sec. 3, Algorithm 2).

    The methods take normalized clips, ``inputs``, shape (B, C, T, H, W), float, and
    where one is to be forced a ``mask``, bool, shape (B, N), True = masked.

    Args:
        backbone (dict): the encoder, a ``MaskedVisionTransformer``.
        sampler (dict): the token sampler. Token grid and width of the backbone are
            handed to it.
        decoder (dict): the decoder, which is also handed how many values of a token
            the loss wants predicted.
        loss (dict): the loss, which is handed the token grid and the shape of a
            token. Defaults to ``dict(type='AdaMAELoss')``.
        data_preprocessor (dict): an ``AdaMAEDataPreprocessor``; the target is made
            from its mean and std.
        subset (dict, optional): which of the masked tokens are predicted in training,
            a ``TokenSubset``, which is handed the token grid. Defaults to None, all.

    Attributes:
        compiled_loss (Callable, optional): see :meth:`compile_loss`.
        last_step (TrainingStep, optional): of the last :meth:`loss`, for hooks; None
            before, or if the loss is one that gives no ``token_error``.

    Raises:
        TypeError: if the backbone is another class.
        ValueError: if a part has an option that it does not know, or a size of its own
            where one is handed to it, or the backbone averages its tokens.
    """

    def __init__(
        self,
        backbone: ConfigType,
        sampler: ConfigType,
        decoder: ConfigType,
        data_preprocessor: ConfigType,
        loss: ConfigType = dict(type='AdaMAELoss'),
        subset: OptConfigType = None,
    ) -> None:
        if backbone.get('use_mean_pooling'):
            raise ValueError(
                'backbone.use_mean_pooling: expected False, because the decoder needs '
                'every token and not their mean, got True; leave it out'
            )
        super().__init__(
            backbone={**backbone, 'use_mean_pooling': False},
            data_preprocessor=MODELS.build(data_preprocessor),
        )
        encoder = self.backbone
        if not isinstance(encoder, MaskedVisionTransformer):
            raise TypeError(
                'backbone: expected a MaskedVisionTransformer, got '
                f'{type(encoder).__name__}, which cannot encode some of its tokens'
            )
        grid, width = encoder.token_grid, encoder.embed_dims
        self.sampler = build_part(sampler, grid_size=grid, in_channels=width)
        self.criterion = build_part(
            loss, grid_size=grid, token_shape=encoder.token_shape
        )
        self.subset = None if subset is None else build_part(subset, grid_size=grid)
        self.decoder = build_part(
            decoder,
            grid_size=grid,
            in_channels=width,
            out_channels=self.criterion.target.out_channels,
        )
        self.compiled_loss: Callable[..., tuple] | None = None
        self.last_step: TrainingStep | None = None

    def extract_feat(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode all tokens of clips, or the visible ones of a mask, (B, V, D)."""
        tokens = self.backbone.embed(inputs)
        visible_ids = None
        if mask is not None:
            visible_ids, _ = split_ids(mask, check_mask(mask, tokens.shape[:2]))
        return self.backbone.encode(tokens, visible_ids)

    def _forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.extract_feat(inputs, mask)

    def encode_visible(
        self, inputs: Tensor, mask: Tensor | None = None
    ) -> tuple[TokenSample, Tensor]:
        """Mask clips and encode what is left: the draw, and latents (B, V, D)."""
        tokens = self.backbone.embed(inputs)
        sample = self.sampler(tokens, mask)
        return sample, self.backbone.encode(tokens, sample.visible_ids)

    def reconstruct(
        self, inputs: Tensor, mask: Tensor | None = None
    ) -> tuple[TokenSample, Tensor]:
        """Mask clips and predict what is hidden: the draw, predictions (B, M, P)."""
        sample, latents = self.encode_visible(inputs, mask)
        return sample, self.decoder(latents, sample.visible_ids, sample.masked_ids)

    def pixels(self, inputs: Tensor, ids: Tensor | None = None) -> Tensor:
        """Give the true pixels of tokens, those with ``ids`` (B, K), int64, or all.

        Returns:
            Tensor: pixels in [0, 1], shape (B, K, P // C, C), float32.
        """
        patches = patchify(inputs, self.backbone.patch_size, self.backbone.tubelet_size)
        if ids is not None:
            patches = gather_tokens(patches, ids)
        return self.data_preprocessor.denormalize(patches)

    def loss(
        self,
        inputs: Tensor,
        data_samples: OptSampleList = None,
        mask: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the losses of a batch, see ``AdaMAELoss.forward``; uses no labels."""
        losses, self.last_step = (self.compiled_loss or self._loss)(inputs, mask)
        return losses

    def _loss(
        self, inputs: Tensor, mask: Tensor | None
    ) -> tuple[dict[str, Tensor], TrainingStep | None]:
        sample, latents = self.encode_visible(inputs, mask)
        ids, weights = sample.masked_ids, None
        if self.subset is not None:
            ids, weights = self.subset(sample.masked_ids, sample.log_probs)
        pred = self.decoder(latents, sample.visible_ids, ids)
        losses = self.criterion(pred, self.pixels(inputs, ids), sample, ids, weights)
        error, log_probs = losses.pop('token_error', None), sample.log_probs
        if error is None:
            return losses, None
        log_probs = None if log_probs is None else log_probs.detach()
        return losses, TrainingStep(error, ids, log_probs)

    def compile_loss(self, **options: Any) -> None:
        """Let :meth:`loss` run by ``torch.compile(**options)`` from now on.

        Data samples, which differ from batch to batch, stay outside of the graph.
        """
        self.compiled_loss = torch.compile(self._loss, **options)

    def predict(
        self,
        inputs: Tensor,
        data_samples: SampleList,
        mask: Tensor | None = None,
    ) -> SampleList:
        """Reconstruct a batch, for pictures and metrics.

        Returns:
            list[ActionDataSample]: the samples, each with ``mask`` (N,) bool, ``pred``
            (N, P) float32 in the space of the target, ``token_error`` (N,) float32
            and, for a learned sampler, ``probs`` (N,) float32. All in token order;
            visible tokens hold their target and the error 0.
        """
        sample, pred = self.reconstruct(inputs, mask)
        ids, patches = sample.masked_ids, self.pixels(inputs)
        errors = self.criterion.token_error(pred, gather_tokens(patches, ids), ids)
        full = self.criterion.target(patches)
        full = full.scatter(1, ids.unsqueeze(-1).expand_as(pred), pred.float())
        error = torch.zeros_like(full[..., 0]).scatter(1, ids, errors)
        for i, data_sample in enumerate(data_samples):
            data_sample.mask = sample.mask[i]
            data_sample.pred = full[i]
            data_sample.token_error = error[i]
            if sample.log_probs is not None:
                data_sample.probs = sample.log_probs[i].exp()
        return data_samples
