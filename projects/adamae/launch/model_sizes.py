"""Sizes are stated once, in the model: the rest of a config follows."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from ..datasets.from_config import SPLITS
from ..utils.sizes import height_and_width
from .distributed import rank_and_local_rank


def follow_model(cfg: Config) -> None:
    """Give the rest of a config the sizes of its model, in place; logs what changes.

    - Pipelines, also those of hooks: ``clip_len`` becomes ``backbone.num_frames``. If
      a pipeline ends in square images of one fixed size, each of its arguments of that
      size becomes ``backbone.img_size``; other sizes stay, such as that of a resize to
      256 before a crop to 224. Where the model's clips are no squares, a ``Resize`` of
      the short side becomes a ``ResizeToCover``.
    - Metrics: ``patch_size`` and ``tubelet_size`` become those of the backbone.
    - Blending: ``num_classes`` becomes that of ``cls_head``.

    What the model does not state is left alone.

    Args:
        cfg (Config): bases and options are merged.
    """
    model = cfg.get('model') or {}
    backbone = model.get('backbone') or {}
    classes = (model.get('cls_head') or {}).get('num_classes')
    changed = []
    for part in (*(f'{split}_dataloader' for split in SPLITS), 'custom_hooks'):
        for key, node in iter_dicts(cfg.get(part), part):
            if _set_clip_size(node.get('pipeline'), backbone):
                changed.append(f'{key}.pipeline')
    for part in ('val_evaluator', 'test_evaluator'):
        for key, node in iter_dicts(cfg.get(part), part):
            for name in ('patch_size', 'tubelet_size'):
                if _set(node, name, backbone.get(name)):
                    changed.append(f'{key}.{name}')
    part = 'model.data_preprocessor'
    for key, node in iter_dicts(model.get('data_preprocessor'), part):
        if _set(node, 'num_classes', classes):
            changed.append(f'{key}.num_classes')
    if changed and rank_and_local_rank()[0] == 0:
        print_log(f'changed to the sizes of the model: {", ".join(changed)}', 'current')


def iter_dicts(node: Any, key: str = '') -> Iterator[tuple[str, dict]]:
    """Walk through every dict in a part of a config, outer ones first.

    Args:
        node (Any): a config or a value of it.
        key (str): where it stands in the whole config. Defaults to ``''``: it is that.

    Yields:
        tuple[str, dict]: key and dict.
    """
    children: dict[Any, Any] = {}
    if isinstance(node, Config):
        node = node._cfg_dict
    if isinstance(node, dict):
        yield key, node
        children = node
    elif isinstance(node, list | tuple):
        children = dict(enumerate(node))
    for name, child in children.items():
        yield from iter_dicts(child, f'{key}.{name}' if key else str(name))


def _set(node: dict, name: str, value: Any) -> bool:
    """Change an argument that is stated; tell whether it was another."""
    if value is None or node.get(name, value) == value:
        return False
    node[name] = value
    return True


def _set_clip_size(pipeline: Any, backbone: dict) -> bool:
    """Change the size of a pipeline's clips; tell whether it was another."""
    steps = [step for _, step in iter_dicts(pipeline)]
    changed = [_set(step, 'clip_len', backbone.get('num_frames')) for step in steps]
    outputs = [sides for sides in map(_output_sides, steps) if sides]
    size = frame_size(backbone)
    if size and outputs and len(outputs[-1]) == 1:
        (old,) = outputs[-1]
        height, width = size
        for step in steps:
            if height != width and step.get('scale') in ((-1, old), [-1, old]):
                changed.append(_set(step, 'type', 'ResizeToCover'))
                changed.append(_set(step, 'scale', (width, height)))
            for name in ('scale', 'input_size', 'crop_size', 'size'):
                value = step.get(name)
                if isinstance(value, list | tuple):
                    sides = zip(value, (width, height), strict=False)
                    value = type(value)(new if v == old else v for v, new in sides)
                elif value == old:
                    value = height if height == width else (width, height)
                changed.append(_set(step, name, value))
    return any(changed)


def frame_size(backbone: dict) -> tuple[int, int] | None:
    """Give height and width of the clips of a model; another's may be anything."""
    try:
        return height_and_width(backbone['img_size'])
    except (KeyError, ValueError):
        return None


def _output_sides(step: dict) -> set[Any]:
    """Give width and height of the images that a step makes, if they are fixed."""
    size = step.get('crop_size', step.get('size'))
    if size is None and step.get('keep_ratio') is False:
        size = step.get('scale')
    sides = set(size) if isinstance(size, list | tuple) else {size}
    return sides if all(isinstance(side, int) for side in sides) else set()
