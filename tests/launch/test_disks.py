"""Disks that are full, read-only or gone, and a /dev/shm that is too small."""

import errno
import logging
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.visualization import LocalVisBackend
from tensorboard.summary.writer.record_writer import RecordWriter

from projects.adamae import launch
from projects.adamae.launch import log_failures, places
from projects.adamae.launch.resuming import find_newest_checkpoint
from tests.helpers import CONFIGS, run_tool

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def raise_full(*args, **kwargs):
    raise FULL


def one_line(capsys, function, *args, output='', **kwargs):
    """The line with which a tool ends; ``output`` is a part of what it printed."""
    with pytest.raises(SystemExit) as exit_info:
        function(*args, **kwargs)
    assert exit_info.value.code == 2
    printed, text = capsys.readouterr()
    assert output in printed
    assert 'Traceback' not in text
    (line,) = (line for line in text.splitlines() if line.startswith('error: '))
    return line


@pytest.fixture
def mount(tmp_path):
    """Mount a small disk, where that is allowed; gives its folder."""
    folders = []

    def mount(options):
        folder = tmp_path / f'disk{len(folders)}'
        folder.mkdir()
        command = ['mount', '-t', 'tmpfs', '-o', options, 'none', str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip('needs the right to mount a disk')
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(['umount', '-l', folder], check=True)


@pytest.fixture
def curves(toy):
    """A config that writes curves for two back ends."""
    path = toy.with_name('curves.py')
    path.write_text(
        "_base_ = 'toy.py'\nval_dataloader = val_evaluator = val_cfg = None\n"
        "visualizer = dict(type='ActionVisualizer', vis_backends=["
        "dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])\n"
    )
    return path


def test_training_goes_on_without_curves(curves, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(LocalVisBackend, '_dump', raise_full)
    written = []

    def write(self, data):
        written.append(data)
        if len(written) > 3:  # of the file and the config
            raise FULL

    monkeypatch.setattr(RecordWriter, 'write', write)
    run_tool('train', curves, f'--work-dir={tmp_path}', '--seed=1')
    output = capsys.readouterr()
    assert (tmp_path / 'epoch_1.pth').is_file()
    assert 'Traceback' not in output.err
    for kind in ('LocalVisBackend', 'TensorboardVisBackend'):
        assert output.out.count(f'{kind}: [Errno 28] No space left') == 1


def test_a_work_folder_that_is_gone_ends_training(
    curves, tmp_path, capsys, monkeypatch
):
    dump = LocalVisBackend._dump

    def remove_and_dump(*args, **kwargs):
        shutil.rmtree(tmp_path / 'run')
        dump(*args, **kwargs)

    monkeypatch.setattr(LocalVisBackend, '_dump', remove_and_dump)
    line = one_line(
        capsys, run_tool, 'train', curves, f'--work-dir={tmp_path / "run"}', '--seed=2'
    )
    assert f'{tmp_path / "run"}: the work folder is gone; mount it again' in line


def test_a_checkpoint_that_cannot_be_written(toy, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch, 'save', raise_full)
    line = one_line(capsys, run_tool, 'train', toy, f'--work-dir={tmp_path}')
    assert 'No space left on device' in line and 'make room' in line


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs /dev/full')
def test_a_log_on_a_full_disk_is_told_of_once(capsys):
    handler = logging.FileHandler('/dev/full')
    log_failures.tell_once(handler)
    log = logging.Logger('full')
    log.addHandler(handler)
    for _ in range(3):
        log.warning('a line')
    text = capsys.readouterr().err
    assert text.count('\n') == 1
    assert text.startswith('warning: /dev/full: No space left on device')
    log.warning('%d', 'no number')  # a mistake of ours
    assert 'TypeError' in capsys.readouterr().err


def test_folders_on_small_and_locked_disks(mount, toy, tmp_path, capsys):
    locked = mount('ro')
    with pytest.raises(ValueError, match='Read-only file system'):
        launch.check_folder('--work-dir', str(locked / 'run'))
    full = mount('size=64k')
    try:
        (full / 'fill').write_bytes(bytes(2**17))
    except OSError as error:
        assert error.errno == errno.ENOSPC
    with pytest.raises(ValueError, match='No space left on device'):
        launch.check_folder('--work-dir', str(full))


def test_space_for_a_checkpoint(monkeypatch, tmp_path, warned):
    model = torch.nn.Linear(2**20, 8)  # 32 MiB, and two moments
    runner = SimpleNamespace(
        cfg=Config(dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook')))),
        work_dir=str(tmp_path),
        model=model,
    )
    for free, count in ((113 * 2**20, 0), (111 * 2**20, 1)):
        usage = SimpleNamespace(free=free)
        monkeypatch.setattr(shutil, 'disk_usage', lambda path, usage=usage: usage)
        launch.report_space(runner)
        assert len(warned) == count
    assert 'a checkpoint takes up to 96 MiB' in warned[0]


@pytest.mark.parametrize(
    'name', ['adamae_vitb_k400_pretrain', 'adamae_vitb_ssv2_pretrain']
)
def test_shared_memory_of_docker_is_too_small_for_the_recipes(
    name, monkeypatch, warned
):
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    loader = cfg.train_dataloader

    def check(free):
        disk = SimpleNamespace(f_bavail=free // 4096, f_frsize=4096)
        monkeypatch.setattr(os, 'statvfs', lambda path: disk)
        places.check_shared_memory(cfg, ('train', 'val', 'test'))

    batch = loader.batch_size * 16 * 3 * 224 * 224
    with pytest.raises(ValueError, match=r'train_dataloader: /dev/shm has 64 MiB .*sh'):
        check(2**26)
    check(batch + 2**20)
    assert 'they may be killed; start the container with --shm-size' in warned[0]
    check(2**40)
    assert len(warned) == 1
    loader.num_workers = 0
    check(2**26)


def test_shared_memory_of_a_real_disk(mount, monkeypatch):
    monkeypatch.setattr(places, 'SHARED_MEMORY', str(mount('size=1m')))
    backbone = dict(img_size=224, num_frames=16)
    dataset = dict(type='VideoDataset', pipeline=[dict(type='ThreeCrop')])
    loader = dict(batch_size=1, num_workers=1, dataset=dataset)
    cfg = Config(dict(model=dict(backbone=backbone), train_dataloader=loader))
    with pytest.raises(ValueError, match=r'has 1 MiB free.* batches of 7 MiB'):
        places.check_shared_memory(cfg, ('train',))


@pytest.mark.parametrize(
    'text',
    [
        'DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that '
        "dataloader's workers are out of shared memory. Please try to raise your "
        'shared memory limit.',
        'unable to write to file </torch_17_53_0>: No space left on device (28)',
    ],
)
def test_a_worker_without_shared_memory(text, capsys):
    def fail():
        with launch.errors_in_one_line():
            raise RuntimeError(text)

    line = one_line(capsys, fail)
    assert 'no room in /dev/shm' in line and '--shm-size' in line


@pytest.mark.parametrize(
    'pointer', [b'/a\0b/epoch_2.pth', bytes(range(256)), b'x://' * 2**18, None]
)
def test_a_damaged_pointer(pointer, tmp_path):
    if pointer is None:
        (tmp_path / 'last_checkpoint').mkdir()
    else:
        (tmp_path / 'last_checkpoint').write_bytes(pointer)
    cfg = Config(dict(work_dir=str(tmp_path)))
    assert find_newest_checkpoint(cfg) is None
    content = dict(meta={'iter': 1}, message_hub={}, optimizer={})
    torch.save(content, tmp_path / 'epoch_1.pth')
    assert find_newest_checkpoint(cfg) == str(tmp_path / 'epoch_1.pth')
    (tmp_path / 'epoch_1.pth').write_bytes(b'damaged')
    with pytest.raises(ValueError, match='got no other than epoch_1.pth;'):
        find_newest_checkpoint(cfg)


def test_predictions_on_a_full_disk(toy, tmp_path, capsys, monkeypatch):
    from mmaction.registry import MODELS

    model = MODELS.build(Config.fromfile(toy).model)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'weights.pth')

    def write_half(self, data):
        with open(self, 'wb') as file:
            file.write(data[: len(data) // 2])
        raise FULL

    monkeypatch.setattr(Path, 'write_bytes', write_half)
    command = ('test', toy, tmp_path / 'weights.pth', f'--work-dir={tmp_path}')
    dump = tmp_path / 'out/all.pkl'
    line = one_line(capsys, run_tool, *command, f'--dump={dump}', output='acc/top1')
    assert 'No space left on device' in line
    assert not list(dump.parent.iterdir())
