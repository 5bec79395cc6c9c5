"""A training step in a file: all that is needed to repeat it on another machine."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from mmaction.structures import ActionDataSample
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor

from ...checkpoints.io import load_safely
from ...utils.fileio import save_atomically
from .update_guard import enabled_scaler

_KIND = 'fault report of a training step, 1'
# What a float32 can be whose square is one, too.
_LARGEST = torch.finfo(torch.float32).max ** 0.5


def random_state(device: torch.device) -> dict[str, Any]:
    """Read the random number generators of this process, without a wait for a GPU.

    Args:
        device (torch.device): of the model.

    Returns:
        dict: of tensors and plain values.
    """
    name, keys, *rest = np.random.get_state()
    state = dict(
        torch=torch.get_rng_state(),
        numpy=(name, torch.from_numpy(keys), *rest),
        python=random.getstate(),
    )
    if device.type == 'cuda':
        state['cuda'] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Put the generators where :func:`random_state` read them."""
    torch.set_rng_state(state['torch'])
    name, keys, *rest = state['numpy']
    np.random.set_state((name, keys.numpy(), *rest))
    version, numbers, gauss = state['python']
    random.setstate((version, tuple(numbers), gauss))
    if 'cuda' in state and device.type == 'cuda':
        torch.cuda.set_rng_state(state['cuda'], device)


def repeat_step(
    model: BaseModel, wrapper: OptimWrapper, batch: Any, state: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Run forward and backward pass of a step, in this process alone.

    Args:
        model (BaseModel): without a wrapper of distributed training.
        wrapper (OptimWrapper): its precision and loss scale are used.
        batch (dict): from the data loader.
        state (dict): of the random number generators, of :func:`random_state`.

    Returns:
        tuple[dict[str, Tensor], dict[str, Tensor]]: the losses, and the gradients by
        the names of weights, scaled by the loss scaler if there is one. ``grad`` of the
        weights stays as it is.
    """
    device = next(model.parameters()).device
    set_random_state(state, device)
    with wrapper.optim_context(model):
        data = model.data_preprocessor(batch, True)
        losses = model(**data, mode='loss')
    loss, losses = model.parse_losses(losses)
    scaler = enabled_scaler(wrapper)
    loss = loss if scaler is None else scaler.scale(loss)
    params = {k: p for k, p in model.named_parameters() if p.requires_grad}
    # Not backward(): DistributedDataParallel would exchange them.
    grads = torch.autograd.grad(loss, [*params.values()], allow_unused=True)
    known = {k: g for k, g in zip(params, grads, strict=True) if g is not None}
    return losses, known


def loss_scale(wrapper: OptimWrapper) -> float:
    """Read what losses are multiplied by, 1 without a loss scaler."""
    scaler = enabled_scaler(wrapper)
    return 1.0 if scaler is None else scaler.get_scale()


def is_bad(tensor: Tensor, largest: float = float('inf')) -> bool:
    """Whether a number is NaN, infinite or larger than ``largest``."""
    return bool(tensor.is_floating_point() and not (tensor.abs() < largest).all())


def bad_gradients(grads: Mapping[str, Tensor], scale: float = 1.0) -> list[str]:
    """Name gradients that are not finite, or their squares are not."""
    return [name for name, grad in grads.items() if is_bad(grad, _LARGEST * scale)]


def bad_state(state: Mapping[str, Any]) -> list[str]:
    """Name what is not finite in an optimizer's ``state_dict``, as ``3.exp_avg_sq``."""
    return [
        f'{index}.{key}'
        for index, part in state.get('state', {}).items()
        for key, value in part.items()
        if torch.is_tensor(value) and is_bad(value)
    ]


def digests(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Compute a checksum of the bytes of every tensor."""
    return {
        name: crc32(tensor.detach().cpu().flatten().view(torch.uint8).numpy().data)
        for name, tensor in tensors.items()
    }


def write_report(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a report, whole or not at all.

    Args:
        path (str | Path): of the file.
        content (Mapping): tensors and plain values; anything else is left out, and
            ``batch`` is a batch of the data loader.

    Raises:
        OSError: if the disk is full or gone.
    """
    known = {**content, 'batch': _pack_batch(content['batch'])}
    save_atomically({'kind': _KIND, **_plain(known)}, path)


def read_report(path: str | Path) -> dict[str, Any]:
    """Read a report, without running what is in it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or no report.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'report not found: {path}')
    content = load_safely(path)
    if not isinstance(content, dict) or content.get('kind') != _KIND:
        raise ValueError(
            f'{path}: expected a report that a stopped run wrote, fault_iter_*.pth'
        )
    return {**content, 'batch': _unpack_batch(content['batch'])}


def sample_paths(batch: Any) -> list[str]:
    """Name the files of a batch, '?' where its samples do not say."""
    samples = batch.get('data_samples') if isinstance(batch, Mapping) else None
    metas = [getattr(sample, 'metainfo', {}) for sample in _flat(samples or [])]
    return [str(m.get('filename') or m.get('frame_dir') or '?') for m in metas]


def _flat(items: Any) -> Iterable[Any]:
    for item in items:
        if isinstance(item, list | tuple):
            yield from _flat(item)
        else:
            yield item


def _pack_batch(batch: Any) -> Any:
    """Turn data samples into dicts."""
    if isinstance(batch, ActionDataSample):
        return {'fields': dict(batch.items()), 'meta': dict(batch.metainfo_items())}
    if isinstance(batch, Mapping):
        return {key: _pack_batch(value) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return [_pack_batch(value) for value in batch]
    return batch


def _unpack_batch(batch: Any) -> Any:
    if isinstance(batch, dict):
        if batch.keys() == {'fields', 'meta'}:
            sample = ActionDataSample(metainfo=batch['meta'])
            for name, value in batch['fields'].items():
                sample.set_field(value, name)
            return sample
        return {key: _unpack_batch(value) for key, value in batch.items()}
    return [*map(_unpack_batch, batch)] if isinstance(batch, list) else batch


def _plain(value: Any) -> Any:
    """Keep what the safe loader reads."""
    if isinstance(value, Tensor):
        # A view would be written with all of what it is a view of.
        return value.detach().cpu().clone()
    if isinstance(value, np.ndarray):
        return _plain(torch.from_numpy(value)) if value.dtype.kind in 'biuf' else None
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [*map(_plain, value)]
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)  # and no subclass of it
    return None
