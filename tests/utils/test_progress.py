"""What is seen of long work: on a terminal, in a pipe, and after it was stopped."""

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from unittest.mock import Mock

import pytest

from projects.adamae.utils import progress
from projects.adamae.utils.progress import Progress
from tests.helpers import ROOT

# The file alone: the package takes seconds to import.
SCRIPT = f"""
import importlib.util, sys, time
path = {str(ROOT / 'projects/adamae/utils/progress.py')!r}
spec = importlib.util.spec_from_file_location('progress', path)
module = importlib.util.module_from_spec(spec)
sys.modules['progress'] = module
spec.loader.exec_module(module)
with module.Progress('checking videos', 4) as progress:
    for item in progress.track([1, 2], count=2):
        progress.print(f'[b]{{item}}[/b]')
        for _ in range(100):  # a signal just before one of them waits for its end
            time.sleep(SECONDS / 100)
"""


class Terminal:
    """A program on a terminal of its own; ``stdout`` goes to that or to a pipe."""

    def __init__(self, seconds=0.0, stdout=None, columns='80', **env):
        ours, theirs = pty.openpty()
        names = ('NO_COLOR', 'FORCE_COLOR', 'TTY_COMPATIBLE', 'TTY_INTERACTIVE')
        env = {k: v for k, v in os.environ.items() if k not in names} | env
        self.process = subprocess.Popen(
            [sys.executable, '-c', SCRIPT.replace('SECONDS', str(seconds))],
            stdin=theirs,
            stdout=stdout or theirs,
            stderr=theirs,
            env={'TERM': 'xterm', **env, 'COLUMNS': columns},
            text=True,
        )
        os.close(theirs)
        self._ours = ours
        self.text = ''

    def read(self, until='', times=1):
        """Read until it ends, or until a text is there so many times."""
        while not until or self.text.count(until) < times:
            try:
                self.text += os.read(self._ours, 1000).decode()
            except OSError:  # as Linux says that the other side is closed
                os.close(self._ours)
                return self.text
        return self.text


def plain(text):
    """Without colors and movements of the cursor."""
    return re.sub(r'\x1b\[[\d;?]*[A-Za-z]', '', text)


def test_a_bar_on_a_terminal():
    text = Terminal().read()
    assert '\x1b[' in text
    assert re.search(r'checking videos ━+ 4 of 4, [\d.]+/s, took 0:00:0\d', plain(text))
    assert '[b]1[/b]' in plain(text)
    assert '\x1b[?25l' not in text  # a hidden cursor would stay hidden after a kill
    assert text.endswith('\r\n')


def test_results_in_a_pipe_beside_a_bar():
    terminal = Terminal(stdout=subprocess.PIPE)
    text = terminal.read()
    assert terminal.process.communicate()[0] == '[b]1[/b]\n[b]2[/b]\n'
    assert '4 of 4' in plain(text) and '[b]' not in text


@pytest.mark.parametrize('columns', ['1', '20'])
def test_a_narrow_terminal_gets_one_line(columns):
    text = plain(Terminal(columns=columns, stdout=subprocess.DEVNULL).read())
    assert text.count('\n') == 1
    assert max(map(len, re.split(r'[\r\n]+', text))) <= int(columns)


def test_terminals_that_cannot_move_the_cursor():
    assert Terminal(TERM='dumb').read() == '[b]1[/b]\r\n[b]2[/b]\r\n'


def test_no_color():
    text = Terminal(NO_COLOR='1').read()
    assert '4 of 4' in text
    assert not re.search(r'\x1b\[[\d;]*3\d[\d;]*m', text)


def test_the_terminal_after_an_interruption():
    terminal = Terminal(seconds=60)
    terminal.read(until='[b]1[/b]')  # while it works, not before
    terminal.process.send_signal(signal.SIGINT)
    text = plain(terminal.read())
    bar, _, error = text.rpartition('\r\nTraceback')
    assert '0 of 4' in bar.splitlines()[-1]
    assert 'KeyboardInterrupt' in error


def test_a_bar_can_be_seen_by_processes_that_are_forked(monkeypatch):
    """A lock of a thread beside it would stay locked in them."""
    ours, theirs = pty.openpty()
    monkeypatch.setenv('TERM', 'xterm')
    with open(theirs, 'w') as terminal:
        monkeypatch.setattr(sys, 'stderr', terminal)
        before = threading.enumerate()
        with Progress('checking videos', 2) as shown:
            shown.advance()
            assert threading.enumerate() == before
            assert '1 of 2' in plain(os.read(ours, 10_000).decode())
    os.close(ours)


def track(monkeypatch, seconds, total=10, **options):
    """Work on so many things that each take some seconds of a clock of ours."""
    clock = [100.0]
    monkeypatch.setattr(progress.time, 'monotonic', lambda: clock[0])
    with Progress('checking videos', total, **options) as shown:
        for _ in shown.track(range(total)):
            clock[0] += seconds


def test_lines_in_a_pipe(monkeypatch, capsys):
    track(monkeypatch, 3)
    assert capsys.readouterr() == ('', '''\
checking videos: 2 of 10, 3.0 s each, 0:00:24 left
checking videos: 4 of 10, 3.0 s each, 0:00:18 left
checking videos: 7 of 10, 3.0 s each, 0:00:09 left
checking videos: 10 of 10, 3.0 s each, took 0:00:30
''')  # fmt: skip


def test_a_few_lines_in_hours_and_none_in_seconds(monkeypatch, capsys):
    track(monkeypatch, 0.04, 100)
    assert capsys.readouterr() == ('', '')
    track(monkeypatch, 1, 36000)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 67
    assert lines[-2:] == [
        'checking videos: 35440 of 36000, 1.0/s, 0:09:20 left',
        'checking videos: 36000 of 36000, 1.0/s, took 10:00:00',
    ]


def test_nothing_where_it_is_not_wanted_or_there_is_nothing_to_do(monkeypatch, capsys):
    track(monkeypatch, 100, enabled=False)
    track(monkeypatch, 100, total=0)
    assert capsys.readouterr() == ('', '')


def test_work_goes_on_where_nobody_can_be_told(monkeypatch):
    monkeypatch.setattr(sys, 'stderr', None)
    track(monkeypatch, 100)
    full = Mock(isatty=lambda: False, write=Mock(side_effect=OSError('full')))
    monkeypatch.setattr(sys, 'stderr', full)
    track(monkeypatch, 100)
    assert full.write.called


def test_batches_that_were_left_out_count_at_the_end():
    with Progress('encoding', 10, enabled=False) as shown:
        for number, _ in enumerate(shown.track('ab', count=4)):
            assert shown.done == 4 * number
        assert shown.done == 10
