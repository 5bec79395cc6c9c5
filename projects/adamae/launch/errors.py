"""Errors that end a tool: reported on the command line, not as tracebacks."""

import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from .distributed import rank_and_local_rank

# How long a launcher may take to stop the other processes when one has ended.
_SECONDS_TO_STOP = 30


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
        # Who is not the first and still there is the only one with an error. That of
        # a loader's worker has its traceback in front.
        text = str(error)
        text = text.splitlines()[-1] if text.startswith('Caught ') else text
        print(f'error: {text}', file=sys.stderr, flush=True)
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
