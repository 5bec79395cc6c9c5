"""The processes of a run, and the device they compute on."""

import os
import subprocess
from datetime import timedelta
from logging import WARNING

import torch.distributed
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log

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
    if has_accelerator():
        return
    _init_gloo(cfg.launcher, cfg.get('env_cfg', {}).get('dist_cfg', {}))
    # As MMEngine wraps the model on a GPU, but for the device.
    cfg.model_wrapper_cfg = {
        'type': ddp,
        'broadcast_buffers': False,
        'find_unused_parameters': unused,
        **wrapper,
        'device_ids': None,
    }


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


def _init_gloo(launcher: str, dist_cfg: dict) -> None:
    """Start the process group; ``dist_cfg`` may have a ``timeout`` in seconds."""
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
    timeout = dist_cfg.get('timeout')
    torch.distributed.init_process_group(
        'gloo', timeout=timedelta(seconds=timeout) if timeout else None
    )
