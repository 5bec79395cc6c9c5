"""What a run was: one file that says all that its results depend on."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import socket
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from ..analysis.run_files import NAME, SCHEMA, plain_values
from ..datasets.from_config import iter_split_datasets
from ..utils.checksums import is_archive
from ..utils.environment import STACK, git_state, hardware, package_versions
from ..utils.fileio import atomic_path
from ..video.folder import scan_folder
from .annotation_files import annotation_file, join_root
from .distributed import warn
from .paths import is_remote

# What of the environment changes results or speed. Never all: there may be secrets.
_VARIABLES = (
    *('CUDA_', 'CUBLAS_', 'KMP_', 'MKL_', 'NCCL_', 'NVIDIA_TF32', 'OMP_'),
    *('PYTHONHASHSEED', 'PYTHONPATH', 'PYTORCH_', 'TORCH_', 'SLURM_JOB_ID'),
)
# That the sizes of the videos of a folder may take, on a slow network disk.
_SECONDS = 2


def record_run(runner: Runner, split: str) -> None:
    """Write ``run.json`` beside the log of a run; the main process does it.

    Its keys are in ``docs/reproducibility.md``. A part that cannot be found out is None
    there, with the reason under ``not_recorded``; what cannot be written is warned of.

    Args:
        runner (Runner): before it trains or tests.
        split (str): what it is for, ``'train'`` or ``'test'``.
    """
    if not is_main_process():
        return
    cfg = runner.cfg
    splits = ('train', 'val') if split == 'train' else ('test',)
    reasons: dict[str, str] = {}

    def attempt(name: str, collect: Callable[[], Any]) -> Any:
        try:
            return collect()
        except Exception as error:  # whatever it is, the run is worth more
            reasons[name] = ' '.join(f'{type(error).__name__}: {error}'.split())
            return None

    def datasets() -> dict[str, Any]:
        return {
            key: attempt(f'data.{key}', partial(_describe_dataset, dataset))
            for key, dataset in iter_split_datasets(cfg, splits)
        }

    record = {
        'schema': SCHEMA,
        'kind': split,
        'started': datetime.now().astimezone().isoformat(timespec='seconds'),
        'command': shlex.join(sys.orig_argv),
        'folder': os.getcwd(),
        'host': socket.gethostname(),
        'processes': runner.world_size,
        'environment': {
            key: value
            for key, value in sorted(os.environ.items())
            if key.startswith(_VARIABLES)
        },
        'seeds': attempt('seeds', lambda: _seeds(runner)),
        'config_file': cfg.filename,
        'data': attempt('data', datasets),
        'weights': attempt('weights', lambda: _weights(cfg)),
        'code': attempt('code', lambda: _code(cfg, attempt)),
        'packages': attempt('packages', _packages),
        'hardware': attempt('hardware', hardware),
        'config': attempt('config', lambda: plain_values(cfg.to_dict())),
    }
    record['not_recorded'] = reasons
    path = Path(runner.log_dir) / NAME
    try:
        text = json.dumps(record, indent=2, ensure_ascii=False)
        with atomic_path(path) as new:
            new.write_text(text + '\n', 'utf-8', 'backslashreplace')
    except OSError as error:
        warn(f'{path}: {error.strerror}; what this run was is in its log only')


def _seeds(runner: Runner) -> dict[str, Any]:
    """Give the seed of the first process, drawn or set, and how others follow."""
    randomness = runner.cfg.get('randomness') or {}
    return {
        'seed': runner.seed,
        'diff_rank_seed': bool(randomness.get('diff_rank_seed')),
        'deterministic': bool(randomness.get('deterministic')),
    }


def _describe_dataset(dataset: Any) -> dict[str, Any]:
    """Identify what a dataset reads: its list, or the files of its folder."""
    kind = dataset.get('type')
    found: dict[str, Any] = {
        'type': kind if isinstance(kind, str) else kind.__name__,
        'folders': {
            name: join_root(dataset, prefix or '')
            for name, prefix in (dataset.get('data_prefix') or {}).items()
        },
    }
    path = annotation_file(dataset)
    if path:
        found |= {'ann_file': path, **_describe_list(path)}
    elif 'video' in found['folders']:
        found |= _describe_folder(found['folders']['video'])
    classes = (dataset.get('metainfo') or {}).get('classes')
    if isinstance(classes, str):
        found['classes'] = {'file': classes, **_describe_list(classes)}
    return found


def _describe_list(path: str) -> dict[str, Any]:
    if is_remote(path):
        raise ValueError(f'{path}: only local files are hashed')
    content = Path(path).read_bytes()
    lines = content.count(b'\n') + (content[-1:] not in (b'', b'\n'))
    return {'lines': lines, 'sha256': hashlib.sha256(content).hexdigest()}


def _describe_folder(folder: str) -> dict[str, Any]:
    """Hash the names of the videos of a folder, in their order, and their sizes."""
    if is_remote(folder):
        raise ValueError(f'{folder}: only local folders are hashed')
    start = str(Path(folder)) + os.sep
    files = scan_folder(folder, 'data_prefix.video')[0]
    names = [os.fsencode(file.removeprefix(start)) for file in files]
    found: dict[str, Any] = {'videos': len(files)}
    found['sha256_of_names'] = hashlib.sha256(b'\0'.join(names)).hexdigest()
    sizes, deadline = [], time.monotonic() + _SECONDS
    for file in files:
        sizes.append(str(os.path.getsize(file)).encode())
        if time.monotonic() > deadline:
            return {**found, 'sha256': None}
    both = b'\0'.join((*names, *sizes))
    return {**found, 'sha256': hashlib.sha256(both).hexdigest()}


def _weights(cfg: Config) -> dict[str, Any] | None:
    """Identify the checkpoint that a run starts with, without reading all of it.

    The archive of ``torch.save`` has the checksums of its records in its end; loading
    compares them with the content.
    """
    path = cfg.get('load_from')
    if not path:
        return None
    if is_remote(path):
        raise ValueError(f'{path}: only local files are hashed')
    path = os.path.expanduser(path)
    found: dict[str, Any] = {'file': path, 'bytes': os.path.getsize(path)}
    digest = hashlib.sha256()
    if is_archive(path):
        with ZipFile(path) as archive:
            for record in archive.infolist():
                # The first folder is the name that the file was saved under.
                name = record.filename.partition('/')[2]
                digest.update(f'{name} {record.file_size} {record.CRC}\n'.encode())
        return {**found, 'sha256_of_checksums': digest.hexdigest()}
    with open(path, 'rb') as file:
        for part in iter(lambda: file.read(2**20), b''):
            digest.update(part)
    return {**found, 'sha256': digest.hexdigest()}


def _code(
    cfg: Config, attempt: Callable[[str, Callable[[], Any]], Any]
) -> dict[str, Any]:
    """Give the state of the checkout of this package and, if another, the config's."""
    ours = attempt('code', lambda: git_state(__file__))
    states = {'projects.adamae': ours}
    config = Path(cfg.filename or __file__).resolve()
    if not config.is_relative_to(ours['checkout'] if ours else Path(__file__)):
        states['config'] = attempt('code.config', lambda: git_state(config))
    return states


def _packages() -> dict[str, Mapping[str, str]]:
    versions = package_versions()
    lower = {name.lower(): version for name, version in versions.items()}
    stack = {name: lower[name] for name in STACK if name in lower}
    return {'stack': {'python': platform.python_version(), **stack}, 'all': versions}
