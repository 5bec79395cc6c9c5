"""Do to runs what clusters, disks and folders do, and print what it has cost.

Each row of the table in docs/reliability.md is measured on real processes, or by a test
that is named. Rows that have been measured are kept in the folder; those that are named
are measured again. Linux only; an hour on two cores. From the root of the repository:
PYTHONPATH=. python tools/benchmarks/faults.py [ROW ...]
"""

import json
import platform
import subprocess
import sys
import time
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import torch
from fault_rows import ROWS

from projects.adamae.utils.fileio import atomic_path


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('rows', nargs='*', metavar='ROW', help=', '.join(ROWS))
    parser.add_argument('--folder', type=Path, default=Path('work_dirs/faults'))
    args = parser.parse_args(argv)
    if unknown := set(args.rows) - set(ROWS):
        parser.error(f'ROW: expected some of {", ".join(ROWS)}, got {unknown.pop()}')
    return args


def machine() -> str:
    """Describe this machine in a few words."""
    with open('/proc/cpuinfo') as file:
        names = [s.split(':')[1].strip() for s in file if s.startswith('model name')]
    name = names[0] if names else platform.machine()
    return f'{name}, {len(names)} cores, PyTorch {torch.__version__}'


def commit() -> str:
    """Name the commit that was measured."""
    command = ['git', 'describe', '--always', '--dirty']
    result = subprocess.run(command, capture_output=True, text=True)
    return result.stdout.strip()


def measure(name: str, folder: Path) -> dict:
    """Measure one row."""
    row, start = ROWS[name], time.time()
    try:
        result = row.measure(folder)
    except Exception as error:
        traceback.print_exc()
        result = dict(lost=f'not measured: {error!r}', failed=True)
    return dict(
        fault=row.fault,
        **dict(times=0, lost='', seen='', failed=False) | result,
        minutes=round((time.time() - start) / 60, 1),
        date=time.strftime('%Y-%m-%d'),
        commit=commit(),
        machine=machine(),
    )


def table(results: dict[str, dict]) -> str:
    """Write the results as a table in Markdown."""
    lines = [
        '| row | fault | times | lost | seen | minutes, date, commit |',
        '| --- | --- | --- | --- | --- | --- |',
    ]
    for name in (name for name in ROWS if name in results):
        result = results[name]
        when = ', '.join(str(result[key]) for key in ('minutes', 'date', 'commit'))
        lost = '**FAILED** ' * result['failed'] + str(result['lost'])
        cells = name, result['fault'], result['times'], lost, result['seen'], when
        lines.append(f'| {" | ".join(str(c).replace("|", "/") for c in cells)} |')
    machines = {result['machine'] for result in results.values()}
    return '\n'.join([*lines, '', *machines])


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing or named, and print the table."""
    args = parse_args(argv)
    path = args.folder.resolve() / 'results.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in args.rows or [name for name in ROWS if name not in results]:
        print(f'{name}: {ROWS[name].fault}', file=sys.stderr, flush=True)
        results[name] = measure(name, path.parent)
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(results, indent=1))
    print(table(results))
    sys.exit(any(result['failed'] for result in results.values()))


if __name__ == '__main__':
    main()
