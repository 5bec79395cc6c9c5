"""How the process of a tool ends: by a signal, with its launcher, in one line.

It lies outside of ``projects.adamae``, whose import takes seconds: signals of those
seconds are meant, too.
"""

import ctypes
import errno
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from projects.adamae_command import tool_name
from projects.adamae_files import IS_INSTALLED, TOOLS

# What _torchrun.py says of itself to its processes.
LAUNCHER_PID = 'ADAMAE_LAUNCHER_PID'
_PR_SET_PDEATHSIG = 1


@contextmanager
def ends_in_one_line() -> Iterator[None]:
    """Let Ctrl-C and a missing package end a tool in one line, with code 130 or 2.

    A reader of its output that ends first, such as ``head``, ends it without a word and
    with 141, as shells say of other programs.

    Every tool enters it first, as torch and MMAction2 take seconds to import; while it
    works, ``launch.errors_in_one_line`` says more. A tool that a launcher of an
    installed package runs by its file calls itself as the reader knows it.
    """
    script = Path(sys.argv[0])
    if IS_INSTALLED and script.is_relative_to(TOOLS) and script.name[0] != '_':
        sys.argv[0] = tool_name(str(script.relative_to(TOOLS)))
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:  # as with `>&-`
                sys.stdout.flush()
    except BrokenPipeError:
        if not nobody_reads():
            raise
        _drop_output()
        raise SystemExit(128 + signal.SIGPIPE) from None
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename:
            raise
        _drop_output()
        text, code = f'error: writing the output: {error.strerror}', 2
    except KeyboardInterrupt:
        text, code = '\nstopped', 128 + signal.SIGINT
    except ModuleNotFoundError as error:
        if (error.name or 'projects').partition('.')[0] == 'projects':  # a mistake here
            raise
        text, code = (
            f'error: {sys.executable}: expected a Python with the packages of this '
            f'project, got one without {error.name}; use that of the environment in '
            'which it is installed',
            2,
        )
    else:
        return
    if _is_first_process():
        print(text, file=sys.stderr)
    raise SystemExit(code)


def announce(work: str) -> None:
    """Say on a terminal what is done, as a tool imports and works for seconds first."""
    if sys.stderr is not None and sys.stderr.isatty():
        print(f'{work} ...', file=sys.stderr, flush=True)


def nobody_reads() -> bool:
    """Whether standard output is a pipe whose reader has ended."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
    except (AttributeError, OSError, ValueError):  # no such output, or no poll
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def end_on_signals() -> None:
    """Let signals end this process at once, in one line, with code 128 + signal.

    While a run trains, ``StopOnSignalHook`` takes their place. SIGUSR1, which warns
    ahead of time, waits for that.
    """
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, _end)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])


def end_with_launcher() -> None:
    """Get SIGTERM when torchrun dies, which cannot end its processes if it is killed.

    Does nothing under other launchers, which do this themselves, and outside of Linux.
    """
    if 'TORCHELASTIC_RUN_ID' not in os.environ or sys.platform != 'linux':
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    launcher = os.environ.get(LAUNCHER_PID)
    if launcher and int(launcher) != os.getppid():  # it died before
        os.kill(os.getpid(), signal.SIGTERM)


def _drop_output() -> None:
    """Drop what is left: the interpreter would write it at its end, and fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end(number: int, frame: FrameType | None) -> None:
    if _is_first_process():
        name = signal.Signals(number).name
        text = f'stopped by {name} outside of training: nothing to save\n'
        os.write(2, text.encode())
    os._exit(128 + number)


def _is_first_process() -> bool:
    """Whether no other process of this machine says the same."""
    return os.environ.get('LOCAL_RANK', os.environ.get('SLURM_LOCALID', '0')) == '0'
