"""What a run has left in its work folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from projects.adamae_files import CONFIGS

from ..analysis.run_files import find_starts
from ..analysis.scalar_logs import SCALARS, read_scalars
from ..utils.config_text import read_config_text


@dataclass
class WorkFolder:
    """The files of a run, read.

    Attributes:
        path (Path): the folder.
        cfg (Config): as the run had it, options of the command line included.
        recipe (Config, optional): shipped config of the same name.
        train (list[dict]): lines of the log of training, by iteration.
        scores (list[dict]): lines of validation, by step.
        health (list[dict]): lines with ``health/...``, by step.
        log (str): of the newest start that trained, and of any after it.
        checkpoints (list[Path]): of epochs or iterations, the oldest first.
        faults (list[Path]): reports of ``FiniteCheckHook``.
        unread (int): lines of the logs of scalars that could not be read.
    """

    path: Path
    cfg: Config
    recipe: Config | None
    train: list[dict[str, Any]]
    scores: list[dict[str, Any]]
    health: list[dict[str, Any]]
    log: str
    checkpoints: list[Path]
    faults: list[Path]
    unread: int

    @property
    def by_epoch(self) -> bool:
        """Whether the run counts epochs."""
        return 'max_iters' not in self.cfg.train_cfg

    @property
    def length(self) -> int | None:
        """Epochs or iterations of the whole run, where the config says."""
        return self.cfg.train_cfg.get('max_epochs' if self.by_epoch else 'max_iters')

    @property
    def iterations(self) -> int:
        """Iterations trained for, as far as they were logged."""
        return int(self.train[-1]['step']) if self.train else 0

    @property
    def peak_rate(self) -> float:
        """Highest learning rate that was logged."""
        return max(
            (float(r.get('base_lr', r.get('lr', 0))) for r in self.train), default=0
        )

    @property
    def shrinking(self) -> float:
        """Share of a weight that the decay takes away in an update, at most."""
        optimizer = (self.cfg.get('optim_wrapper') or {}).get('optimizer') or {}
        return self.peak_rate * (optimizer.get('weight_decay') or 0)

    @property
    def steps(self) -> int | None:
        """Iterations of an epoch, as the log says; None before it says any."""
        said = re.findall(r'Epoch\(train\) +\[ *\d+\]\[ *\d+/(\d+)\]', self.log)
        return int(said[-1]) if said else None


def read_work_folder(path: str | Path) -> WorkFolder:
    """Read what a run has left.

    Args:
        path (str | Path): its ``work_dir``.

    Raises:
        FileNotFoundError: if there is no such folder, or no run was logged there.
        ValueError: if its config cannot be read.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f'work folder not found: {path}')
    starts = find_starts(path)
    configs = [file for s in starts if (file := s / 'vis_data/config.py').is_file()]
    if not configs:
        raise FileNotFoundError(
            f'{path}: expected the work folder of a training run, with '
            'TIME/vis_data/config.py in it, found none; name the folder of '
            '--work-dir'
        )
    cfg = _read_config(configs[-1])
    # The newest start may have had nothing left to do, or ended before its first step.
    stepped = max(
        (i for i, s in enumerate(starts) if (s / SCALARS).is_file()), default=0
    )
    rows, *_, damaged = read_scalars([start / SCALARS for start in starts])
    files = [*path.glob('epoch_*.pth'), *path.glob('iter_*.pth')]
    return WorkFolder(
        path,
        cfg,
        _find_recipe(path),
        [r for r in rows if 'iter' in r],
        [r for r in rows if any(k.startswith('acc/') for k in r)],
        [r for r in rows if any(k.startswith('health/') for k in r)],
        '\n'.join(
            _text(log) for s in starts[stepped:] for log in sorted(s.glob('*.log'))
        ),
        sorted(files, key=lambda f: int(re.sub(r'\D', '', f.stem) or 0)),
        sorted(path.glob('fault_iter_*.pth')),
        sum(map(len, damaged.values())),
    )


def _read_config(path: Path) -> Config:
    try:
        cfg = read_config_text(_text(path))
    except ValueError as error:
        reason = str(error).rpartition('(')[2].partition(')')[0]
        raise ValueError(
            f'{path}: expected the config that a run wrote there, NAME = VALUE with '
            f'plain values, got something else ({reason})'
        ) from None
    parts = 'model', 'train_dataloader', 'train_cfg'
    missing = [key for key in parts if not isinstance(cfg.get(key), dict)]
    if missing:
        raise ValueError(
            f'{path}: expected the config of a training run, got one without '
            f'{", ".join(missing)}'
        )
    return cfg


def _find_recipe(path: Path) -> Config | None:
    """Find the shipped config whose name the run's has."""
    names = [file.name for file in path.glob('*.py')]
    found = [
        f for name in names for f in CONFIGS.rglob(name) if '_base_' not in f.parts
    ]
    try:
        return Config.fromfile(found[0]) if len(found) == 1 else None
    except Exception:  # it reads files of the user's, such as lists, as it is run
        return None


def _text(path: Path) -> str:
    return path.read_text('utf-8', errors='replace') if path.is_file() else ''
