"""Training steps to compare: ours, plain modules, and MMAction2's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from reference_models import PlainMAE
from torch import Tensor, nn
from worker_processes import matrix_rate, peak_memory, timed

from projects.adamae.analysis import flops
from projects.adamae.engine.hooks.compile_hook import compile_model
from projects.adamae.models.mae_recognizer import MAERecognizer
from projects.adamae.utils import cpu


class Step(NamedTuple):
    """A model and how it is trained.

    Attributes:
        model (nn.Module): on its device, in training mode.
        loss (Callable): of a forced mask, bool (B, N), or None to draw one; returns a
            scalar.
        update (Callable): of the loss: backward pass, update, gradients freed.
    """

    model: nn.Module
    loss: Callable[[Tensor | None], Tensor]
    update: Callable[[Tensor], None]


def serve(connection: Connection, **kwargs: Any) -> None:
    """Answer ``loss``, ``step`` (seconds), ``rate`` (FLOP/s) and ``peak`` (bytes).

    Args:
        connection (Connection): of a ``Worker``.
        **kwargs: arguments of :func:`make_step`, and ``onednn`` (bool): whether to
            multiply as :class:`projects.adamae.engine.hooks.OneDNNHook` does.
    """
    if kwargs.pop('onednn', False):
        cpu.use_onednn()
    device = torch.device(kwargs.pop('device'))
    dtype = getattr(torch, kwargs['dtype'])
    step = make_step(device=device, **kwargs)
    while True:
        command = connection.recv()
        if command == 'loss':
            torch.manual_seed(1)  # the same dropout for all
            answer = step.loss(forced_mask(step.model, kwargs['batch_size'])).item()
        elif command == 'step':
            answer = timed(lambda: step.update(step.loss(None)), device)
        elif command == 'rate':
            answer = matrix_rate(device, dtype)
        else:
            answer = peak_memory(device)
        connection.send(answer)


def make_step(
    which: str,
    cfg: dict[str, Any],
    batch_size: int,
    device: torch.device,
    dtype: str = 'float32',
    compile: bool = False,
) -> Step:
    """Build a model with the weights of seed 0, and its optimizer.

    Args:
        which (str): ``'ours'`` or ``'baseline'``.
        cfg (dict): of a ``MAERecognizer``, whose baseline is :class:`PlainMAE`, or of
            a ``Recognizer3D``, whose baseline is MMAction2's ``VisionTransformer``.
        batch_size (int): clips.
        device (torch.device): where.
        dtype (str): that of autocast; ``'float32'`` for none. Defaults to it.
        compile (bool): compile ours. Defaults to False.

    Returns:
        Step: the same function for both, drawn masks apart.
    """
    init_default_scope('mmaction')
    MMLogger.get_current_instance().setLevel('WARNING')
    torch.manual_seed(0)
    ours = MODELS.build(cfg['model'])
    ours.init_weights()
    clips = torch.randn(batch_size, 3, *ours.backbone.clip_size, device=device)
    model: nn.Module = ours
    if which == 'baseline':
        if isinstance(ours, MAERecognizer):
            model = reference_model(ours)
        else:
            model = mmaction_model(ours, cfg['model'])
    model.to(device).train()
    if compile and which == 'ours':
        compile_model(model)
    amp = None if dtype == 'float32' else getattr(torch, dtype)
    samples = [ActionDataSample().set_gt_label(0) for _ in range(batch_size)]

    def loss(mask: Tensor | None) -> Tensor:
        mask = None if mask is None else mask.to(device)
        with torch.autocast(device.type, amp) if amp else nullcontext():
            if isinstance(model, PlainMAE):
                return model(clips, model.mean, model.std, mask)[0]
            if isinstance(model, MAERecognizer):
                losses = model.loss(clips, mask=mask)
            else:
                losses = model(clips.unsqueeze(1), samples, mode='loss')
        return ours.parse_losses(losses)[0]

    if isinstance(model, PlainMAE):
        settings = {
            k: v
            for k, v in cfg['optim_wrapper']['optimizer'].items()
            if k not in ('type', 'fused')
        }
        optimizer = torch.optim.AdamW(model.parameters(), **settings)

        def update(value: Tensor) -> None:
            value.backward()
            optimizer.step()
            optimizer.zero_grad()

        return Step(model, loss, update)
    wrapper_cfg = {**cfg['optim_wrapper'], 'type': 'OptimWrapper'}
    if which == 'baseline':
        wrapper_cfg['optimizer'] = {**wrapper_cfg['optimizer'], 'fused': None}
    wrapper = build_optim_wrapper(model, wrapper_cfg)
    return Step(model, loss, wrapper.update_params)


# Where PlainMAE has the weights of ours.
_PLAIN_NAMES = (
    (r'backbone\.patch_embed\.projection', 'embed'),
    (r'backbone\.pos_embed', 'pos'),
    (r'backbone\.blocks', 'encoder'),
    (r'backbone\.norm', 'norm'),
    (r'sampler\.pos_embed', 'sampler_pos'),
    (r'sampler\.blocks', 'scores'),
    (r'decoder\.pos_embed', 'decoder_pos'),
    (r'decoder\.embed', 'to_decoder'),
    (r'decoder\.mask_token', 'mask_token'),
    (r'decoder\.norm', 'decoder_norm'),
    (r'decoder\.head', 'head'),
    (r'decoder\.blocks', 'decoder'),
    (r'(.*\.mlp)\.layers\.0\.0', r'\1.0'),
    (r'(.*\.mlp)\.layers\.1', r'\1.2'),
)


def reference_model(model: MAERecognizer) -> PlainMAE:
    """Build plain modules that compute what a model does.

    Args:
        model (MAERecognizer): with AdaMAE's sampler as wide as its tokens, decoder and
            loss.

    Returns:
        PlainMAE: with copies of its weights, and ``mean`` and ``std`` in [0, 1].
    """
    encoder, sampler, decoder = model.backbone, model.sampler, model.decoder
    plain = PlainMAE(
        visible=sampler.num_visible,
        grid=encoder.token_grid,
        width=encoder.embed_dims,
        depth=len(encoder.blocks),
        heads=encoder.blocks[0].attn.num_heads,
        decoder_width=decoder.embed.out_features,
        decoder_depth=len(decoder.blocks),
        decoder_heads=decoder.blocks[0].attn.num_heads,
        sampler_depth=len(sampler.blocks),
        sampler_heads=sampler.blocks[0].attn.num_heads,
        patch=encoder.patch_size,
        tubelet=encoder.tubelet_size,
    )
    names = (*_PLAIN_NAMES, (r'sampler\.head', f'scores.{len(sampler.blocks)}'))
    weights = {**model.state_dict(), 'decoder.pos_embed': decoder.pos_embed}
    copies = {}
    for name, weight in weights.items():
        if name.endswith('v_bias'):
            continue
        if name.endswith('q_bias'):
            v_bias = weights[name.replace('q_bias', 'v_bias')]
            weight = torch.cat([weight, torch.zeros_like(weight), v_bias])
            name = name.replace('q_bias', 'qkv.bias')
        for ours, theirs in names:
            name = re.sub(f'^{ours}', theirs, name)
        copies[name] = weight
    plain.load_state_dict(copies)
    stacks: list[tuple[Any, Any, float]] = [
        (plain.encoder, encoder.blocks, encoder.norm.eps),
        (plain.decoder, decoder.blocks, decoder.norm.eps),
        (plain.scores[:-1], sampler.blocks, sampler.blocks[0].norm1.eps),
    ]
    plain.norm.eps, plain.decoder_norm.eps = encoder.norm.eps, decoder.norm.eps
    for stack, blocks, eps in stacks:
        for copy, block in zip(stack, blocks, strict=True):
            copy.norm1.eps = copy.norm2.eps = eps
            copy.drop.p = getattr(block.drop_path, 'p', 0.0)
    plain.register_buffer('mean', model.data_preprocessor.mean / 255)
    plain.register_buffer('std', model.data_preprocessor.std / 255)
    return plain


def mmaction_model(model: nn.Module, model_cfg: dict[str, Any]) -> nn.Module:
    """Build the same classifier with MMAction2's ``VisionTransformer``."""
    backbone = {k: v for k, v in model_cfg['backbone'].items() if k != 'with_cp'}
    backbone['type'] = 'VisionTransformer'
    copy = MODELS.build({**model_cfg, 'backbone': backbone})
    copy.load_state_dict(model.state_dict())
    return copy


def check_comparable(model_cfg: dict[str, Any]) -> None:
    """Raise ValueError if :func:`make_step` has no baseline for a part of a model."""
    expected = dict(backbone='MaskedVisionTransformer')
    if model_cfg['type'] == 'MAERecognizer':
        expected.update(
            sampler='AdaptiveSamplerHead', decoder='MAEDecoder', loss='AdaMAELoss'
        )
    for part, wanted in expected.items():
        found = (model_cfg.get(part) or {}).get('type', wanted)
        if found != wanted:
            raise ValueError(
                f'model.{part}.type: expected {wanted}, which there is a baseline for, '
                f'got {found}; name another config with --config'
            )


def forced_mask(model: nn.Module, batch_size: int) -> Tensor | None:
    """Draw the mask of both sides: bool, shape (B, N); None for a classifier."""
    if isinstance(model, MAERecognizer):
        visible, tokens = model.sampler.num_visible, model.sampler.num_tokens
    elif isinstance(model, PlainMAE):
        visible, tokens = model.visible, model.tokens
    else:
        return None
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch_size, tokens, generator=generator).argsort(1) >= visible


def flops_by_part(model_cfg: dict[str, Any]) -> dict[str, int]:
    """Count the arithmetic of a training step by part, counted as in ``flops``.

    The backward pass costs twice the forward pass, and once in the tokenizer, whose
    input is pixels. Recomputation and the optimizer are not counted. In FLOP per clip,
    a multiply-add counted as two.
    """
    return {
        part.name: 2 * part.multiply_adds * (2 if part.name == 'tokenizer' else 3)
        for part in flops.count(model_cfg)
    }


def as_dict(cfg: Config) -> dict[str, Any]:
    """Keep what a step needs of a config, as plain dicts that another process reads."""
    return Config(dict(model=cfg.model, optim_wrapper=cfg.optim_wrapper)).to_dict()
