"""The rows of ``faults.py``: what is done to a run, how often, and what is measured."""

import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from fault_runs import (
    ITERATIONS,
    TOOLS,
    Run,
    ended,
    first_difference,
    wait_for_end,
    write_config,
)

# Iterations between two faults, on average.
STRIDE = 8
LAST = f'iter_{ITERATIONS}.pth'
# Nothing is saved but at the end, or when the run is told to stop.
ONLY_WHEN_STOPPED = 'default_hooks.checkpoint.update(interval=10**9)\n'


@dataclass
class Row:
    """A fault, and a function that measures what it does in a folder."""

    fault: str
    measure: Callable[[Path], dict]


def fresh(folder: Path) -> Path:
    """Give a new, empty folder of this name."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def reference(folder: Path, name: str = 'plain', changes: str = '') -> Path:
    """Give the last checkpoint of a run that nothing happens to."""
    config = write_config(folder, name, changes)
    path = folder / f'unbroken_{name}' / LAST
    if not path.exists():
        fresh(path.parent)
        run = Run(config, path.parent)
        with ended(run):
            run.process.wait()
        if run.process.returncode:
            raise RuntimeError(f'the run without a fault has failed: {run.log}')
    return path


def wait_for_moment(run: Run, rng: random.Random, may_write: bool = False) -> bool:
    """Wait for a random moment: in the start, in a step, or in a write.

    Returns:
        bool: whether the run was still there.
    """
    kind = rng.random()
    steps = rng.randint(1, 2 * STRIDE - 1)
    delay = rng.random()
    if kind < 0.15:
        time.sleep(10 * delay)
    else:
        run.wait_until(lambda: len(run.steps()) >= steps)
        if may_write and kind > 0.5:
            run.wait_until(run.partial)
            time.sleep(0.002 * delay)
        else:
            time.sleep(0.05 * delay)
    return run.process.poll() is None


def sigkill(folder: Path, times: int = 50) -> dict:
    """Kill all processes of a run again and again until it ends, then the next."""
    whole = reference(folder)
    config = folder / 'plain.py'
    rng = random.Random(0)
    kills = in_write = in_start = lost = damaged = number = 0
    repeated: list[int] = []
    differences: list[str] = []
    while kills < times:
        work = fresh(folder / 'sigkill' / str(number))
        number += 1
        work.with_name(f'{work.name}.log').unlink(missing_ok=True)
        newest = logged = 0
        while True:
            run = Run(config, work, '--resume')
            with ended(run):
                alive = wait_for_moment(run, rng, may_write=True) and kills < times
                if alive:
                    before = run.saved()
                    run.kill()
                else:
                    run.process.wait()
            begun = run.resumed()
            steps = run.steps()
            if begun is not None:
                lost += begun < newest
                repeated.append(max(0, logged - begun))
            elif newest and steps:
                lost += 1  # it has started over
            damaged += len(re.findall(r'skipped .*damaged', run.output()))
            logged = max(steps, default=logged)
            if not alive:
                break
            newest = max(newest, before)
            kills += 1
            in_write += bool(run.partial())
            in_start += not steps
            print(f'  kill {kills} after iteration {logged}', file=sys.stderr)
        difference = first_difference(whole, work / LAST) if is_done(run) else 'code'
        if difference:
            differences.append(f'run {number - 1}: {difference}')
    text = f'{number} runs, {number - len(differences)} bit-equal at the end '
    text += f'{"; ".join(differences)}; {in_write} kills in a write, {in_start} '
    text += f'before the first step; updates repeated: median {median(repeated)}, '
    text += f'at most {max(repeated)}'
    return dict(
        times=kills,
        lost=f'{lost} checkpoints; {damaged} damaged ones',
        seen=text,
        failed=bool(lost or damaged or differences),
    )


def is_done(run: Run) -> bool:
    """Tell whether a run has come to its end."""
    return run.process.returncode == 0 and (run.folder / LAST).exists()


def sigterm(folder: Path, times: int = 20) -> dict:
    """Tell the launcher to stop, again and again; saving is up to that."""
    whole = reference(folder, 'stopped', ONLY_WHEN_STOPPED)
    config = folder / 'stopped.py'
    rng = random.Random(1)
    count = in_start = number = 0
    codes: list[int] = []
    iterations: list[int] = []
    seconds: list[float] = []
    wrong: list[str] = []
    while count < times:
        work = fresh(folder / 'sigterm' / str(number))
        number += 1
        work.with_name(f'{work.name}.log').unlink(missing_ok=True)
        saved = 0
        while True:
            run = Run(config, work, '--resume')
            with ended(run):
                alive = wait_for_moment(run, rng) and count < times
                start = time.monotonic()
                if alive:
                    run.process.send_signal(signal.SIGTERM)
                code = run.process.wait(300)
            steps = run.steps()
            alive = alive and code != 0  # else it came too late
            if (run.resumed() or 0) != saved and (steps or run.resumed()):
                wrong.append(f'resumed after {run.resumed()}, saved was {saved}')
            if not alive:
                break
            count += 1
            codes.append(code)
            seconds.append(time.monotonic() - start)
            if steps:
                saved = run.saved()
                iterations.append(steps[-1] - saved)
            else:
                in_start += 1
            print(f'  signal {count}: code {code}, saved {saved}', file=sys.stderr)
        difference = first_difference(whole, work / LAST) if is_done(run) else 'code'
        if difference:
            wrong.append(f'run {number - 1}: {difference}')
    counts = ', '.join(f'{codes.count(c)} x {c}' for c in sorted(set(codes)))
    text = f'exit codes {counts}; {in_start} before the first step; ended after '
    text += f'{median(seconds):.1f} s, at most {max(seconds):.1f} s; {number} runs, '
    text += f'{"bit-equal at the end" if not wrong else "; ".join(wrong)}'
    most = max(iterations, default=0)
    return dict(
        times=count,
        lost=f'at most {most} iterations',
        seen=text,
        failed=bool(wrong) or most > 0 or set(codes) != {143} or max(seconds) > 60,
    )


ROWS = {
    'sigkill': Row('SIGKILL of all processes, two ranks', sigkill),
    'sigterm': Row('SIGTERM to the launcher, two ranks', sigterm),
}
