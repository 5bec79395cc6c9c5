"""Install the project with other versions of what it builds on, and run some tests.

One combination at a time: a virtual environment, the packages, tests that train, resume
and test toy models, and away with it. What was measured before is kept; name rows to
measure them again. Prints the table of docs/compatibility.md; a row that fails has the
first line of its error there, and its output in a log.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple

from projects.adamae_process import ends_in_one_line

ROOT = Path(__file__).resolve().parents[1]
UV = sys.executable, '-m', 'uv'
TESTS = (
    *('tests/launch/test_runs.py', 'tests/datasets/test_datasets.py'),
    *('tests/models/test_mae_recognizer.py', 'tests/checkpoints/test_io.py'),
    *('tests/checkpoints/test_convert.py', 'tests/apis/test_export.py'),
    *('tests/video/test_reader.py', 'tests/datasets/transforms/test_pyav_skip.py'),
)
# Of mmaction2, which is installed without: it asks for decord, of which one is enough.
MMACTION_NEEDS = 'opencv-contrib-python', 'Pillow'
COLUMNS = (
    ('Python', ('python',)),
    ('torch', ('torch',)),
    ('numpy', ('numpy',)),
    ('MMCV', ('mmcv-lite', 'mmcv', 'onedl-mmcv')),
    ('MMEngine', ('mmengine', 'onedl-mmengine')),
    ('MMPretrain', ('mmpretrain', 'onedl-mmpretrain')),
    ('decoder', ('decord', 'decord2')),
)
ERROR = re.compile(r'(ERROR|error|fatal): |E   +\S|\w+(Error|Exception)(: |$)|FAILED ')
VARIABLES = {
    'PYTHONPATH': str(ROOT),
    'PYTHONWARNINGS': 'ignore',
}
MINUTES = 60  # that a step may take; MMCV's operators are compiled for half of it


class Row(NamedTuple):
    """A combination; what it does not name is as in ``requirements/constraints.txt``.

    Attributes:
        name (str): of the row, and of its log.
        python (str): version of the interpreter.
        pins (Mapping[str, str]): versions instead of those of the constraints.
        instead (Mapping[str, str]): packages in place of those of the requirements.
    """

    name: str
    python: str = '3.11'
    pins: Mapping[str, str] = {}
    instead: Mapping[str, str] = {}


# The last OpenCV and ml_dtypes that are built for numpy 1, and an ONNX for that.
NUMPY1 = {
    'numpy': '1.26.4',
    'opencv-python': '4.11.0.86',
    'opencv-contrib-python': '4.11.0.86',
    'ml_dtypes': '0.5.4',
    'onnx': '1.17.0',
}
MM_OLDEST = {'mmengine': '0.10.6', 'mmcv-lite': '2.0.0'}
TORCH_OLDEST = {'torch': '2.7.0', 'torchvision': '0.22.0'}
TORCH_NEWEST = {'torch': '2.14.1', 'torchvision': '0.29.1'}
ONEDL = {
    'mmengine': 'onedl-mmengine',
    'mmcv-lite': 'onedl-mmcv',
    'mmpretrain': 'onedl-mmpretrain',
}
ONEDL_PINS = {
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmpretrain': '1.3.6',
}
ROWS = (
    Row('pinned'),
    Row('numpy1', pins=NUMPY1),
    Row('decord2', pins={'decord2': '3.4.0'}, instead={'decord': 'decord2'}),
    Row('mm-oldest', pins=MM_OLDEST),
    Row('mmcv', pins={'mmcv': '2.1.0'}, instead={'mmcv-lite': 'mmcv'}),
    Row('onedl', pins=ONEDL_PINS, instead=ONEDL),
    Row('torch-newest', pins=TORCH_NEWEST),
    Row('torch-oldest', pins=TORCH_OLDEST),
    Row('python3.10', '3.10'),
    Row('python3.12', '3.12'),
    Row('oldest', '3.10', {**NUMPY1, **TORCH_OLDEST, **MM_OLDEST}),
)


class StepError(Exception):
    """A step of a row failed; says in one line why."""


class NotRunError(Exception):
    """A row cannot be run here; says in one line why."""


def requirements(row: Row) -> list[str]:
    """List what a row installs, torch and mmaction2 apart.

    Returns:
        list[str]: of pip, with the exact versions of the row where there are any.
    """
    names = [*MMACTION_NEEDS, 'mmcv-lite', 'pytest-xdist']
    for file in ('runtime', 'tests', 'export'):
        lines = (ROOT / f'requirements/{file}.txt').read_text('utf-8').splitlines()
        names += [re.split(r'[<>=! ]', line)[0] for line in lines if line[:1].isalpha()]
    names = [row.instead.get(name, name) for name in names]
    return [*dict.fromkeys(n for n in names if n not in ('torch', 'mmaction2'))]


def constraints(row: Row) -> list[str]:
    """List the pins of a row: those of the project, and its own instead."""
    lines = (ROOT / 'requirements/constraints.txt').read_text('utf-8').splitlines()
    pins = [line for line in lines if line[:1].isalpha()]
    left_out = {name.lower() for name in (*row.pins, *row.instead)}
    kept = [pin for pin in pins if re.split('[=;]', pin)[0].lower() not in left_out]
    return [*kept, *(f'{name}=={version}' for name, version in row.pins.items())]


class Environment:
    """A virtual environment, and a log of what was done in it.

    Args:
        folder (Path): of the environment.
        log (Path): file that the output of all steps is added to.
    """

    def __init__(self, folder: Path, log: Path) -> None:  # noqa: D107
        self.folder = folder
        self.log = log
        self.python = str(folder / 'bin/python')

    def run(self, *command: str) -> str:
        """Run a step, and give what it prints.

        Raises:
            StepError: if it fails.
        """
        done = subprocess.run(
            ['timeout', f'{MINUTES}m', *command],
            cwd=ROOT,
            env={**os.environ, **VARIABLES},
            capture_output=True,
            text=True,
        )
        text = done.stdout + done.stderr
        with self.log.open('a', encoding='utf-8') as file:
            file.write(f'$ {" ".join(command)}\n{text}\n')
        if done.returncode == 124:
            raise StepError(f'took more than {MINUTES} minutes')
        if done.returncode:
            lines = text.splitlines() or [f'exit code {done.returncode}']
            line = next(filter(ERROR.search, lines), lines[-1])
            raise StepError(line.removeprefix('E ').strip())
        return text

    def pip(self, *arguments: str) -> str:
        """Have uv install packages, as :meth:`run`; it unpacks each only once."""
        install = *UV, 'pip', 'install', '--python', self.python
        return self.run(*install, *arguments)


def make_environment(row: Row, env: Environment) -> None:
    """Make an empty environment, with an interpreter that is found or fetched.

    Raises:
        NotRunError: if there is none of this version.
    """
    try:
        env.run(*UV, 'venv', '--quiet', '--python', row.python, str(env.folder))
    except StepError as error:
        raise NotRunError(f'no Python {row.python} here ({error})') from None


def install(row: Row, env: Environment, allow_cuda: bool) -> None:
    """Install the packages of a row.

    Raises:
        NotRunError: if torch would come with gigabytes of CUDA, and must not.
        StepError: if one cannot be installed.
    """
    file = env.folder / 'constraints.txt'
    file.write_text('\n'.join(constraints(row)) + '\n', 'utf-8')
    pins = '--constraint', str(file)
    torch = next(pin for pin in constraints(row) if pin.startswith('torch=='))
    if not allow_cuda and 'nvidia' in env.pip('--dry-run', torch):
        raise NotRunError(f'no build of {torch} for CPUs here')
    env.pip(torch)
    # Some build with the torch that is there.
    env.pip(*pins, 'setuptools', 'wheel')
    env.pip(*pins, '--no-build-isolation', *requirements(row))
    env.pip(*pins, '--no-deps', 'mmaction2')


def installed_versions(env: Environment) -> dict[str, str]:
    """Give the versions of all packages, and of Python."""
    code = (
        'import json, platform\nfrom importlib.metadata import distributions as all\n'
        'found = {d.metadata["Name"].lower(): d.version for d in all()}\n'
        'print(json.dumps({"python": platform.python_version(), **found}))'
    )
    return json.loads(env.run(env.python, '-c', code).splitlines()[-1])


def measure(row: Row, out: Path, allow_cuda: bool, keep: bool) -> dict:
    """Run a row, and write what came out to a file.

    Returns:
        dict: ``result`` ('passed', 'failed' or 'not run'), ``reason``, ``versions``,
        ``date`` and ``seconds``.
    """
    start = time.time()
    env = Environment(out / f'{row.name}-env', out / f'{row.name}.log')
    env.log.unlink(missing_ok=True)
    shutil.rmtree(env.folder, ignore_errors=True)
    versions: dict[str, str] = {}
    result, reason = 'passed', ''
    try:
        make_environment(row, env)
        install(row, env, allow_cuda)
        versions = installed_versions(env)
        printed = env.run(env.python, '-m', 'pytest', '-q', '--color=no', *TESTS)
        found = re.findall(r'^(\d+ passed.*?)(?: in |$)', printed, re.MULTILINE)
        reason = found[-1] if found else ''
    except NotRunError as error:
        result, reason = 'not run', str(error)
    except StepError as error:
        result, reason = 'failed', str(error)
    finally:
        if not keep:
            shutil.rmtree(env.folder, ignore_errors=True)
    found = {
        'result': result,
        'reason': reason,
        'versions': versions,
        'date': time.strftime('%Y-%m-%d'),
        'seconds': round(time.time() - start),
    }
    if result != 'not run':
        partial = out / f'{row.name}.partial'
        partial.write_text(json.dumps(found, indent=2), 'utf-8')
        partial.replace(out / f'{row.name}.json')
    return found


def table(found: Mapping[str, dict]) -> str:
    """Write all rows as a Markdown table; those that were not run show their pins."""
    lines = [
        '| row | result | ' + ' | '.join(title for title, _ in COLUMNS) + ' | date |',
        '| --- ' * (len(COLUMNS) + 3) + '|',
    ]
    for row in ROWS:
        outcome = found.get(row.name, {})
        versions = outcome.get('versions') or _pinned(row)
        cells = [row.name, _result(**outcome)]
        for _, names in COLUMNS:
            there = [name for name in names if name in versions]
            cells.append(', '.join(_cell(name, versions[name]) for name in there))
        cells.append(outcome.get('date', ''))
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def _result(result: str = 'not run', reason: str = '', **_: object) -> str:
    if result == 'passed':
        return reason
    reason = shorten(reason, 70, placeholder=' ...').replace('|', '\\|')
    return f'{result}: {reason}' if reason else result


def _cell(name: str, version: str) -> str:
    plain = 'python', 'torch', 'numpy', 'mmengine', 'mmpretrain'
    return version if name in plain else f'{name} {version}'


def _pinned(row: Row) -> dict[str, str]:
    pins = [pin.split(';')[0] for pin in constraints(row)]
    found = dict(pin.split('==') for pin in pins)
    return {'python': row.python} | {k.lower(): v for k, v in found.items()}


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        'rows',
        nargs='*',
        metavar='ROW',
        help=f'measure these again: {", ".join(row.name for row in ROWS)} (default: '
        'those without a result)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=ROOT / 'work_dirs/matrix',
        help='folder of environments, logs and results (default: work_dirs/matrix)',
    )
    parser.add_argument(
        '--allow-cuda',
        action='store_true',
        help='also install a torch that brings CUDA: gigabytes',
    )
    parser.add_argument(
        '--keep', action='store_true', help='keep the environments, to look into them'
    )
    args = parser.parse_args(argv)
    unknown = {*args.rows} - {row.name for row in ROWS}
    if unknown:
        parser.error(f'expected rows of the table, got {", ".join(sorted(unknown))}')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    found = {}
    for row in ROWS:
        file = args.out / f'{row.name}.json'
        if file.exists():
            found[row.name] = json.loads(file.read_text('utf-8'))
        if row.name in args.rows or (not args.rows and row.name not in found):
            print(f'{row.name} ...', file=sys.stderr, flush=True)
            outcome = measure(row, args.out, args.allow_cuda, args.keep)
            found[row.name] = outcome
            print(f'  {outcome["result"]}: {outcome["reason"]}', file=sys.stderr)
    print(table(found))
    if any(outcome['result'] == 'failed' for outcome in found.values()):
        raise SystemExit(1)


if __name__ == '__main__':
    with ends_in_one_line():
        main()
