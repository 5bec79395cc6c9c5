import os
import signal
import subprocess
import sys
import time

import torch
from mmengine.fileio import get_file_backend
from mmengine.runner import save_checkpoint

from projects.adamae.utils.fileio import AtomicLocalBackend


def test_mmengine_writes_through_it(tmp_path):
    assert isinstance(get_file_backend(str(tmp_path / 'a.pth')), AtomicLocalBackend)
    save_checkpoint(dict(state_dict=dict(w=torch.ones(3))), str(tmp_path / 'b/a.pth'))
    assert torch.load(tmp_path / 'b/a.pth')['state_dict']['w'].sum() == 3
    assert os.listdir(tmp_path / 'b') == ['a.pth']


WRITER = """
import sys
from projects.adamae.utils.fileio import AtomicLocalBackend
print('ready', flush=True)
for i in range(10**6):
    AtomicLocalBackend().put(bytes([i % 256]) * (1 << 22), sys.argv[1])
"""


def test_a_killed_process_leaves_a_whole_file(tmp_path):
    target = tmp_path / 'epoch_1.pth'
    for delay in (0.02, 0.05, 0.11):
        process = subprocess.Popen(
            [sys.executable, '-W', 'ignore', '-c', WRITER, str(target)],
            stdout=subprocess.PIPE,
        )
        assert process.stdout.readline() == b'ready\n'
        while not target.exists():
            time.sleep(0.001)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        content = target.read_bytes()
        assert len(content) == 1 << 22 and len(set(content)) == 1
        target.unlink()
