"""How every tool ends on Ctrl-C while it imports, and where packages are missing."""

import ast
import os
import signal
import subprocess
import sys

import pytest

from tests.helpers import ROOT, run_command
from tests.tools.test_help import TOOLS

# Each in its own way: with handlers of signals, without arguments, in another folder.
COMMANDS = {
    'train.py': ('a',),
    'test.py': ('a', 'b'),
    'demo.py': (),
    'study.py': (),
    'new_dataset.py': ('a', '--videos', 'b'),
    'data/transcode.py': ('a', 'b'),
    '_torchrun.py': (),
}
SLOW = 'import time\nprint("importing", flush=True)\ntime.sleep(600)\n'


def python(path, *arguments, **env):
    """Start a tool with a Python without packages, from nowhere near the checkout."""
    return subprocess.Popen(
        [sys.executable, '-S', path, *arguments],
        cwd='/',
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize('path', TOOLS, ids=lambda path: path.name)
def test_every_tool_ends_so(path):
    last = ast.unparse(ast.parse(path.read_text('utf-8')).body[-1])
    assert last.endswith('with ends_in_one_line():\n        main()')


@pytest.mark.parametrize('tool', COMMANDS)
def test_missing_packages(tool):
    process = python(ROOT / 'tools' / tool, *COMMANDS[tool])
    (error,) = process.communicate(timeout=60)[1].splitlines()
    assert process.returncode == 2
    start = f'error: {sys.executable}: expected a Python with the packages of'
    assert error.startswith(start) and 'got one without ' in error


@pytest.mark.parametrize('tool', COMMANDS)
def test_ctrl_c_during_imports(tool, tmp_path):
    for name in ('numpy', 'mmengine', 'mmaction', 'torch'):
        (tmp_path / f'{name}.py').write_text(SLOW)
    process = python(ROOT / 'tools' / tool, *COMMANDS[tool], PYTHONPATH=str(tmp_path))
    assert process.stdout.readline() == 'importing\n'
    process.send_signal(signal.SIGINT)
    (error,) = process.communicate(timeout=60)[1].strip().splitlines()
    assert process.returncode == 130
    assert error.startswith('stopped')


def test_another_package_of_this_name_hides_nothing(tmp_path):
    for folder in ('hides', 'beside'):
        (tmp_path / folder / 'projects/other').mkdir(parents=True)
    (tmp_path / 'hides/projects/__init__.py').touch()
    (tmp_path / 'beside/projects/other/mine.py').touch()
    train = str(ROOT / 'tools/train.py')
    code = f'import runpy, sys\nsys.path.insert(0, {str(ROOT / "tools")!r})\n'
    code += f'runpy.run_path({train!r})\nimport projects.other.mine'
    both = os.pathsep.join(str(tmp_path / name) for name in ('hides', 'beside'))
    done = run_command(sys.executable, '-S', '-c', code, cwd='/', PYTHONPATH=both)
    assert done.returncode == 0, done.stderr


def test_one_process_of_a_machine_says_it(tmp_path):
    (tmp_path / 'numpy.py').write_text(SLOW)
    train = ROOT / 'tools/test.py', 'a', 'b'
    for rank, said in (('0', 'stopped\n'), ('1', '')):
        process = python(*train, PYTHONPATH=str(tmp_path), LOCAL_RANK=rank)
        assert process.stdout.readline() == 'importing\n'
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[1].lstrip() == said
        assert process.returncode == 130


@pytest.mark.parametrize(
    'arguments',
    [('report.py', 'a'), ('doctor.py', 'a'), ('export.py', 'a', 'b', '--out', 'c')],
    ids=lambda arguments: arguments[0],
)
def test_a_terminal_hears_at_once_what_is_done(arguments):
    tool, *arguments = arguments
    main, terminal = os.openpty()
    done = subprocess.run(
        [sys.executable, '-S', ROOT / 'tools' / tool, *arguments],
        cwd='/',
        env={'COLUMNS': '200'},
        stderr=terminal,
    )
    os.close(terminal)
    first, *_ = os.read(main, 4000).decode().splitlines()
    os.close(main)
    assert done.returncode == 2 and first.endswith(' ...')


PRINTS = """
from projects.adamae_process import ends_in_one_line
with ends_in_one_line():
    from projects.adamae.launch import errors_in_one_line
    with errors_in_one_line(OSError):
        print('a line', flush=True)
"""


@pytest.mark.parametrize(
    'command',
    [
        [ROOT / 'tools/configs.py', 'ls'],  # written as the interpreter ends
        ['-c', PRINTS],  # in the middle
    ],
    ids=['end', 'middle'],
)
def test_nobody_reads_the_output(command):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, '')


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='of Linux')
def test_no_room_for_the_output():
    with open('/dev/full', 'w') as full:
        done = subprocess.run(
            [sys.executable, ROOT / 'tools/configs.py', 'ls'],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == 'error: writing the output: No space left on device\n'
