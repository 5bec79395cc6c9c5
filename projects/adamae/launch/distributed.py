"""The processes of a run, and the device they compute on."""

import atexit
import os
import socket
import subprocess
import sys
import time
from datetime import timedelta
from logging import WARNING

import torch.distributed
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from torch.distributed import PrefixStore, TCPStore

from ..utils.text import some

# Each launcher's variables for rank, world size and local rank.
LAUNCHER_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': (
        'OMPI_COMM_WORLD_RANK',
        'OMPI_COMM_WORLD_SIZE',
        'OMPI_COMM_WORLD_LOCAL_RANK',
    ),
}

# Until all processes have started; imports from a slow disk take minutes.
_SECONDS_TO_MEET = 300
_kept: list[TCPStore] = []


def init_distributed(cfg: Config) -> None:
    """Start the process group of a run on a machine without an accelerator.

    MMEngine's launcher sets a CUDA device and NCCL unconditionally. Here it is gloo,
    started before the runner would do it. With an accelerator, or one process, this
    leaves that to the runner. ``find_unused_parameters`` of the config goes to the
    wrapper of the model.

    Args:
        cfg (Config): with ``launcher`` set; changed in place.

    Raises:
        ValueError: if the launcher's variables are not in the environment.
        TimeoutError: if not all processes come within five minutes, or the seconds in
            the environment variable ``SECONDS_TO_MEET``.
    """
    if cfg.launcher == 'none':
        return
    missing = set(LAUNCHER_VARIABLES[cfg.launcher]) - set(os.environ)
    if missing:
        raise ValueError(
            f'--launcher {cfg.launcher}: expected {", ".join(sorted(missing))} in '
            'the environment, got none; start with tools/dist_*.sh or slurm_*.sh'
        )
    ddp = 'MMDistributedDataParallel'
    unused = cfg.get('find_unused_parameters', False)
    wrapper = cfg.get('model_wrapper_cfg') or {}
    if unused and wrapper and wrapper.get('type', ddp) == ddp:
        # MMEngine only looks at the config where that has no wrapper.
        wrapper.setdefault('find_unused_parameters', True)
    _set_variables(cfg.launcher)
    _meet()
    if has_accelerator():
        return
    _init_gloo(cfg.get('env_cfg', {}).get('dist_cfg', {}))
    # As MMEngine wraps the model on a GPU, but for the device.
    cfg.model_wrapper_cfg = {
        'type': ddp,
        'broadcast_buffers': False,
        'find_unused_parameters': unused,
        **wrapper,
        'device_ids': None,
    }


def end_distributed() -> None:
    """End the process group, if there is one, as all processes are done.

    Its threads abort a process that ends before them, once in a while.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def exit_with_code(code: int) -> None:
    """Have the process exit with a code although there is a process group.

    The others may wait in it, so it cannot be destroyed; its threads would abort the
    process once in a while, with the code of that.

    Args:
        code (int): of the exit that follows.
    """

    def leave() -> None:
        if torch.distributed.is_initialized():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    # Threads that write, as checkpoints, are waited for before that.
    atexit.register(leave)


def disable_amp_on_cpu(cfg: Config) -> None:
    """Train in full precision where ``AmpOptimWrapper`` cannot, in place.

    Args:
        cfg (Config): of a training run; with an accelerator it stays as it is.
    """
    wrapper = cfg.optim_wrapper
    if has_accelerator() or wrapper.get('type') != 'AmpOptimWrapper':
        return
    warn(
        'AmpOptimWrapper needs an accelerator and this machine has none: '
        'training in full precision with OptimWrapper instead'
    )
    wrapper.type = 'OptimWrapper'
    for key in ('loss_scale', 'dtype', 'use_fsdp'):
        wrapper.pop(key, None)


def has_accelerator() -> bool:
    """Whether this machine has what MMEngine's launcher and AMP wrapper need."""
    return get_device() in ('cuda', 'npu', 'mlu', 'musa')


def rank_and_local_rank() -> tuple[int, int]:
    """Rank and local rank of this process, also before :func:`init_distributed`."""
    for rank, _, local_rank in LAUNCHER_VARIABLES.values():
        if rank in os.environ:
            return int(os.environ[rank]), int(os.environ.get(local_rank, 0))
    return 0, 0


def warn(message: str) -> None:
    """Log a warning, once for all processes of a run."""
    if rank_and_local_rank()[0] == 0:
        print_log(message, logger='current', level=WARNING)


def _set_variables(launcher: str) -> None:
    """Set torch's variables from those of a launcher, as MMEngine does."""
    for name, source in zip(
        LAUNCHER_VARIABLES['pytorch'], LAUNCHER_VARIABLES[launcher], strict=True
    ):
        os.environ[name] = os.environ[source]
    os.environ.setdefault('MASTER_PORT', '29500')
    if launcher == 'slurm' and 'MASTER_ADDR' not in os.environ:
        hosts = subprocess.run(
            ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']],
            capture_output=True,
            text=True,
            check=True,
        )
        os.environ['MASTER_ADDR'] = hosts.stdout.split()[0]


def _meet() -> None:
    """Wait until all processes are there; torch does for 30 minutes, and names none.

    Waiting is done in Python, where signals are handled.
    """
    rank, world = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])
    if world <= 1:
        return
    address, port = os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT'])
    seconds = float(os.environ.get('SECONDS_TO_MEET', _SECONDS_TO_MEET))
    end = time.monotonic() + seconds
    # torchrun has opened the store that torch will use; else process 0 does.
    serves = rank == 0 and os.environ.get('TORCHELASTIC_USE_AGENT_STORE') != 'True'
    while not serves:
        try:
            socket.create_connection((address, port), timeout=5).close()
            break
        except OSError:
            if time.monotonic() > end:
                raise _missing([0], world, seconds, address, port) from None
            time.sleep(0.2)
    store = TCPStore(
        address, port, world, serves, wait_for_workers=False, multi_tenant=True
    )
    _kept.append(store)  # torch gets the same, with its port
    attempt = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
    there = PrefixStore(f'met/{attempt}', store)
    there.set(str(rank), '')
    keys = [str(rank) for rank in range(world)]
    while not there.check(keys):
        if time.monotonic() > end:
            absent = [rank for rank in range(world) if not there.check([str(rank)])]
            raise _missing(absent, world, seconds, address, port)
        time.sleep(0.2)


def _missing(
    ranks: list[int], world: int, seconds: float, address: str, port: int
) -> TimeoutError:
    return TimeoutError(
        f'expected {world} processes to meet at {address}:{port}, but within '
        f'{seconds:.0f} seconds (SECONDS_TO_MEET) nothing came of process '
        f'{some(ranks, 10)}; look at its output, and whether its machine reaches this '
        'address'
    )


def _init_gloo(dist_cfg: dict) -> None:
    """Start the process group; ``dist_cfg`` may have a ``timeout`` in seconds."""
    timeout = dist_cfg.get('timeout')
    torch.distributed.init_process_group(
        'gloo', timeout=timedelta(seconds=timeout) if timeout else None
    )
