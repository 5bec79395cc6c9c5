"""How the process of a tool ends: by a signal, and with its launcher.

It lies outside of ``projects.adamae``, whose import takes seconds: signals of those
seconds are meant, too.
"""

import ctypes
import os
import signal
import sys
from types import FrameType

# What _torchrun.py says of itself to its processes.
LAUNCHER_PID = 'ADAMAE_LAUNCHER_PID'
_PR_SET_PDEATHSIG = 1


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


def _end(number: int, frame: FrameType | None) -> None:
    if os.environ.get('LOCAL_RANK', os.environ.get('SLURM_LOCALID', '0')) == '0':
        name = signal.Signals(number).name
        text = f'stopped by {name} outside of training: nothing to save\n'
        os.write(2, text.encode())
    os._exit(128 + number)
