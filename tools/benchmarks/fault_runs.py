"""Small real runs for ``faults.py``: started, watched, killed and compared."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch.utils._pytree import tree_flatten_with_path

import projects.adamae  # noqa: F401  lets torch.load take what checkpoints hold
from projects.adamae.video.writer import encode_video

TOOLS = Path(__file__).resolve().parents[1]
ITERATIONS = 160
# Two blocks, 16 x 16 pixels; everything random that the recipes have, and averaged
# weights; a checkpoint after every iteration, two are kept.
CONFIG = """
default_scope = 'mmaction'
custom_imports = dict(imports=['projects.adamae'])
model = dict(
    type='MAERecognizer',
    data_preprocessor=dict(
        type='AdaMAEDataPreprocessor', mean=[127.5] * 3, std=[60.0] * 3),
    backbone=dict(
        type='MaskedVisionTransformer', img_size=16, patch_size=8, num_frames=8,
        embed_dims=16, depth=2, num_heads=2, drop_path_rate=0.3),
    sampler=dict(type='AdaptiveSamplerHead', mask_ratio=0.75, num_heads=2),
    decoder=dict(type='MAEDecoder', embed_dims=8, depth=1, num_heads=2))
train_dataloader = dict(
    batch_size=2, num_workers=1, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='VideoFolderDataset', data_prefix=dict(video={videos!r}),
        serialize_data=False, pipeline=[
            dict(type='PyAVSkipInit'),
            dict(type='SampleFrames', clip_len=8),
            dict(type='PyAVSkipDecode'),
            dict(type='RandomResizedCrop', area_range=(0.3, 1.0)),
            dict(type='Resize', scale=(16, 16), keep_ratio=False),
            dict(type='Flip', flip_ratio=0.5),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs')]))
train_cfg = dict(type='ResumableIterTrainLoop', max_iters={iterations})
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3), clip_grad=dict(max_norm=1.0))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=False)]
log_processor = dict(by_epoch=False)
default_hooks = dict(
    runtime_info=dict(type='DeferredInfoHook'),
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(
        type='SafeCheckpointHook', interval=1, by_epoch=False, max_keep_ckpts=2,
        every_minutes=None))
custom_hooks = [
    dict(type='CheckpointCheckHook'), dict(type='FiniteCheckHook'),
    dict(type='RandomStateHook'), dict(type='EMAHook')]
randomness = dict(seed=3, diff_rank_seed=True)
"""


def write_config(folder: Path, name: str, changes: str = '') -> Path:
    """Write the config, followed by ``changes``, and once the videos that it reads."""
    videos = folder / 'videos'
    rng = np.random.default_rng(0)
    for number in range(26):
        path = videos / f'{number}.mp4'
        coarse = rng.integers(0, 256, (24, 6, 8, 3))
        if not path.exists():
            videos.mkdir(parents=True, exist_ok=True)
            clip = coarse.repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)
            path.write_bytes(encode_video(clip, fps=12))
    config = folder / f'{name}.py'
    text = CONFIG.format(videos=str(videos), iterations=ITERATIONS)
    config.write_text(text + changes)
    return config


class Run:
    """A run of ``tools/train.py``, or of ``tools/dist_train.sh`` with processes.

    Its output is appended to ``log.txt`` beside the work folder.

    Args:
        config (Path): of the run.
        folder (Path): its work folder.
        arguments (str): more of them, for the tool.
        processes (int): how many.
        env (str): variables of the environment.
    """

    def __init__(
        self,
        config: Path,
        folder: Path,
        *arguments: str,
        processes: int = 2,
        **env: str,
    ) -> None:
        self.folder = folder
        command = [sys.executable, TOOLS / 'train.py', config]
        if processes > 1:
            command = [TOOLS / 'dist_train.sh', config, processes]
        command += ['--work-dir', folder, *arguments]
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.log = folder.with_name(f'{folder.name}.log')
        self._begin = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, 'a') as file:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                env={
                    **os.environ,
                    'PYTHON': sys.executable,
                    'PYTHONPATH': str(TOOLS.parent),
                    'OMP_NUM_THREADS': '1',
                    'CUDA_VISIBLE_DEVICES': '',
                    **env,
                },
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def output(self) -> str:
        """Everything that this start has written."""
        with open(self.log, errors='replace') as file:
            file.seek(self._begin)
            return file.read()

    def steps(self) -> list[int]:
        """Give the numbers of the iterations that this start has logged."""
        found = re.findall(r'Iter\(train\) \[ *(\d+)/', self.output())
        return [int(number) for number in found]

    def resumed(self) -> int | None:
        """Give the iteration of the checkpoint that this start went on from."""
        found = re.search(r'resumed epoch: \d+, iter: (\d+)', self.output())
        return int(found[1]) if found else None

    def saved(self) -> int:
        """Give the newest iteration that has a whole file now."""
        names = [path.stem[5:] for path in self.folder.glob('iter_*.pth')]
        return max(map(int, names), default=0)

    def partial(self) -> list[Path]:
        """Find files that are being written."""
        return [*self.folder.glob('*.partial')]

    def wait_until(self, condition: Callable[[], Any], seconds: float = 300) -> bool:
        """Wait; tells whether the process is still there."""
        end = time.monotonic() + seconds
        while not condition() and self.process.poll() is None:
            if time.monotonic() > end:
                raise TimeoutError(f'nothing happened for {seconds} s: {self.log}')
            time.sleep(0.002)
        return self.process.poll() is None

    def wait_for_steps(self, count: int) -> bool:
        """Wait until this start has logged so many iterations."""
        return self.wait_until(lambda: len(self.steps()) >= count)

    def kill(self) -> None:
        """Kill launcher, ranks and loader workers at once."""
        pids = kill_tree(self.process.pid)
        self.process.wait()
        wait_for_end(pids)


def children(pid: int) -> Iterator[int]:
    """Find the processes that a process has started."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for path in Path(f'/proc/{pid}/task').glob('*/children'):
            yield from map(int, path.read_text().split())


def descendants(pid: int) -> Iterator[int]:
    """Find the processes that a process has started, and theirs first."""
    for child in children(pid):
        yield from descendants(child)
        yield child


def kill_tree(pid: int) -> list[int]:
    """Kill a process and all that it has started; gives their numbers.

    The process group is not enough: torchrun's ranks have sessions of their own, and
    get SIGTERM from the kernel when it dies.
    """
    pids = [*descendants(pid), pid]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return pids


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        text = Path(f'/proc/{pid}/stat').read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(')')[2].split()[0] not in 'ZX'


def wait_for_end(pids: list[int], seconds: float = 150) -> float:
    """Wait for processes to end; gives the seconds that this took."""
    start = time.monotonic()
    while any(map(is_alive, pids)):
        if time.monotonic() > start + seconds:
            raise TimeoutError(f'still there after {seconds} s: {pids}')
        time.sleep(0.01)
    return time.monotonic() - start


@contextmanager
def ended(*runs: Run) -> Iterator[None]:
    """End what is left of some runs, whatever happens."""
    try:
        yield
    finally:
        for run in runs:
            if run.process.poll() is None:
                run.kill()


def content(path: Path) -> dict[str, Any]:
    """Give what is in a checkpoint but clock times, names of files and the config."""
    checkpoint = torch.load(path, weights_only=True)
    for key in ('cfg', 'time', 'experiment_name', 'mmengine_version'):
        checkpoint['meta'].pop(key)
    hub = checkpoint['message_hub']
    for name in ('train/time', 'train/data_time', 'train/memory'):
        hub['log_scalars'].pop(name, None)
    for name in ('cfg', 'experiment_name', 'last_ckpt', 'passing_ckpts'):
        for kind in ('runtime_info', 'resumed_keys'):
            hub.get(kind, {}).pop(name, None)
    return checkpoint


def first_difference(path: Path, other: Path) -> str | None:
    """Name a part in which two checkpoints are not equal bit for bit."""
    leaves = [tree_flatten_with_path(content(p))[0] for p in (path, other)]
    names = [[name for name, _ in found] for found in leaves]
    if names[0] != names[1]:
        return f'parts {set(map(str, names[0])) ^ set(map(str, names[1]))}'
    for (name, one), (_, two) in zip(*leaves, strict=True):
        if isinstance(one, torch.Tensor):
            same = one.dtype == two.dtype and torch.equal(one, two)
        elif isinstance(one, HistoryBuffer):
            same = all(map(np.array_equal, one.data, two.data))
        else:
            same = one == two
        if not same:
            return str(name)
    return None
