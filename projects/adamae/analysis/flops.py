"""Parameters and arithmetic of a model, part by part, without its memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
from mmaction.models import Recognizer3D
from mmaction.models.recognizers.base import BaseRecognizer
from mmaction.registry import MODELS
from mmaction.utils import ConfigType
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..models.mae_recognizer import MAERecognizer
from ..utils.meta import without_weights


class Part(NamedTuple):
    """What a part of a model costs.

    Attributes:
        name (str): tokenizer, sampler, encoder, decoder or head.
        parameters (int): their number.
        multiply_adds (int): for a forward pass of one clip.
    """

    name: str
    parameters: int
    multiply_adds: int


@torch.no_grad()
def count(model_cfg: ConfigType, clip: tuple[int, ...] | None = None) -> list[Part]:
    """Count parameters and multiply-adds of a model's forward pass.

    Counted are convolutions and matrix products, the two of attention included; not
    norms, activations, sums and losses, as usual. Pre-training is counted with the
    visible tokens of its mask ratio only.

    Args:
        model_cfg (dict): of a ``MAERecognizer`` or ``Recognizer3D``.
        clip (tuple[int, ...], optional): C, T, H, W. Defaults to what the backbone
            was built for, if it says so.

    Returns:
        list[Part]: the parts, in the order in which they run.

    Raises:
        ValueError: if it is another kind of model, or the size of a clip is unknown or
            not one of the model.
    """
    with without_weights():
        model = MODELS.build(model_cfg)
    if not isinstance(model, MAERecognizer | Recognizer3D):
        raise ValueError(
            'expected the config of a MAERecognizer or Recognizer3D, got '
            f'{type(model).__name__}'
        )
    backbone = model.backbone
    if clip is None:
        if not hasattr(backbone, 'clip_size'):
            raise ValueError(
                f'{type(backbone).__name__} does not state the size of its clips: '
                'state it with --clip'
            )
        clip = (backbone.in_channels, *backbone.clip_size)
    model = model.to('meta').eval()
    modules = _parts(model)
    try:
        flops = _flops(model, modules, torch.empty(1, *clip, device='meta'))
    except RuntimeError as error:  # of a backbone that does not check its clips
        sizes = ' x '.join(map(str, clip))
        raise ValueError(
            f'a clip of {sizes} (C x T x H x W) does not fit {type(backbone).__name__}:'
            f' {error}'
        ) from None
    parameters = {name: _parameters(module) for name, module in modules.items()}
    if 'decoder' in modules:
        for counts in (flops, parameters):
            counts['decoder'] -= counts['head']
    # All the rest of the model, so that the parts always add up.
    flops['encoder'] = flops.pop('total') - sum(flops.values())
    parameters['encoder'] = _parameters(model) - sum(parameters.values())
    order = ('tokenizer', 'sampler', 'encoder', 'decoder', 'head')
    return [Part(n, parameters[n], flops[n] // 2) for n in order if n in flops]


def _parts(model: BaseRecognizer) -> dict[str, nn.Module]:
    """Name the parts of a model, all but the encoder."""
    modules = {'tokenizer': getattr(model.backbone, 'patch_embed', None)}
    if isinstance(model, MAERecognizer):
        modules.update(
            sampler=model.sampler, decoder=model.decoder, head=model.decoder.head
        )
    elif model.with_cls_head:
        modules['head'] = model.cls_head
    return {name: module for name, module in modules.items() if module is not None}


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _flops(
    model: BaseRecognizer, modules: dict[str, nn.Module], clip: Tensor
) -> dict[str, int]:
    """Count the operations of a forward pass, in all and inside of some modules."""
    flops = dict.fromkeys(modules, 0)
    # On this device attention runs as two matrix products, which are counted; the
    # fused kernel of the CPU would not be.
    with FlopCounterMode(display=False) as counter:
        for name, module in modules.items():

            def before(*_: object, name: str = name) -> None:
                flops[name] -= counter.get_total_flops()

            def after(*_: object, name: str = name) -> None:
                flops[name] += counter.get_total_flops()

            module.register_forward_pre_hook(before)
            module.register_forward_hook(after)
        if isinstance(model, MAERecognizer):
            model.reconstruct(clip)
        else:
            stage = 'head' if model.with_cls_head else 'backbone'
            model.extract_feat(clip[None], stage=stage)
    return {**flops, 'total': counter.get_total_flops()}
