"""The rows of ``faults.py``: what is done to a run, how often, and what is measured."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from fault_runs import (
    ITERATIONS,
    TOOLS,
    Run,
    children,
    descendants,
    ended,
    first_difference,
    wait_for_end,
    write_config,
)

# Iterations between two faults, on average.
STRIDE = 8
LAST = f'iter_{ITERATIONS}.pth'
# Nothing is saved but at the end, or when the run is told to stop.
ONLY_WHEN_STOPPED = "default_hooks['checkpoint'].update(interval=10**9)\n"


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
        run.wait_for_steps(steps)
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


def told_to_stop(folder: Path, name: str, times: int) -> dict:
    """Send a signal to the launcher, again and again; nothing else saves."""
    whole = reference(folder, 'stopped', ONLY_WHEN_STOPPED)
    config = folder / 'stopped.py'
    number_of_signal = signal.Signals[name]
    rng = random.Random(number_of_signal)
    count = in_start = number = 0
    codes: list[int] = []
    iterations: list[int] = []
    seconds: list[float] = []
    wrong: list[str] = []
    while count < times:
        work = fresh(folder / name / str(number))
        number += 1
        work.with_name(f'{work.name}.log').unlink(missing_ok=True)
        saved = 0
        while True:
            run = Run(config, work, '--resume')
            with ended(run):
                alive = wait_for_moment(run, rng) and count < times
                start = time.monotonic()
                if alive:
                    run.process.send_signal(number_of_signal)
                code = run.process.wait(300)
            steps = run.steps()
            alive = alive and code != 0  # else it came too late
            if (run.resumed() or 0) != saved and (steps or run.resumed()):
                wrong.append(f'resumed after {run.resumed()}, saved was {saved}')
            if not alive:
                break
            count += 1
            # As a shell has it: before Python's handlers are there, the kernel ends it.
            codes.append(128 - code if code < 0 else code)
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
        failed=bool(wrong)
        or most > 0
        or set(codes) != {128 + number_of_signal}
        or max(seconds) > 60,
    )


def two_interrupts(folder: Path, times: int = 5) -> dict:
    """Interrupt the launcher twice, a tenth of a second apart."""
    reference(folder, 'stopped', ONLY_WHEN_STOPPED)
    rng = random.Random(2)
    seconds, codes, left = [], [], 0
    for number in range(times):
        run = Run(folder / 'stopped.py', fresh(folder / 'two_interrupts' / str(number)))
        with ended(run):
            steps = rng.randint(1, STRIDE)
            run.wait_for_steps(steps)
            pids = [*descendants(run.process.pid), run.process.pid]
            start = time.monotonic()
            run.process.send_signal(signal.SIGINT)
            time.sleep(0.1)
            run.process.send_signal(signal.SIGINT)
            codes.append(run.process.wait(300))
            wait_for_end(pids)
            seconds.append(time.monotonic() - start)
            left += bool(run.partial())
    return dict(
        times=times,
        lost='what was not saved before',
        seen=f'exit codes {set(codes)}; all processes gone after {spread(seconds)}',
        failed=set(codes) != {130},
    )


def rank_killed(folder: Path, times: int = 3) -> dict:
    """Kill one rank of two, in a run that may start again as often."""
    whole = reference(folder)
    work = fresh(folder / 'rank_killed/run')
    rng = random.Random(3)
    run = Run(folder / 'plain.py', work, '--resume', MAX_RESTARTS=str(times))
    seconds, repeated = [], []
    with ended(run):
        for _ in range(times):
            steps = len(run.steps()) + rng.randint(1, 2 * STRIDE - 1)
            run.wait_for_steps(steps)
            ranks = [*children(run.process.pid)]
            logged, count, start = run.steps()[-1], len(run.steps()), time.monotonic()
            os.kill(rng.choice(ranks), signal.SIGKILL)
            wait_for_end(ranks)
            logged, count = max(logged, *run.steps()), len(run.steps())
            if not run.wait_for_steps(count + 1):
                break
            seconds.append(time.monotonic() - start)
            repeated.append(logged + 1 - run.steps()[count])
        run.process.wait(600)
    difference = first_difference(whole, work / LAST) if is_done(run) else 'code'
    return dict(
        times=len(seconds) + (len(seconds) < times),
        lost=f'updates repeated: {", ".join(map(str, repeated))}',
        seen=f'{len(seconds)} restarts, next step after {spread(seconds)}; '
        + (difference or 'bit-equal at the end'),
        failed=bool(difference),
    )


def launcher_killed(folder: Path, times: int = 5) -> dict:
    """Kill the launcher alone, then resume."""
    whole = reference(folder, 'stopped', ONLY_WHEN_STOPPED)
    work = fresh(folder / 'launcher_killed/run')
    rng = random.Random(4)
    seconds, lost = [], []
    for number in range(times + 1):
        run = Run(folder / 'stopped.py', work, '--resume')
        with ended(run):
            if number == times:
                run.process.wait(600)
                break
            steps = rng.randint(1, 2 * STRIDE - 1)
            run.wait_for_steps(steps)
            ranks = [*descendants(run.process.pid)]
            run.process.kill()
            run.process.wait()
            seconds.append(wait_for_end(ranks))
            lost.append(run.steps()[-1] - run.saved())
    difference = first_difference(whole, work / LAST) if is_done(run) else 'code'
    return dict(
        times=times,
        lost=f'at most {max(lost)} iterations',
        seen=f'ranks and workers gone after {spread(seconds)}; '
        + (difference or 'bit-equal at the end'),
        failed=bool(difference) or max(lost) > 0,
    )


def worker_killed(folder: Path, times: int = 10) -> dict:
    """Kill loader workers of a run, one after the other."""
    whole = reference(folder)
    work = fresh(folder / 'worker_killed/run')
    rng = random.Random(5)
    run = Run(folder / 'plain.py', work)
    kills = 0
    with ended(run):
        while kills < times:
            steps = len(run.steps()) + rng.randint(1, 2 * STRIDE - 1)
            if not run.wait_for_steps(steps):
                break
            workers = [w for r in children(run.process.pid) for w in children(r)]
            if workers:
                os.kill(rng.choice(workers), signal.SIGKILL)
                kills += 1
        run.process.wait(600)
    difference = first_difference(whole, work / LAST) if is_done(run) else 'code'
    return dict(
        times=kills,
        lost='nothing' if not difference else difference,
        seen=difference or 'the run goes on, bit-equal at the end',
        failed=bool(difference),
    )


def two_runs(folder: Path) -> dict:
    """Start three further runs in the folder of one that trains, at the same time."""
    whole = reference(folder)
    work = fresh(folder / 'two_runs/run')
    config = folder / 'plain.py'
    first = Run(config, work)
    with ended(first):
        first.wait_until(first.steps)
        others = [
            Run(config, work, '--resume'),
            Run(config, work, '--overwrite'),
            Run(config, work, '--resume', processes=1),
        ]
        with ended(*others):
            codes = {other.process.wait(300) for other in others}
            before = first.process.poll() is None
        first.process.wait(600)
    lines = re.findall(r'^error: .*no other run.*', first.output(), re.M)
    difference = first_difference(whole, work / LAST) if is_done(first) else 'code'
    return dict(
        times=len(others),
        lost='nothing' if not difference else difference,
        seen=f'exit codes {codes}, {len(lines)} lines; the first goes on, bit-equal',
        failed=bool(difference) or codes != {2} or not before,
    )


def spread(seconds: list[float]) -> str:
    """Write median and maximum."""
    if not seconds:
        return 'never'
    return f'{median(seconds):.1f} s (at most {max(seconds):.1f} s)'


def by_tests(*names: str, times: int = 1) -> Callable[[Path], dict]:
    """Measure a row by tests of the suite, those included that are long."""

    def measure(folder: Path) -> dict:
        command = [sys.executable, '-m', 'pytest', '--runslow', '-q', '--tb=line']
        command += [f'tests/{name}' for name in names]
        counts, failed = Counter[str](), ''
        for _ in range(times):
            result = subprocess.run(
                command, cwd=TOOLS.parent, capture_output=True, text=True
            )
            lines = result.stdout.splitlines() or [result.stderr]
            for count, what in re.findall(
                r'(\d+) (passed|failed|skipped|error)', lines[-1]
            ):
                counts[what] += int(count)
            failed += '; '.join(x for x in lines if x.startswith('FAILED'))
        seen = ', '.join(f'{count} {what}' for what, count in counts.items())
        return dict(
            times=counts.total() - counts['skipped'],
            lost='as the tests say' if not failed else failed,
            seen=f'tests: {seen}',
            failed=bool(failed) or not counts['passed'],
        )

    return measure


ROWS = {
    'sigkill': Row('SIGKILL of all processes, two ranks', sigkill),
    'sigterm': Row(
        'SIGTERM to the launcher, two ranks',
        partial(told_to_stop, name='SIGTERM', times=20),
    ),
    'sigint': Row(
        'Ctrl-C once, two ranks', partial(told_to_stop, name='SIGINT', times=5)
    ),
    'sigusr1': Row(
        'SIGUSR1 to the launcher, two ranks',
        partial(told_to_stop, name='SIGUSR1', times=5),
    ),
    'two_interrupts': Row('Ctrl-C twice, two ranks', two_interrupts),
    'rank_killed': Row('SIGKILL of one rank of two, MAX_RESTARTS=3', rank_killed),
    'launcher_killed': Row('SIGKILL of the launcher alone', launcher_killed),
    'worker_killed': Row('SIGKILL of loader workers, two ranks', worker_killed),
    'two_runs': Row('further runs in the same work folder', two_runs),
    'write_killed': Row(
        'SIGKILL of a process that only saves, max_keep_ckpts=1',
        by_tests(
            'engine/hooks/test_safe_checkpoint_hook.py::test_kills_while_writing',
            times=5,
        ),
    ),
    'damaged': Row(
        'newest checkpoint cut, empty, gone, flipped, moved; bits flipped',
        by_tests('launch/test_damaged_checkpoints.py', 'launch/test_resuming.py'),
    ),
    'disks': Row(
        'disks full, read-only, gone; files too large; small /dev/shm',
        by_tests(
            'launch/test_disks.py',
            'engine/hooks/test_safe_checkpoint_hook.py::test_full_disk',
            'engine/hooks/test_safe_checkpoint_hook.py::test_a_file_that_grows_too_large',
        ),
    ),
    'videos': Row(
        'videos missing, cut, flipped, pipes, pictures; too many open files',
        by_tests(
            'launch/test_bad_videos.py',
            'launch/test_unreadable.py',
            'datasets/test_bad_videos.py',
            'video/test_damage.py',
        ),
    ),
    'workers': Row(
        'loader workers that crash (SIGSEGV), are killed, hang, exit',
        by_tests('datasets/test_resumable_loader.py'),
    ),
    'numbers': Row(
        'NaN, Inf and 1e30 in losses, gradients, weights, moments',
        by_tests(
            'engine/hooks/test_finite_check_hook.py',
            'engine/hooks/test_update_guard.py',
            'tools/test_replay.py',
        ),
    ),
    'code': Row(
        'code in checkpoints, downloads, lists',
        by_tests('launch/test_attacks.py', 'datasets/test_names_below_prefix.py'),
    ),
    'meeting': Row(
        'a process or machine that never comes', by_tests('launch/test_meeting.py')
    ),
}
