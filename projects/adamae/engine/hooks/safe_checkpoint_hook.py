"""Checkpoints that neither a kill nor a full disk takes away."""

from __future__ import annotations

import copy
import importlib
import os
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import torch
import torch.distributed as torch_dist
from mmaction.registry import HOOKS
from mmengine.dist import (
    all_reduce,
    broadcast_object_list,
    get_world_size,
    is_main_process,
)
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.hooks import CheckpointHook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner, save_checkpoint
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils._pytree import tree_leaves

from ...utils.fileio import atomic_path, save_atomically
from ...utils.wrappers import unwrap_model
from ..sharded_strategy import shard_like
from .finite_check_hook import FiniteCheckHook

# Where all processes have to meet to save, they agree every so many iterations.
_AGREE_EVERY = 10


class CheckpointNotSaved(OSError):
    """The state that a run ends with could not be written."""


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``; at any moment a whole checkpoint is on the disk.

    - What a new checkpoint replaces (``max_keep_ckpts``, ``save_best``) is removed
      after it has been written, synchronized and named in ``last_checkpoint``; MMEngine
      removes it before.
    - The state is copied and written by a thread, while training goes on. A second one
      waits for the first. Best checkpoints, and those of a runner that writes by
      itself (a sharded one), are written at once.
    - An error of the disk is logged. Training goes on and the next checkpoint is
      another try; only if the last one of a run fails, the run does.
    - Every few minutes ``iter_N.pth`` is saved, which the next checkpoint replaces.
    - Gradients of an update that is not complete (``accumulative_counts``) are
      averaged over the processes, saved, and restored in a resumed run.

    The files are MMEngine's, but for ``'gradients'`` where there are such.

    Args:
        every_minutes (float, optional): from one ``iter_N.pth`` to the next; None is
            never. It is more if needed to keep the pauses of training below 1% and
            the disk busy for at most a tenth of the time. Defaults to 1.
        *args, **kwargs: of ``CheckpointHook``.

    Raises:
        ValueError: if ``every_minutes`` is not positive.
        CheckpointNotSaved: at the end of training, or by :meth:`save_now`, if the
            checkpoint could not be written.
    """

    file_backend: Any
    keep_ckpt_ids: deque[int]

    def __init__(
        self, *args: Any, every_minutes: float | None = 1, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if every_minutes is not None and not every_minutes > 0:
            raise ValueError(
                'SafeCheckpointHook: expected every_minutes to be positive, or None '
                f'for never, got {every_minutes}'
            )
        self.every_minutes = every_minutes
        self._created = time.time()
        self._writing: _Writing | None = None
        self._failure: str | None = None
        self._ending: Exception | None = None
        self._newest: str | None = None
        self._passing: list[str] = []  # the names of `iter_N.pth` to be replaced
        self._old_best: list[str] = []
        self._gradients: dict[str, Any] | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the gradients of an update that was not complete."""
        self._gradients = checkpoint.pop('gradients', None)

    def before_train(self, runner: Runner) -> None:
        """Restore such gradients, and sweep what killed processes have left."""
        super().before_train(runner)
        self.file_backend = _KeepingBackend(self.file_backend, self._old_best)
        if self.max_keep_ckpts > 0:
            # Without a length: the oldest stays on it until it may be removed.
            self.keep_ckpt_ids = deque(self.keep_ckpt_ids)
        saved = runner.message_hub.runtime_info.get('passing_ckpts')
        # They will be removed: no path that a checkpoint of somebody else may name.
        names = [str(name) for name in saved] if isinstance(saved, list) else []
        self._passing = [n for n in names if re.fullmatch(r'iter_\d+\.pth', n)]
        self._restore_gradients(runner)
        # The processes of a sharded run have to save together.
        self._group = None
        if get_world_size() > 1 and type(runner).save_checkpoint != (
            Runner.save_checkpoint
        ):
            self._group = torch_dist.new_group(backend='gloo')
        self._schedule(0, 0)
        if is_main_process():
            _sweep(runner.work_dir, self._created)
            if self.out_dir != runner.work_dir and os.path.isdir(self.out_dir):
                # Another run may be writing there: nothing holds a lock on it.
                _sweep(self.out_dir, self._created - 3600)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Save by iterations or by the clock; log what the last write came to."""
        self._settle(runner)
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        # After the last iteration of an epoch the loop has more to do than to go on.
        if batch_idx + 1 != len(runner.train_dataloader) and self._is_due(runner):
            self._save_passing(runner)
        if self._ending is not None:
            with suppress(CheckpointNotSaved):  # which is in the log
                self.save_now(runner)
            raise self._ending

    def after_train(self, runner: Runner) -> None:
        """Wait for the last checkpoint; publish as MMEngine does.

        Raises:
            CheckpointNotSaved: if it could not be written.
        """
        self._settle(runner, wait=True)
        if self._failure is not None:
            raise CheckpointNotSaved(
                f'the run has ended, but its last checkpoint is not saved: '
                f'{self._failure}; make room and go on with --resume'
            )
        super().after_train(runner)

    def end_with(self, error: Exception) -> None:
        """End the run after this iteration: save, then raise an error.

        To be called on all processes, from an ``after_train_iter``, by hooks that come
        before those of the schedule.
        """
        self._ending = error

    def save_now(self, runner: Runner) -> str:
        """Save the whole state, between two iterations, and wait for it.

        To be called on all processes, from an ``after_train_iter`` after those of
        averaged weights and schedules.

        Args:
            runner (Runner): in training.

        Returns:
            str: path of the checkpoint, ``iter_N.pth``.

        Raises:
            CheckpointNotSaved: on all processes, if it could not be written.
            FloatingPointError: so, too, if ``FiniteCheckHook`` finds the last update
                bad, at which it looks a step later otherwise.
        """
        _look_at_last_update(runner)
        path = self._save_passing(runner)
        self._settle(runner, wait=True)
        # The launcher stops the first process once another one has ended.
        failure = [self._failure]
        broadcast_object_list(failure)
        if failure[0] is not None:
            raise CheckpointNotSaved(failure[0])
        return path

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the gradients of an update that is not complete."""
        if self._gradients is not None and 'optimizer' in checkpoint:
            checkpoint['gradients'] = self._gradients

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        _look_at_last_update(runner)
        self._settle(runner, wait=True)
        name = self.filename_tmpl.format(step)
        if self.max_keep_ckpts > 0:
            if step not in self.keep_ckpt_ids:
                self.keep_ckpt_ids.append(step)
            # With those to be removed: a run killed before that does it when resumed.
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._save(
            runner,
            name,
            meta,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            by_epoch=self.by_epoch,
            **self.args,
        )

    def _save_passing(self, runner: Runner) -> str:
        """Save ``iter_N.pth``, to be replaced by whatever is saved next."""
        self._settle(runner, wait=True)
        step = runner.iter + 1
        name = f'iter_{step}.pth'
        self._passing = [*(n for n in self._passing if n != name), name]
        meta = dict(epoch=runner.epoch, iter=step)
        return self._save(runner, name, meta, by_epoch=False)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        def restore() -> None:
            self._old_best.clear()
            self.__dict__.update(paths)
            for key in [k for k in info if k.startswith('best_')]:
                info.pop(key)
            info.update(best)

        def write(checkpoint: dict, path: str, **options: Any) -> None:
            try:
                _write(checkpoint, path, **options)
            except OSError as error:
                runner.logger.error(_explain(error, checkpoint, path))
                restore()

        info = runner.message_hub.runtime_info
        best = {k: v for k, v in info.items() if k.startswith('best_')}
        paths = {
            k: copy.copy(v) for k, v in vars(self).items() if 'best_ckpt_path' in k
        }
        self._settle(runner, wait=True)
        with _mmengine_saves_by(write):
            super()._save_best_checkpoint(runner, metrics)
        if self.last_ckpt is None and is_main_process():
            # Else they are removed with the next state of the run, which names the new.
            self._remove(self._old_best, self._kept_paths())
            self._old_best.clear()

    def _save(self, runner: Runner, name: str, meta: dict, **options: Any) -> str:
        """Save the state of a run; what it replaces is removed when it is whole."""
        path = self.file_backend.join_path(self.out_dir, name)
        if self._passing:
            runner.message_hub.update_info('passing_ckpts', list(self._passing))
        start = time.monotonic()
        self._gradients = _average_gradients(runner)
        finish = partial(
            self._finish,
            pointer=os.path.join(runner.work_dir, 'last_checkpoint'),
            obsolete=self._obsolete_paths(name),
            kept={path, *self._kept_paths()},
        )

        def write(checkpoint: dict, path: str, **options: Any) -> None:
            content = _copy(checkpoint)

            def run() -> None:
                _write(content, path, **options)
                finish(path)

            explain = partial(_explain, content=content, path=path)
            self._writing = _Writing(run, name, start, explain)

        try:
            with _mmengine_saves_by(write):
                runner.save_checkpoint(
                    self.out_dir,
                    name,
                    self.file_client_args,
                    meta=meta,
                    backend_args=self.backend_args,
                    **options,
                )
            if self._writing is None and is_main_process():  # the runner has written it
                finish(path)
        except OSError as error:
            self._note(runner, name, _explain(error, {}, path))
        else:
            if self._writing is None:
                self._note(runner, name, None)
        finally:
            self._gradients = None
        self._schedule(time.monotonic() - start, 0)
        return path

    def _settle(self, runner: Runner, wait: bool = False) -> None:
        """Take note of what the thread has written, if it is done."""
        writing = self._writing
        if writing is None or (writing.is_alive() and not wait):
            return
        writing.join()
        self._writing = None
        if writing.error is not None:
            raise writing.error
        self._note(runner, writing.checkpoint, writing.failure)
        self._schedule(writing.pause, writing.seconds)

    def _note(self, runner: Runner, name: str, failure: str | None) -> None:
        """Keep the lists of files as they are on the disk."""
        self._failure = failure
        keeps = self.max_keep_ckpts > 0
        if failure is not None:
            newest = f'the newest whole checkpoint is {self._newest}; ' * bool(
                self._newest
            )
            runner.logger.error(f'{failure}; {newest}the next one is another try')
            path = self.file_backend.join_path(self.out_dir, name)
            if not self.file_backend.isfile(path):  # nor is there one from before
                self._passing = [n for n in self._passing if n != name]
                ids = self.keep_ckpt_ids if keeps else ()
                if ids and self.filename_tmpl.format(ids[-1]) == name:
                    self.keep_ckpt_ids.pop()
            return
        self._newest = name
        while keeps and len(self.keep_ckpt_ids) > self.max_keep_ckpts:
            self.keep_ckpt_ids.popleft()
        self._passing = [n for n in self._passing if n == name]
        if 'passing_ckpts' in runner.message_hub.runtime_info:
            runner.message_hub.update_info('passing_ckpts', list(self._passing))
        self._old_best.clear()

    def _finish(
        self, path: str, pointer: str, obsolete: list[str], kept: set[str]
    ) -> None:
        """Point to a checkpoint that is whole, then remove what it replaces."""
        with atomic_path(pointer) as partial_path:
            partial_path.write_text(path)
        self._remove(obsolete, kept)

    def _remove(self, paths: Iterable[str], kept: set[str]) -> None:
        backend = self.file_backend.backend
        for path in (path for path in paths if path not in kept):
            if backend.isfile(path):
                backend.remove(path)
            elif backend.isdir(path):
                backend.rmtree(path)  # of DeepSpeed

    def _obsolete_paths(self, name: str) -> list[str]:
        ids = list(self.keep_ckpt_ids) if self.max_keep_ckpts > 0 else []
        names = [self.filename_tmpl.format(i) for i in ids[: -self.max_keep_ckpts]]
        names += [n for n in self._passing if n != name]
        paths = [self.file_backend.join_path(self.out_dir, n) for n in names]
        return [*paths, *self._old_best]

    def _kept_paths(self) -> set[str]:
        ids = list(self.keep_ckpt_ids) if self.max_keep_ckpts > 0 else []
        names = [self.filename_tmpl.format(i) for i in ids[-self.max_keep_ckpts :]]
        best = [getattr(self, 'best_ckpt_path', None)]
        best += getattr(self, 'best_ckpt_path_dict', {}).values()
        paths = [self.file_backend.join_path(self.out_dir, n) for n in names]
        return {*paths, *(path for path in best if path)}

    def _schedule(self, pause: float, seconds: float) -> None:
        """Set when the next ``iter_N.pth`` is due, after one that took this long."""
        wait = max(60 * (self.every_minutes or 0), 100 * pause, 10 * seconds)
        self._due = time.monotonic() + wait

    def _is_due(self, runner: Runner) -> bool:
        if self.every_minutes is None or not _is_between_updates(runner):
            return False
        due = self._writing is None and time.monotonic() >= self._due
        if self._group is None:
            return due and is_main_process()  # the others have nothing to do
        if (runner.iter + 1) % _AGREE_EVERY:
            return False
        decision = torch.tensor(due)
        torch_dist.broadcast(decision, 0, group=self._group)
        return bool(decision)

    def _restore_gradients(self, runner: Runner) -> None:
        saved, self._gradients = self._gradients, None
        if _is_between_updates(runner):
            return
        params = dict(unwrap_model(runner.model).named_parameters())
        if (
            saved is None
            or (saved['iter'], saved['scale']) != _place(runner)
            or not params.keys() >= saved['parameters'].keys()
        ):
            return  # MMEngine has warned that they are lost
        for name, gradient in saved['parameters'].items():
            value = gradient.to(params[name].device)
            params[name].grad = shard_like(value, params[name])
        runner.logger.info(
            'The gradients of the iterations since the last update are not lost, but '
            'restored from the checkpoint'
        )


class _KeepingBackend:
    """A file backend that leaves it to the hook when files are removed.

    Args:
        backend: of MMEngine.
        removed (list[str]): is extended by what MMEngine wants to remove.
    """

    def __init__(self, backend: Any, removed: list[str]) -> None:
        self.backend = backend
        self.remove = self.rmtree = removed.append

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)


class _Writing(Thread):
    """A checkpoint that is being written.

    Args:
        write (Callable): does it.
        checkpoint (str): name of the file.
        start (float): when training was interrupted for it.
        explain (Callable): makes an ``OSError`` the text of ``failure``.
    """

    def __init__(
        self,
        write: Callable[[], None],
        checkpoint: str,
        start: float,
        explain: Callable[[OSError], str],
    ) -> None:
        super().__init__(name=f'writes {checkpoint}')
        self.write = write
        self.checkpoint = checkpoint
        self.explain = explain
        self.seconds = 0.0
        self.failure: str | None = None
        self.error: Exception | None = None
        self.pause = time.monotonic() - start
        self.start()

    def run(self) -> None:
        start = time.monotonic()
        try:
            self.write()
        except OSError as error:
            self.failure = self.explain(error)
        except Exception as error:
            self.error = error  # raised where training is
        finally:
            del self.write, self.explain  # and with them the copy
        self.seconds = time.monotonic() - start


@contextmanager
def _mmengine_saves_by(function: Callable[..., None]) -> Iterator[None]:
    """Let ``Runner.save_checkpoint`` call this once it has put the content together."""
    module = vars(importlib.import_module(Runner.__module__))
    original = module['save_checkpoint']
    module['save_checkpoint'] = function
    try:
        yield
    finally:
        module['save_checkpoint'] = original


def _write(
    checkpoint: dict,
    path: str,
    file_client_args: dict | None = None,
    backend_args: dict | None = None,
) -> None:
    """Write the file that MMEngine would, without two more copies in memory.

    Raises:
        OSError: if the disk is full or gone.
    """
    if file_client_args is not None or not isinstance(
        get_file_backend(path, backend_args=backend_args), LocalBackend
    ):
        save_checkpoint(checkpoint, path, file_client_args, backend_args)
        return
    save_atomically(checkpoint, path)


def _copy(checkpoint: dict) -> dict:
    """Copy to memory of the CPU that training does not touch."""
    tensors = [x for x in tree_leaves(checkpoint) if isinstance(x, Tensor)]
    fetched = {id(t): t.detach().cpu() for t in tensors if t.device.type != 'cpu'}
    return copy.deepcopy(checkpoint, fetched)


def _explain(error: OSError, content: dict, path: str) -> str:
    """Say which file could not be written, and what it takes."""
    tensors = [x for x in tree_leaves(content) if isinstance(x, Tensor)]
    size = sum(t.untyped_storage().nbytes() for t in tensors)
    text = f'{path} could not be written: {error.strerror or error}'
    try:
        free = shutil.disk_usage(os.path.dirname(path)).free
    except OSError:
        return text
    return f'{text}; it takes {size / 1e9:.3f} GB, {free / 1e9:.3f} GB are free there'


def _sweep(folder: str, before: float) -> None:
    """Remove what processes have left that were killed while they wrote."""
    for path in Path(folder).iterdir():
        if re.fullmatch(r'[0-9a-f]{32}\.partial|\..+\.part', path.name) and (
            path.stat().st_mtime < before
        ):
            path.unlink(missing_ok=True)


def _is_between_updates(runner: Runner) -> bool:
    """Whether no gradients are waiting for an update of the weights."""
    wrapper = runner.optim_wrapper
    return not isinstance(wrapper, OptimWrapper) or wrapper.should_update()


def _look_at_last_update(runner: Runner) -> None:
    """End the run here if its last update was bad, not after it is saved."""
    for hook in runner.hooks:
        if isinstance(hook, FiniteCheckHook):
            hook.read_all(runner)


def _place(runner: Runner) -> tuple[int, float]:
    """Say where a run is, and what a loss is multiplied by in the update at hand."""
    scale = runner.optim_wrapper.scale_loss(torch.ones(()))
    return runner.optim_wrapper.inner_count, float(scale)


def _average_gradients(runner: Runner) -> dict[str, Any] | None:
    """Average gradients that wait for an update over the processes, in place.

    An update averages them in any case. Here it is done beforehand, so that one file
    has those of all processes.

    Returns:
        dict | None: what to save, on the CPU; None if no gradients are waiting.
    """
    if _is_between_updates(runner):
        return None
    gradients = {}
    for name, param in unwrap_model(runner.model).named_parameters():
        gradient = param.grad
        if isinstance(gradient, DTensor):
            gradient = gradient.full_tensor()  # averaged already
        elif gradient is not None:
            all_reduce(gradient, 'mean')
        if gradient is not None:
            gradients[name] = gradient.cpu()
    iteration, scale = _place(runner)
    return dict(iter=iteration, scale=scale, parameters=gradients)
