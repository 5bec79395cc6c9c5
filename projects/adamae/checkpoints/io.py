"""Checkpoint files: read without running what is in them, written whole or not."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from projects.adamae_command import tool_name

from ..utils.checksums import is_archive, verify_checksums
from ..utils.fileio import AtomicLocalBackend
from ..utils.safe_loading import load_torch_file
from ..utils.text import printable
from .architecture import Architecture, Weights, arch_from_config, config_text, is_valid
from .formats import abbreviate
from .transformers import arch_from_transformers, transformers_config

CONFIG_FILE = 'config.json'
_WEIGHT_FILES = ('model.safetensors', 'pytorch_model.bin')  # in order of preference
_HOLDERS = ('state_dict', 'model', 'module', 'model_state')
# Our setting and the authors' command line argument.
_RELEASED_ARGS = {
    'backbone.img_size': 'input_size',
    'backbone.num_frames': 'num_frames',
}


def read_file(path: str | Path) -> Any:
    """Read a checkpoint, without running what is in it.

    Args:
        path (str | Path): a file of torch or safetensors, or a folder of transformers.

    Returns:
        Any: content of a file of torch; that of others is laid out as MMEngine does,
        with the config of transformers under ``'config.json'``.

    Raises:
        FileNotFoundError: if there is nothing there.
        ValueError: if it is damaged or asks for other code.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise FileNotFoundError(f'checkpoint not found: {path}')
    if path.suffix == '.safetensors':
        return _read_safetensors(path)
    return load_safely(path)


def _read_folder(path: Path) -> dict[str, Any]:
    config_file = path / CONFIG_FILE
    files = [path / name for name in _WEIGHT_FILES if (path / name).is_file()]
    if not config_file.is_file() or not files:
        raise ValueError(
            f'{path}: expected a folder of transformers, with {CONFIG_FILE} and '
            f'{" or ".join(_WEIGHT_FILES)} (not in shards)'
        )
    try:
        config = json.loads(config_file.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{config_file}: not JSON: {error}') from None
    kind = config.get('model_type') if isinstance(config, dict) else None
    if kind != 'videomae':
        raise ValueError(f"{config_file}: expected model_type 'videomae', got {kind!r}")
    content = read_file(files[0])
    try:
        return {'state_dict': weights_in(content), CONFIG_FILE: config}
    except ValueError as error:
        raise ValueError(f'{files[0]}: {error}') from None


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, 'pt') as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return {'meta': file.metadata() or {}, 'state_dict': weights}
    except SafetensorError as error:
        reason = printable(str(error))  # names in the file are part of it
        raise ValueError(f'{path}: damaged or no safetensors file: {reason}') from None


def load_safely(path: str | Path, mmap: bool = False) -> Any:
    """Load a file of ``torch.save`` with torch's safe loader.

    Allowed in addition to tensors and plain values is ``argparse.Namespace``, a bag of
    values that the authors of AdaMAE and VideoMAE put into their files. With ``mmap``,
    tensors are left on the disk until they are used, and their checksums are not
    compared; else they are on the CPU.

    Raises:
        ValueError: if the file is damaged, no such file, or asks for other code.
    """
    return load_torch_file(path, mmap=mmap, allowed=[Namespace])


def check_loadable(path: str | Path) -> None:
    """Find out whether MMEngine can load a file, and whether that is undamaged.

    Raises:
        ValueError: if it cannot; says what to do.
    """
    convert_it = f'convert it with {tool_name("convert_checkpoint.py")}'
    if Path(path).suffix == '.safetensors':
        raise ValueError(f'{path}: MMEngine does not load .safetensors; {convert_it}')
    mmap = is_archive(path)  # older files of torch.save have to be read
    try:
        torch.load(path, map_location='cpu', weights_only=True, mmap=mmap)
    except Exception:  # see load_safely, which is more tolerant
        load_safely(path, mmap)
        raise ValueError(
            f'{path}: holds other objects than tensors and plain values, as the files '
            f'of the AdaMAE and VideoMAE authors do; {convert_it}'
        ) from None
    verify_checksums(path)


def read_dataset_meta(path: str | Path) -> Any:
    """Read what a checkpoint of MMEngine says of the dataset it was trained on.

    Args:
        path (str | Path): as of :func:`read_file`; tensors stay on the disk.

    Returns:
        Any: its ``meta.dataset_meta``; None if there is none.

    Raises:
        ValueError: as there.
    """
    if Path(path).is_dir() or Path(path).suffix == '.safetensors':
        return None
    content = load_safely(path, mmap=is_archive(path))
    meta = content.get('meta') if isinstance(content, dict) else None
    return meta.get('dataset_meta') if isinstance(meta, dict) else None


def weights_in(content: Any) -> dict[str, Tensor]:
    """Find the weights in the content of a checkpoint file, under the names it has.

    They are in ``state_dict`` (MMEngine), ``model`` (the authors' files), ``module``
    (DeepSpeed), ``model_state`` (PySlowFast) or are all there is.

    Raises:
        ValueError: if there are none.
    """
    if not isinstance(content, dict):
        raise ValueError(f'expected a dict of weights, got {type(content).__name__}')
    for weights in (*(content.get(key) for key in _HOLDERS), content):
        if (
            isinstance(weights, dict)
            and weights
            and all(isinstance(value, Tensor) for value in weights.values())
            and all(isinstance(name, str) for name in weights)
        ):
            return weights
    raise ValueError(f'no weights in it, only {abbreviate(map(str, content))}')


def unwrap(weights: Weights) -> dict[str, Tensor]:
    """Drop what DistributedDataParallel and torch.compile put into the names."""
    return {
        name.replace('_orig_mod.', '').removeprefix('module.'): tensor
        for name, tensor in weights.items()
    }


def stated_arch(content: Mapping[str, Any]) -> Architecture:
    """Read what makes sense of what a file says about its model beyond weights."""
    arch: Architecture = {}
    config, meta, args = (content.get(key) for key in (CONFIG_FILE, 'meta', 'args'))
    if isinstance(config, Mapping):
        arch |= arch_from_transformers(config)
    if isinstance(meta, Mapping) and isinstance(meta.get('cfg'), str):
        arch |= arch_from_config(meta['cfg'])
    if isinstance(args, Namespace):
        arch |= {k: getattr(args, arg, None) for k, arg in _RELEASED_ARGS.items()}
    return {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in arch.items()
        if is_valid(key, value)
    }


def write_file(
    path: str | Path, family: str, weights: Weights, arch: Architecture
) -> None:
    """Write a checkpoint as a code base expects it.

    Args:
        path (str | Path): a file, written with safetensors if it ends so; for
            ``'transformers'``, a folder.
        family (str): one of ``formats.FAMILIES``.
        weights (Mapping[str, Tensor]): under the names of that code base.
        arch (Architecture): of these weights.

    Raises:
        ValueError: if the code base needs to know more than ``arch`` says.
    """
    path = Path(path)
    # Parts of one tensor share its memory, which safetensors rejects.
    weights = {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in weights.items()
    }
    meta = {'cfg': config_text(arch)}
    if family == 'transformers':
        config = json.dumps(transformers_config(arch), indent=2)
        _write(path / _WEIGHT_FILES[0], _safetensors(weights, {}))
        _write(path / CONFIG_FILE, config.encode())
    elif path.suffix == '.safetensors':
        _write(path, _safetensors(weights, meta))
    else:
        ours = {'meta': meta, 'state_dict': weights}
        buffer = BytesIO()
        torch.save({'model': weights} if family == 'released' else ours, buffer)
        _write(path, buffer.getbuffer())


def _write(path: Path, content: bytes | memoryview) -> None:
    AtomicLocalBackend().put(content, path)


def _safetensors(weights: dict[str, Tensor], meta: dict[str, str]) -> bytes:
    from safetensors.torch import save

    return save(weights, {'format': 'pt', **meta})
