"""Memory and handles of the training loader, over minutes, with damaged videos.

Writes small videos of several kinds, damages a part of them (cut, flipped bytes, text,
missing), trains on nothing with the recipes' loader, and prints how fast the memory of
parent and workers, and the number of their open handles, grow. Linux only. From the
root of the repository: PYTHONPATH=. python tools/benchmarks/loader_soak.py
"""

import os
import tempfile
import time
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from loading_pipelines import published_pipeline, with_skipping
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

import projects.adamae  # noqa: F401  registers the transforms
from tests import numbered_videos

KINDS: dict[str, tuple[str, str, dict[str, str]]] = {
    'H.264': ('mp4', 'libx264', {'g': '30'}),
    'VP9': ('webm', 'libvpx-vp9', {'g': '30', 'cpu-used': '8'}),
    'MPEG-4': ('avi', 'mpeg4', {}),
}
DAMAGES = ('cut', 'flipped', 'text', 'missing')


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--minutes', type=float, default=30, help='after the warm-up')
    parser.add_argument('--warm-up', type=float, default=2, help='minutes before')
    parser.add_argument('--videos', type=int, default=100, help='how many')
    parser.add_argument('--damaged', type=float, default=0.16, help='share of them')
    parser.add_argument('--workers', type=int, default=2, help='processes, at least 1')
    return parser.parse_args(argv)


def write_videos(folder: Path, count: int, damaged: float) -> str:
    """Write videos, some of them damaged; gives the path of their list."""
    rng, names = np.random.default_rng(0), []
    whole = {
        suffix: Path(numbered_videos.write(folder / f'a.{suffix}', *how)).read_bytes()
        for suffix, *how in KINDS.values()
    }
    bad = set(rng.permutation(count)[: round(damaged * count)].tolist())
    for number in range(count):
        suffix = list(whole)[number % len(whole)]
        content = bytearray(whole[suffix])
        damage = DAMAGES[number // len(whole) % len(DAMAGES)] if number in bad else ''
        if damage == 'cut':
            del content[len(content) // 2 :]
        elif damage == 'flipped':
            for position in rng.integers(len(content) // 4, len(content), 20):
                content[position] ^= 255
        elif damage == 'text':
            content = bytearray(b'no video' * 1000)
        names.append(f'{number}.{suffix} 0')
        if damage != 'missing':
            (folder / f'{number}.{suffix}').write_bytes(content)
    (folder / 'list.txt').write_text('\n'.join(names))
    return str(folder / 'list.txt')


def build_loader(folder: Path, annotation: str, workers: int) -> Any:
    """Build the loader of the paper's pre-training on these videos."""
    dataset = dict(
        type='TolerantVideoDataset',
        ann_file=annotation,
        data_prefix=dict(video=str(folder)),
        pipeline=with_skipping(published_pipeline(2)),
    )
    cfg = dict(
        batch_size=4,
        num_workers=workers,
        persistent_workers=True,
        sampler=dict(type='InfiniteSampler', shuffle=True),
        dataset=dataset,
    )
    return Runner.build_dataloader(Config(cfg).to_dict(), seed=0)


def sample(processes: dict[str, int]) -> dict[str, tuple[float, int]]:
    """Give proportional memory (kB) and open handles of processes, by name."""
    found = {}
    for name, number in processes.items():
        text = Path(f'/proc/{number}/smaps_rollup').read_text()
        memory = next(line for line in text.splitlines() if line.startswith('Pss:'))
        handles = len(list(Path(f'/proc/{number}/fd').iterdir()))
        found[name] = float(memory.split()[1]), handles
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    init_default_scope('mmaction')
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        annotation = write_videos(folder, args.videos, args.damaged)
        loader = build_loader(folder, annotation, args.workers)
        batches = iter(loader)
        next(batches)
        processes = {'parent': os.getpid()}
        for index, worker in enumerate(batches._workers):
            processes[f'worker {index}'] = worker.pid
        times: list[float] = []
        measured: dict[str, list[tuple[float, int]]] = defaultdict(list)
        begin, clips = time.monotonic(), 0
        while (
            minutes := (time.monotonic() - begin) / 60
        ) < args.warm_up + args.minutes:
            clips += len(next(batches)['inputs'])
            # What a run remembers of damaged files; here they are opened for ever.
            if (flags := getattr(loader.dataset, '_flags', None)) is not None:
                flags.zero_()
            # Sixty in all; looking through the memory takes milliseconds.
            step = args.minutes / 60
            if minutes > args.warm_up + step * len(times):
                times.append(minutes)
                for process, values in sample(processes).items():
                    measured[process].append(values)
    print(
        f'{clips} clips in {minutes:.0f} minutes, {args.damaged:.0%} of {args.videos} '
        f'videos damaged; {len(times)} samples after {args.warm_up:g} minutes'
    )
    for process, rows in measured.items():
        memory, handles = np.array(rows).T
        slopes = [np.polyfit(times, values, 1)[0] for values in (memory, handles)]
        print(
            f'  {process:<10} memory {memory[0]:.0f} to {memory[-1]:.0f} kB, '
            f'{slopes[0]:+.1f} kB/min; handles {handles[0]:.0f} to {handles[-1]:.0f}, '
            f'{slopes[1]:+.3f} per min'
        )


if __name__ == '__main__':
    main()
