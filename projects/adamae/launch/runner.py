"""MMEngine's runner, with a start of its log that fits a terminal."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from mmaction.registry import RUNNERS
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from torch import nn

from .log_failures import tell_once, tolerate_full_disk
from .resuming import require_same_checkpoint

# How MMEngine and MMAction2 begin what they tell of environment, config, hooks and
# optimizer before the first step: hundreds of lines, for those who look into a file.
_DETAILS = (
    '\n---',
    'Config:\n',
    'Distributed training is not used, all SyncBatchNorm',
    'Hooks will be executed',
    'LR is set based on batch size',  # of videos, see scale_learning_rate
    'paramwise_options -- ',
    'self.paramwise_cfg is ',
    'Build LearningRateDecayOptimizerConstructor',
    'set param ',
    'Param groups = ',
)


def build_runner(cfg: Config, split: str) -> Runner:
    """Build a runner; the terminal gets a summary, its log file the details, too.

    Args:
        cfg (Config): of a run.
        split (str): what it is for, ``'train'`` or ``'test'``.

    Returns:
        Runner: of the config's ``runner_type``.

    Raises:
        ValueError: if its processes do not start from the same checkpoint.
    """
    # Once for each loader and process; more workers than cores may be what is wanted,
    # and tools/plan.py says how many are.
    warnings.filterwarnings('ignore', 'This DataLoader will create', UserWarning)
    with _short_terminal():
        runner = RUNNERS.build(cfg)
    tolerate_full_disk(runner)
    require_same_checkpoint(cfg)
    runner.logger.info(_summary(runner, cfg, split))
    return runner


def _is_brief(record: logging.LogRecord) -> bool:
    is_detail = str(record.msg).startswith(_DETAILS)
    return record.levelno != logging.INFO or not is_detail


@contextmanager
def _short_terminal() -> Iterator[None]:
    """Keep details from the terminal in every logger that is made meanwhile.

    A runner logs as soon as it has made its logger, or its strategy's.
    """
    original = MMLogger.__init__

    @wraps(original)
    def init(self: MMLogger, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        for handler in self.handlers:
            tell_once(handler)
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_brief)

    MMLogger.__init__ = init
    try:
        yield
    finally:
        MMLogger.__init__ = original


def _summary(runner: Runner, cfg: Config, split: str) -> str:
    world = runner.world_size
    processes = '1 process' if world == 1 else f'{world} processes'
    lines = {
        'config': cfg.filename,
        'work folder': runner.work_dir,
        'log': f'{runner.logger.log_file} (with environment, whole config and hooks)',
        'device': f'{get_device()}, {processes}',
    }
    if isinstance(runner.model, nn.Module):  # a strategy builds it later
        count = sum(param.numel() for param in runner.model.parameters())
        lines['model'] = f'{cfg.model.type}, {count / 1e6:.1f} M parameters'
    size = cfg[f'{split}_dataloader'].get('batch_size')
    if size:  # else the config has a sampler of batches
        each = f' on each process, {size * world} in all' if world > 1 else ''
        lines['batch size'] = f'{size}{each}'
    return '\n'.join(['Start of the run', *(f'  {k}: {v}' for k, v in lines.items())])
