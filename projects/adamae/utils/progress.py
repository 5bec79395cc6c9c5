"""How far work has come: a bar on a terminal, a few lines in a file or pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from rich import progress as rich_progress
from rich.console import Console
from rich.table import Column
from rich.text import Text

T = TypeVar('T')

# Seconds from one picture of a bar to the next.
_REDRAW = 0.1
# Seconds until the first line that is no bar; each next one takes twice as long.
_FIRST_LINE = 5.0
_LONGEST_PAUSE = 600.0


class Progress:
    """Show on stderr how far work has come, while it is used in a ``with`` statement.

    On a terminal that is a bar of rich. Elsewhere, a line after 5, 10, 20, ... seconds,
    later every 10 minutes, without control characters. stdout is left to results.

    Args:
        title (str): what is done, such as ``'checking videos'``.
        total (int): how many there are.
        enabled (bool): whether to show anything. Defaults to True.

    Attributes:
        done (int): how many are done.

    Example:
        >>> with Progress('checking videos', len(videos)) as progress:
        ...     for video in progress.track(videos):
        ...         check(video)
    """

    def __init__(self, title: str, total: int, enabled: bool = True) -> None:
        self.title, self.total, self.done = title, total, 0
        self._enabled = enabled and total > 0 and sys.stderr is not None
        self._bar: rich_progress.Progress | None = None
        self._task = rich_progress.TaskID(0)
        self._start = self._next = 0.0  # when it began; when it shows something, then
        self._told = 0

    def __enter__(self) -> Progress:
        self._start = time.monotonic()
        self._next = _FIRST_LINE
        console = _Console(stderr=True)
        if self._enabled and (console.is_jupyter or _can_draw(console)):
            self._bar = rich_progress.Progress(
                rich_progress.TextColumn('{task.description}', markup=False),
                rich_progress.BarColumn(30),
                _CountColumn(self),
                console=console,
                # Processes that are forked meanwhile would inherit the streams, and
                # locks of a thread that draws: some would never end.
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._task = self._bar.add_task(self.title, total=self.total)
            self._bar.start()
            self._next = 0.0
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            with suppress(OSError):  # a terminal that was closed
                self._bar.stop()
        elif self._next > _FIRST_LINE and self._told < self.done:
            self._write_line()

    def advance(self, count: int = 1) -> None:
        """Tell that some more are done; never more than there are."""
        self.done = min(self.done + count, self.total)
        elapsed = time.monotonic() - self._start
        is_due = elapsed >= self._next
        if self._bar is not None:
            if is_due:
                self._next = elapsed + _REDRAW
            with suppress(OSError):  # a terminal that was closed
                self._bar.update(self._task, completed=self.done, refresh=is_due)
        elif is_due:
            while self._next <= elapsed:
                self._next += min(self._next, _LONGEST_PAUSE)
            self._write_line()

    def track(self, items: Iterable[T], count: int = 1) -> Iterator[T]:
        """Give items, and count each as done when the next one is asked for.

        Args:
            items (Iterable): any number.
            count (int): how many each stands for, as of the clips of a batch. Defaults
                to 1.

        Yields:
            Any: the items.
        """
        for item in items:
            yield item
            self.advance(count)
        self.advance(self.total - self.done)  # some may have been left out

    def print(self, text: str) -> None:
        """Print a line to stdout, above the bar where that is on the same terminal."""
        if self._bar is not None and sys.stdout.isatty():
            # To stderr, so that rich can move the bar.
            self._bar.console.print(Text(text), soft_wrap=True)
        else:
            print(text, flush=True)

    def describe(self) -> str:
        """Give counts, rate, and the time that is left or, at the end, was taken."""
        elapsed = time.monotonic() - self._start
        text = f'{self.done} of {self.total}'
        if not self.done or not elapsed:
            return text
        rate = self.done / elapsed
        each = f'{rate:.1f}/s' if rate >= 1 else f'{1 / rate:.1f} s each'
        if self.done >= self.total:
            return f'{text}, {each}, took {_clock(elapsed)}'
        return f'{text}, {each}, {_clock((self.total - self.done) / rate)} left'

    def _write_line(self) -> None:
        self._told = self.done
        with suppress(OSError):  # a pipe that was closed
            if self._enabled:
                print(f'{self.title}: {self.describe()}', file=sys.stderr, flush=True)


class _Console(Console):
    """A console with a cursor that stays when its process is killed."""

    def show_cursor(self, show: bool = True) -> bool:
        return False


class _CountColumn(rich_progress.ProgressColumn):
    """What :meth:`Progress.describe` says."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(Column(no_wrap=True))
        self._progress = progress

    def render(self, task: Any) -> Text:
        return Text(self._progress.describe(), 'progress.remaining')


def _can_draw(console: Console) -> bool:
    # Of a pipe that should get colors (FORCE_COLOR), rich says it was a terminal.
    return (
        sys.stderr.isatty() and console.is_interactive and not console.is_dumb_terminal
    )


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
