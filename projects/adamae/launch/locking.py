"""One run at a time in a work folder, and what a job that starts again goes on with."""

import errno
import fcntl
import os
import socket
import time
from typing import IO

from mmengine.config import Config

from .distributed import rank_and_local_rank, warn
from .paths import is_remote

_NAME = 'run.lock'
# As MMEngine writes dates into checkpoints.
_DATE = '%Y%m%d_%H%M%S'
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
# Held until the process ends, however it ends. A lock would be lost with the first
# file that is closed, so each is opened once.
_held: dict[str, IO] = {}


def lock_work_dir(cfg: Config) -> None:
    """Keep the work folder for this run; the first process does it for all.

    The lock is the kernel's (POSIX), so it ends with the process and loader workers do
    not inherit it. Where the file system has no locks, this warns and goes on.

    Args:
        cfg (Config): of a run, with ``work_dir``; the folder is made if needed.

    Raises:
        ValueError: if another run has the folder, or it cannot be written to.
    """
    if rank_and_local_rank()[0] or is_remote(cfg.work_dir):
        return
    path = os.path.join(cfg.work_dir, _NAME)
    try:
        os.makedirs(cfg.work_dir, exist_ok=True)
        if path not in _held:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            _held[path] = os.fdopen(descriptor, 'r+')
    except OSError as error:
        raise ValueError(
            f'work_dir: expected a folder to write to, got {error}; name another with '
            '--work-dir'
        ) from None
    file = _held[path]
    file.seek(0)
    first, _, holder = file.read().partition('\n')
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise ValueError(
                f'{cfg.work_dir}: expected a folder that no other run is using, got '
                f'that of {holder.strip() or "a process that has just begun"}; wait '
                'for its end, or name another folder with --work-dir'
            ) from None
        warn(f'{path}: this file system has no locks; do not start two runs here')
    now = time.strftime(_DATE)
    if not (is_restarted() and first):
        first = now
    # The first line stays whole: other processes may be reading it.
    file.seek(len(first) + 1 if is_restarted() else 0)
    file.truncate()
    file.seek(0)
    file.write(f'{first}\nprocess {os.getpid()} on {socket.gethostname()}, {now}\n')
    file.flush()


def is_restarted() -> bool:
    """Whether torchrun or Slurm has started this job before."""
    names = 'TORCHELASTIC_RESTART_COUNT', 'SLURM_RESTART_COUNT'
    return any(int(os.environ.get(name) or 0) for name in names)


def first_start(cfg: Config) -> str:
    """Give the date of the first start of a job that was restarted; '' if unknown."""
    path = os.path.join(cfg.work_dir, _NAME)
    if path in _held:
        _held[path].seek(0)
        return _held[path].readline().strip()
    if not os.path.isfile(path):
        return ''
    with open(path) as file:
        return file.readline().strip()
