"""Options on the command line, and errors that are reported there."""

import sys
import time
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.config import DictAction

from .distributed import rank_and_local_rank

# How long a launcher may take to stop the processes beside one that has ended.
_SECONDS_TO_STOP = 30


class CfgOptions(DictAction):
    """MMEngine's ``key=value`` parser, with an error instead of a traceback."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Parse ``values``, or raise ``ArgumentError``."""
        for value in values:
            if '=' not in value:
                raise ArgumentError(self, f'expected KEY=VALUE, got {value!r}')
        super().__call__(parser, namespace, values, option_string)


@contextmanager
def errors_in_one_line(*kinds: type[Exception]) -> Iterator[None]:
    """Report errors of the given kinds in one line and exit with code 2.

    Of a distributed run, the first process on each machine prints it and ends: then
    the launcher stops the others, which wait for that.
    """
    try:
        yield
    except kinds as error:
        if rank_and_local_rank()[1] > 0:
            time.sleep(_SECONDS_TO_STOP)
        # Who is not the first and still there is the only one with an error.
        print(f'error: {error}', file=sys.stderr, flush=True)
        raise SystemExit(2) from None
