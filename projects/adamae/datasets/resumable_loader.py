"""A data loader that can start at any batch, and that outlives its workers."""

from __future__ import annotations

import logging
import signal
from collections import deque
from collections.abc import Callable, Iterator
from inspect import signature
from multiprocessing import Process
from multiprocessing.connection import wait
from typing import Any

from mmengine.logging import print_log
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from ..utils.randomness import seed_generators
from .unreadable import reject_read_by, watch

Place = Callable[[], tuple[int, int, int]]

# How long a sample may take. A reader of videos gives up long before; this is for what
# nothing else ends.
_SECONDS_PER_SAMPLE = 300
# How often in a row workers may die before a batch is there.
_MAX_RESTARTS = 10
# What a decoder dies of, and the alarm of a sample that takes too long.
_CRASHES = {
    signal.SIGSEGV,
    signal.SIGABRT,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGALRM,
}
# What the system does when memory is short: no sample is to blame.
_KILLED = {signal.SIGKILL}


class ResumableDataLoader(DataLoader):
    """A loader whose every sample depends on its place in the run, and on nothing else.

    Random numbers are drawn anew for every sample, from seed, rank, iteration and
    place in the batch: however often a run is interrupted, however many workers there
    are and however long they live, it sees the same clips. A resumed run begins at the
    batch that is due and reads none of those before.

    A worker that crashes, or takes minutes for a sample, costs one video, not the run:
    it is rejected (see :func:`.reject_read_by`), and new workers begin at the batch
    that is due. Workers that the system kills are replaced, too.

    Args:
        loader (DataLoader): what to load, and how; itself not used.
        place (Callable[[], tuple[int, int, int]]): gives seed, rank and the number of
            the iteration that is due.

    Raises:
        RuntimeError: if workers die for which no sample can be blamed, or many in a
            row.
    """

    dataset: _SeededDataset
    batch_sampler: _NumberedBatches

    #: Samples of this rank that were read in this pass over the data, or left out.
    samples_read = 0
    _skipped = 0

    def __init__(self, loader: DataLoader, place: Place) -> None:
        settings = {
            name: getattr(loader, name)
            for name in signature(DataLoader.__init__).parameters
            if hasattr(loader, name)
        }
        for name in ('sampler', 'batch_size', 'drop_last'):
            del settings[name]  # the sampler of batches has them
        settings['dataset'] = _SeededDataset(loader.dataset)
        settings['batch_sampler'] = _NumberedBatches(loader.batch_sampler, place)
        super().__init__(**settings)

    def skip(self, samples: int) -> None:
        """Begin the next pass over the data later.

        Args:
            samples (int): how many samples of this rank are left out.
        """
        self._skipped = samples

    def close(self) -> None:
        """End workers that persist, which takes long when garbage is collected."""
        self._iterator = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self.batch_sampler.start(self._skipped)
        self.samples_read = self._skipped
        self._skipped = restarts = 0
        while True:
            iterator: Any = self._iterator  # whose workers persist, or None
            try:
                iterator = self._start()
                for batch in iterator:
                    self.samples_read += len(self.batch_sampler.due.popleft())
                    restarts = 0
                    yield batch
                return
            # The connection to a worker ends, or torch has seen that the worker has.
            except (RuntimeError, EOFError, ConnectionError) as error:
                text, is_other = str(error), isinstance(error, RuntimeError)
                is_other = is_other and not text.startswith('DataLoader worker')
                # "Caught ...": the dataset's own, such as of a remote file.
                if is_other or text.startswith('Caught ') or not self.num_workers:
                    raise
                restarts += 1
                self._take_leave(iterator._workers, restarts)
            iterator = self._iterator = None  # and with it the workers that are left

    def _start(self) -> Any:
        if self._iterator is None:  # else it has workers that persist
            watch(self.dataset.dataset, self.num_workers)
        iterator = super().__iter__()
        if self.num_workers and callable(signal.getsignal(signal.SIGCHLD)):
            # torch's handler raises wherever the training step is at that moment.
            # Without it the iterator finds out while it waits for the next batch.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return iterator

    def _take_leave(self, workers: list[Process], restarts: int) -> None:
        """Reject the videos that workers died of, if that is what they died of.

        Raises:
            RuntimeError: if it is not, or there are too many.
        """
        if not wait([worker.sentinel for worker in workers], timeout=10):
            raise RuntimeError('data loader: the connection to its workers was lost')
        for number, worker in enumerate(workers):
            code = worker.exitcode
            if code is None:
                continue
            cause = signal.Signals(-code).name if code < 0 else f'exit code {code}'
            reason = f'the process that read it ended with {cause}'
            if -code == signal.SIGALRM:
                reason = f'not read within {_SECONDS_PER_SAMPLE} s'
            if restarts > _MAX_RESTARTS or not (
                -code in _KILLED
                or -code in _CRASHES
                and reject_read_by(number, self.dataset.dataset, reason)
            ):
                raise RuntimeError(
                    f'data loader: a worker ended with {cause}'
                    + f', the last of {restarts} in a row' * (restarts > 1)
                )
            print_log(
                f'data loader: a worker ended with {cause}, new ones begin at the '
                'batch that is due',
                'current',
                logging.WARNING,
            )


class _SeededDataset(Dataset):
    """A dataset whose random numbers depend on the place of a sample in the run.

    Args:
        dataset (Dataset): to read from.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getattr__(self, name: str) -> Any:
        # Runner and hooks ask for ``metainfo`` and more.
        if name.startswith('__') or name == 'dataset':
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, item: tuple[int, tuple[int, ...]]) -> Any:
        index, numbers = item
        seed_generators(*numbers)
        if get_worker_info() is None:
            return self.dataset[index]
        # Nothing handles it, so that it ends the process, whatever that hangs in.
        signal.setitimer(signal.ITIMER_REAL, _SECONDS_PER_SAMPLE)
        sample = self.dataset[index]
        signal.setitimer(signal.ITIMER_REAL, 0)
        return sample


class _NumberedBatches(Sampler):
    """A sampler of batches that gives every index the numbers to seed with.

    Args:
        batches (Sampler): gives lists of indices.
        place (Callable): see :class:`ResumableDataLoader`.

    Attributes:
        due (deque): batches that were asked for and have not arrived yet.
    """

    def __init__(self, batches: Any, place: Place) -> None:
        self.batches = batches
        self.place = place
        self.due: deque[list] = deque()
        self._rest: Iterator[list] = iter(())

    def __getattr__(self, name: str) -> Any:
        # Runner and hooks ask for ``sampler``, ``batch_size`` and ``drop_last``.
        if name.startswith('__') or name == 'batches':
            raise AttributeError(name)
        return getattr(self.batches, name)

    def __len__(self) -> int:
        return len(self.batches)

    def start(self, skipped: int) -> None:
        """Begin a pass over the data after its first samples."""
        self.due.clear()
        self._rest = self._number(skipped)

    def _number(self, skipped: int) -> Iterator[list]:
        seed, rank, iteration = self.place()
        for batch in self.batches:
            if skipped >= len(batch):
                skipped -= len(batch)
                continue
            yield [
                (index, (seed, rank, iteration, position))
                # 0 is for the training step itself.
                for position, index in enumerate(batch[skipped:], 1)
            ]
            skipped = 0
            iteration += 1

    def __iter__(self) -> Iterator[list]:
        # New workers owe what those before them did not deliver.
        yield from tuple(self.due)
        for batch in self._rest:
            self.due.append(batch)
            yield batch
