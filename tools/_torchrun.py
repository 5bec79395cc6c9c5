"""torchrun that is silent where a process has said itself what is wrong.

_dist.sh starts it. Our tools report a user's mistake in one line and exit with code 2;
torchrun would add forty lines, most of them its own traceback, and exit with 1.
"""

import logging
import sys

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

REPORTED = 2


def is_news(record: logging.LogRecord) -> bool:
    """Tell whether a line of torchrun's log is more than the end of such processes."""
    message = record.getMessage()
    ends = f'failed (exitcode: {REPORTED})', 'Sending process '
    return not message.startswith(ends)


def main() -> None:
    """Run torchrun with the arguments of this process."""
    log = logging.getLogger('torch.distributed.elastic.multiprocessing.api')
    log.addFilter(is_news)
    try:
        run.main()
    except ChildFailedError as error:
        if error.get_first_failure()[1].exitcode == REPORTED:
            sys.exit(REPORTED)
        raise


if __name__ == '__main__':
    main()
