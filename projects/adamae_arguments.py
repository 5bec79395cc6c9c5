"""What the tools share of their command lines.

Importing ``projects.adamae`` takes seconds, so the tools do it after their arguments
are parsed; this module lies outside and imports nothing.
"""

import os
from argparse import (
    SUPPRESS,
    Action,
    ArgumentError,
    ArgumentParser,
    ArgumentTypeError,
    Namespace,
)
from collections.abc import Callable
from typing import Any

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
SPLITS = ('train', 'val', 'test')


class CfgOptions(Action):
    """Collect ``KEY=VALUE``; ``launch.load_config`` knows what the values should be."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Add ``values`` to those of the same option before, or raise an error."""
        options = dict(getattr(namespace, self.dest) or {})
        for value in values:
            key, equals, text = value.partition('=')
            if not equals or not key:
                raise ArgumentError(
                    self, f'expected KEY=VALUE, got {value!r}; quote values with blanks'
                )
            options[key] = text
        setattr(namespace, self.dest, options)


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Make a ``type`` for an argument that is a whole number from low to high."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise ArgumentTypeError(
                f'expected a whole number from {low} to {high}, got {text!r}'
            )
        return value

    return parse


COUNT = whole_number(1, 2**31 - 1)
SEED = whole_number(0, 2**32 - 1)


def add_video_workers(parser: ArgumentParser) -> None:
    """Add ``--workers`` and ``--time-limit``, of tools that look at many videos."""
    parser.add_argument(
        '--workers',
        type=COUNT,
        default=os.cpu_count() or 1,
        help='processes (default: %(default)s)',
    )
    parser.add_argument(
        '--time-limit',
        type=float,
        default=600,
        help='seconds for one video (default: %(default)s)',
    )


def add_cfg_options(parser: ArgumentParser) -> None:
    """Add ``--cfg-options``, and defaults for all that ``launch.load_config`` reads."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=CfgOptions,
        default={},
        metavar='KEY=VALUE',
        help='override settings of the config, for example '
        'train_dataloader.batch_size=8 model.backbone.depth=6',
    )
    parser.set_defaults(work_dir=None, launcher='none')


def add_reading_arguments(parser: ArgumentParser) -> None:
    """Add what ``launch.load_reading_config`` reads: for tools that encode videos."""
    parser.add_argument('config', help='path of the config of the model')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument(
        '--data',
        metavar='CONFIG',
        help='use the datasets of this config (default: the first one)',
    )
    add_cfg_options(parser)


def add_common_arguments(parser: ArgumentParser) -> None:
    """Add the arguments that train.py and test.py share, named as in MMAction2."""
    parser.add_argument('--work-dir', help='folder for logs and checkpoints')
    # torch.distributed.launch says it twice; what counts is its environment variable.
    parser.add_argument('--local-rank', '--local_rank', type=int, help=SUPPRESS)
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher',
        choices=LAUNCHERS,
        default='none',
        help='what starts the processes; given by the launchers for several GPUs',
    )
