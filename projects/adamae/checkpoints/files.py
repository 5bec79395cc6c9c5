"""Checkpoint files: read without running what is in them, written whole or not."""

from __future__ import annotations

import io
import json
import pickle
import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import is_zipfile

import torch
from torch import Tensor

from ..utils.fileio import AtomicLocalBackend
from .architecture import RELEASED_ARGS, Architecture, config_text, said_by_config
from .formats import weights_in
from .transformers import said_by_transformers, transformers_config

#: Files of a transformers folder, in the order of preference.
TRANSFORMERS_FILES = ('model.safetensors', 'pytorch_model.bin')

_NOT_WEIGHTS = {
    'ema_state_dict': 'the raw weights of a run with EMA; state_dict holds the average',
    'model_ema': 'the averaged weights',
    'meta': 'about the training run, but for the sizes of the model',
    'args': 'about the training run, but for the sizes of the model',
}


class Source(NamedTuple):
    """What a checkpoint file holds.

    Attributes:
        weights (Mapping[str, Tensor]): under the names of the file, on the CPU.
        said (Architecture): what it says about the model beside them.
        left_out (dict[str, str]): its other content, and what that is.
    """

    weights: Mapping[str, Tensor]
    said: Architecture
    left_out: dict[str, str]


def read_checkpoint(path: str | Path) -> Source:
    """Read a checkpoint.

    Args:
        path (str | Path): a file of torch or safetensors, or a folder of transformers.

    Returns:
        Source: its content.

    Raises:
        FileNotFoundError: if there is nothing there.
        ValueError: if it is damaged, holds other objects than tensors and plain
            values, or no weights.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise FileNotFoundError(f'checkpoint not found: {path}')
    if path.suffix == '.safetensors':
        weights, meta = _read_safetensors(path)
        return Source(weights, said_by_config(meta.get('cfg', '')), {})
    content = load_safely(path)
    try:
        weights = weights_in(content)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None
    other = {k: v for k, v in content.items() if v is not weights}
    if weights is content:
        other = {}
    # Of a model inside DistributedDataParallel.
    weights = {name.removeprefix('module.'): t for name, t in weights.items()}
    said = said_by_config(_text(other.get('meta'), 'cfg'))
    args = vars(other['args']) if isinstance(other.get('args'), Namespace) else {}
    said |= {ours: args[arg] for ours, arg in RELEASED_ARGS.items() if arg in args}
    return Source(
        weights, said, {str(k): _NOT_WEIGHTS.get(k, 'training state') for k in other}
    )


def _text(meta: Any, key: str) -> str:
    text = meta.get(key) if isinstance(meta, Mapping) else None
    return text if isinstance(text, str) else ''


def _read_folder(path: Path) -> Source:
    config_file = path / 'config.json'
    files = [path / name for name in TRANSFORMERS_FILES if (path / name).is_file()]
    if not config_file.is_file() or not files:
        raise ValueError(
            f'{path}: expected a folder of transformers, with config.json and '
            f'{" or ".join(TRANSFORMERS_FILES)} (not in shards)'
        )
    try:
        config = json.loads(config_file.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{config_file}: not JSON: {error}') from None
    if config.get('model_type') != 'videomae':
        raise ValueError(
            f"{config_file}: expected model_type 'videomae', got "
            f'{config.get("model_type")!r}'
        )
    source = read_checkpoint(files[0])
    left_out = {'config.json': 'names of classes and settings of training, if any'}
    return Source(source.weights, said_by_transformers(config), left_out)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, 'pt') as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return weights, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f'{path}: damaged or no safetensors file: {error}') from None


def load_safely(path: str | Path, mmap: bool = False) -> Any:
    """Load a file of ``torch.save`` with torch's safe loader.

    Allowed beside tensors and plain values is ``argparse.Namespace``, a bag of values
    that the authors of AdaMAE and VideoMAE put into their files.

    Args:
        path (str | Path): the file.
        mmap (bool): leave tensors on the disk until they are used. Defaults to False.

    Returns:
        Any: its content, tensors on the CPU.

    Raises:
        ValueError: if the file is damaged, no such file, or asks for other code.
    """
    try:
        with torch.serialization.safe_globals([Namespace]):
            return torch.load(path, map_location='cpu', weights_only=True, mmap=mmap)
    # What a damaged file makes the loader stumble over has no end: struct.error,
    # IndexError, OSError, ... Its text is not passed on: it may advise to run the code.
    except Exception as error:
        unsafe = re.search(
            r'(?:GLOBAL|class|function|global)\W+([\w.]+\.\w+)', str(error)
        )
        if isinstance(error, pickle.UnpicklingError) and unsafe:
            raise ValueError(
                f'{path}: refused, it asks to run {unsafe[1]}; a checkpoint may hold '
                'tensors and plain values only'
            ) from None
        reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
        raise ValueError(
            f'{path}: damaged, a part of a file, or not one of torch.save ({reason}); '
            'name another, or copy it again'
        ) from None


def check_loadable(path: str | Path) -> None:
    """Find out whether MMEngine can load a checkpoint, mostly without reading it.

    Args:
        path (str | Path): an existing file.

    Raises:
        ValueError: if it cannot; says what to do.
    """
    convert_it = 'convert it with tools/convert_checkpoint.py'
    if Path(path).suffix == '.safetensors':
        raise ValueError(f'{path}: MMEngine does not load .safetensors; {convert_it}')
    mmap = is_zipfile(path)  # older files of torch.save have to be read
    try:
        torch.load(path, map_location='cpu', weights_only=True, mmap=mmap)
    except Exception:  # see load_safely, which is more tolerant
        load_safely(path, mmap)
        raise ValueError(
            f'{path}: holds other objects than tensors and plain values, as the files '
            f'of the AdaMAE and VideoMAE authors do; {convert_it}'
        ) from None


def write_checkpoint(
    path: str | Path,
    family: str,
    theirs: Mapping[str, Tensor],
    ours: Mapping[str, Tensor],
    arch: Architecture,
) -> None:
    """Write a checkpoint as a code base expects it.

    Args:
        path (str | Path): a file, written with safetensors if it ends so; for
            ``'transformers'``, a folder.
        family (str): one of ``formats.FAMILIES``.
        theirs (Mapping[str, Tensor]): weights under their names.
        ours (Mapping[str, Tensor]): the same under our names.
        arch (Architecture): of these weights.
    """
    path = Path(path)
    # Parts of one tensor share its memory, which safetensors refuses.
    theirs = {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in theirs.items()
    }
    if family == 'transformers':
        config = json.dumps(transformers_config(ours, arch), indent=2)
        _write(path / TRANSFORMERS_FILES[0], _safetensors(theirs, {}))
        _write(path / 'config.json', config.encode())
    elif path.suffix == '.safetensors':
        _write(path, _safetensors(theirs, {'cfg': config_text(arch)}))
    else:
        buffer = io.BytesIO()
        if family == 'released':
            torch.save({'model': theirs}, buffer)
        else:
            meta = {'cfg': config_text(arch)}
            torch.save({'meta': meta, 'state_dict': theirs}, buffer)
        _write(path, buffer.getbuffer())


def _write(path: Path, content: bytes | memoryview) -> None:
    AtomicLocalBackend().put(content, path)


def _safetensors(weights: dict[str, Tensor], meta: dict[str, str]) -> bytes:
    from safetensors.torch import save

    return save(weights, {'format': 'pt', **meta})
