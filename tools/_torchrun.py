"""torchrun that is silent where a process has said itself what is wrong.

_dist.sh starts it. Our tools report a user's mistake in one line and exit with code 2,
and a run that is told to stop saves and exits with 128 + signal; torchrun would add
forty lines, most of them its own traceback, exit with 1, and start both again where
it may (--max-restarts).
"""

import logging
import math
import os
import signal
import sys
from contextlib import suppress
from typing import Any

from projects.adamae_process import LAUNCHER_PID, ends_in_one_line

with ends_in_one_line():
    from torch.distributed import DistError, launcher, run
    from torch.distributed.elastic.agent.server import local_elastic_agent
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
# What a process exits with when it has said why itself.
REPORTED = 2, *(128 + number for number in SIGNALS)
# To end a step and save; torchrun gives 30 seconds.
SECONDS_TO_SAVE = 120


class Agent(local_elastic_agent.LocalElasticAgent):
    """torchrun's, which leaves the processes time to save when they are to stop."""

    def _monitor_workers(self, group: Any) -> Any:
        result = super()._monitor_workers(group)
        failures = result.failures.values()
        reported = [f.timestamp for f in failures if f.exitcode in REPORTED]
        # Who dies takes the connection of the others, which then report that.
        ends = (*REPORTED, -signal.SIGTERM)
        died = [f.timestamp for f in failures if f.exitcode not in ends]
        if reported and min(reported) < min(died, default=math.inf):
            self._remaining_restarts = 0
        return result

    def _shutdown(
        self, death_sig: signal.Signals = signal.SIGTERM, *args: Any, **kwargs: Any
    ) -> None:
        context = self._pcontext
        if context is not None:
            # A second Ctrl-C reaches the processes; torchrun's handler would raise.
            for number in SIGNALS:
                signal.signal(number, lambda number, _: forward(context, number))
            context.close(death_sig, SECONDS_TO_SAVE)
        super()._shutdown(death_sig, *args, **kwargs)


def forward(context: Any, number: int) -> None:
    """Pass a signal on to the processes of this machine."""
    for handler in context.subprocess_handlers.values():
        with suppress(ProcessLookupError):
            handler.proc.send_signal(number)


def is_news(record: logging.LogRecord) -> bool:
    """Tell whether a line of torchrun's log is more than the end of such processes."""
    message = record.getMessage()
    ends = [f'failed (exitcode: {code})' for code in REPORTED]
    return not message.startswith((*ends, 'Sending process ', 'Received '))


def main() -> None:
    """Run torchrun with the arguments of this process."""
    for name in ('multiprocessing.api', 'agent.server.api'):
        logging.getLogger(f'torch.distributed.elastic.{name}').addFilter(is_news)
    os.environ[LAUNCHER_PID] = str(os.getpid())
    names = ','.join(number.name for number in SIGNALS)
    os.environ['PET_SIGNALS_TO_HANDLE'] = names
    # Processes that start again would find the addresses of those that died.
    os.environ['TORCH_DISABLE_SHARE_RDZV_TCP_STORE'] = '1'
    launcher.api.LocalElasticAgent = Agent
    try:
        run.main()
    except (SignalException, KeyboardInterrupt) as error:
        sys.exit(128 + getattr(error, 'sigval', signal.SIGINT))
    except DistError as error:
        reason = str(error).splitlines()[0]
        print(
            'error: expected the launchers of all machines to meet within '
            f'SECONDS_TO_MEET (300 unless set) and to stay, got: {reason}',
            file=sys.stderr,
        )
        sys.exit(2)
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        if code in REPORTED:
            sys.exit(code)
        raise


if __name__ == '__main__':
    main()
