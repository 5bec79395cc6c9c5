"""What the tools share of their command lines."""

import sys
from argparse import Action, ArgumentError, ArgumentParser, Namespace
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from .distributed import LAUNCHER_VARIABLES, rank_and_local_rank


class CfgOptions(Action):
    """Collect ``KEY=VALUE``; :func:`.load_config` knows what the values should be."""

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


def add_cfg_options(parser: ArgumentParser) -> None:
    """Add ``--cfg-options`` and defaults for all that :func:`.load_config` reads."""
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
    """Add the arguments of tools that encode videos: :func:`.load_reading_config`."""
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
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', *LAUNCHER_VARIABLES],
        default='none',
        help='what starts the processes; set by dist_*.sh and slurm_*.sh',
    )


@contextmanager
def errors_in_one_line(*kinds: type[Exception]) -> Iterator[None]:
    """Report errors of the given kinds in one line and exit with code 2.

    Only the first process on each machine of a distributed run prints it.
    """
    try:
        yield
    except kinds as error:
        if rank_and_local_rank()[1] == 0:
            # An error of a loader's worker has its traceback in front.
            text = str(error)
            text = text.splitlines()[-1] if text.startswith('Caught ') else text
            print(f'error: {text}', file=sys.stderr)
        raise SystemExit(2) from None


def exit_with(errors: Collection[str]) -> None:
    """Report videos that were left out, one in a line, and exit with code 1.

    Args:
        errors (Collection[str]): none: nothing happens.
    """
    for error in errors:
        print(f'error: {error}', file=sys.stderr)
    if errors:
        raise SystemExit(1)
