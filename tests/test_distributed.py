"""Two real processes (gloo) against one."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from torch.testing import assert_close

from tests.helpers import free_port

WORKER = Path(__file__).parent / 'distributed_worker.py'


def run(world_size, out):
    """Start the worker on every rank; returns what each rank saved."""
    env = dict(os.environ, OMP_NUM_THREADS='1', MASTER_ADDR='127.0.0.1')
    env['PYTHONPATH'] = str(WORKER.parents[1])
    env.update(MASTER_PORT=free_port(), WORLD_SIZE=str(world_size))
    processes = [
        subprocess.Popen(
            [sys.executable, '-W', 'ignore', str(WORKER), str(out)],
            env=dict(env, RANK=str(rank)),
        )
        for rank in range(world_size)
    ]
    assert [p.wait(timeout=120) for p in processes] == [0] * world_size
    return [torch.load(out / f'{world_size}_{r}.pth') for r in range(world_size)]


def test_two_processes_give_the_gradients_of_one(tmp_path):
    (one,) = run(1, tmp_path)
    first, second = run(2, tmp_path)
    assert one['gradients'].keys() == first['gradients'].keys()
    for name, gradient in one['gradients'].items():
        # The worker has float64: what is left is the order of the sums.
        assert_close(first['gradients'][name], gradient, rtol=1e-5, atol=1e-12)
        assert torch.equal(first['gradients'][name], second['gradients'][name])
    assert not torch.equal(first['free_mask'], second['free_mask'])
