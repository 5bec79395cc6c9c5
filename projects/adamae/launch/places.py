"""The disks that a run needs, looked at before it starts."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from math import prod
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from ..datasets.from_config import clips_per_video, innermost
from ..utils.fileio import reason_of
from .distributed import LAUNCHER_VARIABLES, rank_and_local_rank, warn
from .errors import SHARED_MEMORY_ADVICE
from .model_sizes import frame_size
from .paths import is_remote

SHARED_MEMORY = '/dev/shm'
_MIB = 2**20
# What is left of a disk after a checkpoint, for logs.
_ROOM_FOR_LOGS = 16 * _MIB
_CROPS = {'ThreeCrop': 3, 'TenCrop': 10}


def check_folder(key: str, path: str) -> None:
    """Create a folder and write to it, as a run will.

    Args:
        key (str): option or key of the config that names the folder.
        path (str): the folder.

    Raises:
        ValueError: if that does not work.
    """
    reason = 'no name'
    if is_remote(path):
        reason = 'a URL'
    elif path:
        try:
            os.makedirs(path, exist_ok=True)
            with tempfile.TemporaryFile(dir=path) as file:
                file.write(bytes(4096))
            return
        except OSError as error:
            reason = reason_of(error, path)
        except ValueError as error:  # NUL in a name
            reason = f'{error}'
    raise ValueError(
        f'{key}: expected a folder on this machine that can be written to, got '
        f'{path!r}: {reason}; name another one'
    )


def check_shared_memory(cfg: Config, splits: Sequence[str]) -> None:
    """Compare what the workers of loaders hand over with what the system allows.

    A worker puts every batch into ``/dev/shm``, 64 MiB in a container of Docker unless
    told otherwise; it is killed by a bus error where that is full.

    Args:
        cfg (Config): of a run; pipelines have the sizes of the model.
        splits (Sequence[str]): of 'train', 'val' and 'test', those that the run reads.

    Raises:
        ValueError: if a single batch does not fit. All batches that may wait there at
            a time are warned of.
    """
    try:
        disk = os.statvfs(SHARED_MEMORY)
    except OSError:  # not on this system
        return
    free = disk.f_bavail * disk.f_frsize
    processes = _processes_here(cfg)
    for split in splits:
        key = f'{split}_dataloader'
        loader = cfg.get(key) or {}
        workers = loader.get('num_workers', 0)
        batch = _bytes_per_batch(cfg, loader) if workers else 0
        # Those that are made, and the one that the model reads.
        count = workers * (loader.get('prefetch_factor') or 2) + 1
        needed = batch * count * processes
        if needed <= free:
            continue
        text = (
            f'{key}: {SHARED_MEMORY} has {free / _MIB:.0f} MiB free, and its workers '
            f'hand over batches of {batch / _MIB:.0f} MiB through it, up to '
            f'{count * processes} at a time ({needed / _MIB:.0f} MiB)'
        )
        advice = SHARED_MEMORY_ADVICE.replace('train_dataloader', key)
        if batch * processes > free:
            raise ValueError(f'{text}; {advice}')
        warn(f'{text}: they may be killed; {advice}')


def report_space(runner: Runner) -> None:
    """Warn where the next checkpoint does not fit on the disk.

    Args:
        runner (Runner): of a training run; its model is built.
    """
    hook = (runner.cfg.get('default_hooks') or {}).get('checkpoint') or {}
    folder = hook.get('out_dir') or runner.work_dir
    if rank_and_local_rank()[0] or is_remote(folder) or not hook:
        return
    if not isinstance(runner.model, nn.Module):  # a strategy builds it later
        return
    size = sum(t.nbytes for t in runner.model.state_dict().values())
    if hook.get('save_optimizer', True):  # two moments, as those of AdamW
        trained = [p for p in runner.model.parameters() if p.requires_grad]
        size += 2 * sum(p.nbytes for p in trained)
    try:
        free = shutil.disk_usage(os.path.dirname(os.path.join(folder, ''))).free
    except OSError:  # created by the hook
        return
    if free < size + _ROOM_FOR_LOGS:
        warn(
            f'{folder}: {free / _MIB:.0f} MiB free, and a checkpoint takes up to '
            f'{size / _MIB:.0f} MiB: free some of it, or name another folder with '
            '--work-dir'
        )


def _processes_here(cfg: Config) -> int:
    """Count the processes of a run on this machine, as far as its launcher says."""
    names = {
        'pytorch': 'LOCAL_WORLD_SIZE',
        'slurm': 'SLURM_NTASKS_PER_NODE',
        'mpi': 'OMPI_COMM_WORLD_LOCAL_SIZE',
    }
    if cfg.get('launcher', 'none') not in LAUNCHER_VARIABLES:
        return 1
    text = os.environ.get(names[cfg.launcher], '')
    return int(text) if text.isdecimal() else 1


def _bytes_per_batch(cfg: Config, loader: Any) -> int:
    """Estimate the pixels of a batch, one byte each; 0 if the config does not say."""
    backbone = cfg.model.get('backbone') or {}
    size, frames = frame_size(backbone), backbone.get('num_frames')
    try:
        clips = clips_per_video(loader['dataset'])
        pipeline = innermost(loader['dataset'])['pipeline']
    except (KeyError, ValueError):
        return 0
    if not size or not isinstance(frames, int):
        return 0
    crops = prod(_CROPS.get(step['type'], 1) for step in pipeline)
    return loader.get('batch_size', 1) * clips * crops * 3 * frames * prod(size)
