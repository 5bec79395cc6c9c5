"""Save and end a run that is told to."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.dist import barrier, get_world_size, is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch import distributed

from .safe_checkpoint_hook import SafeCheckpointHook

# What Slurm, a closed terminal, Ctrl-C and the end of torchrun send.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT)


class StoppedBySignalError(SystemExit):
    """Ends the process with code 128 + signal, as shells and Slurm know it.

    Args:
        number (int): of the signal.
        message (str): what was saved, and where.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(128 + number)
        self.message = message

    def __str__(self) -> str:
        return self.message


def is_told_to_stop() -> bool:
    """Tell whether a signal has come that the run will obey after its step."""
    hook = getattr(signal.getsignal(signal.SIGTERM), '__self__', None)
    return isinstance(hook, StopOnSignalHook) and bool(hook._received)


@HOOKS.register_module()
class StopOnSignalHook(Hook):
    """Save a checkpoint and end when a signal asks for it.

    SIGTERM, SIGUSR1, SIGHUP and Ctrl-C (SIGINT) are obeyed after an optimizer step, or
    a batch of validation, by all processes after the same one, whichever got the
    signal. A second Ctrl-C ends at once. A signal that was ignored when the run began,
    as nohup does it with SIGHUP, stays ignored.

    In every step the processes exchange what they have received, on the CPU, and read
    the answer a step later: no process and no device waits for that.
    """

    # After all that belongs to a step: the rates, averaged weights and log of it.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._received = 0
        self._previous: dict[int, Any] = {}
        self._is_training = False
        self._group: Any = None
        self._exchange: distributed.Work | None = None

    def before_train(self, runner: Runner) -> None:
        """Take the signals over."""
        self._is_training = True
        if get_world_size() > 1:
            self._group = distributed.new_group(backend='gloo')
            self._answer = torch.zeros(1, dtype=torch.int32)
        if threading.current_thread() is not threading.main_thread():
            return  # Python allows handlers there only
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._receive)
        # tools/train.py lets what warns ahead of time wait until here.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = self._received or number
        if number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
            if is_main_process():
                text = 'Ctrl-C: saving after this step; once more ends at once\n'
                os.write(2, text.encode())

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Save and end, if a process was told to and no gradients are half summed.

        Raises:
            StoppedBySignalError: then, when the checkpoint is written.
        """
        should_update = getattr(runner.optim_wrapper, 'should_update', None)
        if should_update is None or should_update():
            number = self._agree()
            if number:
                self._stop(runner, number)

    def before_val_epoch(self, runner: Runner) -> None:
        """Count the batches that every process has."""
        self._num_shared = len(runner.val_dataloader)
        if self._is_training and self._group is not None:
            count = torch.tensor(self._num_shared)
            distributed.all_reduce(count, distributed.ReduceOp.MIN, self._group)
            self._num_shared = int(count)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Save what was trained and end, if a process was told to.

        Raises:
            StoppedBySignalError: then, when the checkpoint is written.
        """
        if not self._is_training or batch_idx >= self._num_shared:
            return
        number = self._agree()
        if number:
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):  # it has put the averaged weights in
                    hook.after_val_epoch(runner)
            # `save_now` counts a step that has not ended.
            runner.train_loop._iter -= 1
            self._stop(runner, number)

    def after_train(self, runner: Runner) -> None:
        """Give the signals back."""
        self._is_training = False
        if self._exchange is not None:
            self._exchange.wait()
            # Its threads may not outlive the interpreter, which they would abort.
            self._exchange = None
            distributed.destroy_process_group(self._group)
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _agree(self) -> int:
        """Give the signal that a process had at the last call; 0 for none."""
        if self._group is None:
            return self._received
        agreed = 0
        if self._exchange is not None:
            self._exchange.wait()
            agreed = int(self._answer)
        self._answer.fill_(self._received)
        self._exchange = distributed.all_reduce(
            self._answer, distributed.ReduceOp.MAX, self._group, async_op=True
        )
        return agreed

    def _stop(self, runner: Runner, number: int) -> None:
        name, step = signal.Signals(number).name, runner.iter + 1
        savers = [h for h in runner.hooks if isinstance(h, SafeCheckpointHook)]
        saver = savers[0] if savers else SafeCheckpointHook(-1, save_last=False)
        if not savers:  # the config has MMEngine's, or none
            saver.before_train(runner)
        path = saver.save_now(runner)
        # A launcher ends the others when the first has ended: with this code, too.
        barrier(self._group)
        for other in self._previous.keys() - {signal.SIGINT}:
            signal.signal(other, signal.SIG_IGN)
        runner.visualizer.close()
        message = (
            f'stopped by {name} after iteration {step}, saved {path}; go on with '
            '--resume'
        )
        if is_main_process():
            print(message, file=sys.stderr, flush=True)
        raise StoppedBySignalError(number, message)
