"""The launch scripts, and what a run without an accelerator needs."""

import os

import pytest
import torch
from mmengine.config import Config

from projects.adamae import launch
from projects.adamae.launch import distributed
from tests.helpers import CONFIGS, ROOT, free_port, run_command


@pytest.mark.parametrize('accelerator', [False, True])
def test_amp_is_disabled_only_without_an_accelerator(monkeypatch, warned, accelerator):
    monkeypatch.setattr(distributed, 'has_accelerator', lambda: accelerator)
    amp = dict(type='AmpOptimWrapper', loss_scale='dynamic', dtype='bfloat16', x=1)
    cfg = Config(dict(optim_wrapper=amp))
    launch.disable_amp_on_cpu(cfg)
    if accelerator:
        assert cfg.optim_wrapper == amp and not warned
    else:
        assert cfg.optim_wrapper == dict(type='OptimWrapper', x=1)
        assert 'full precision' in warned[0]


@pytest.mark.parametrize(
    ('command', 'env', 'message'),
    [
        ('dist_train.sh toy.py', {}, 'usage: dist_train.sh CONFIG GPUS'),
        ('dist_test.sh toy.py x.pth', {}, 'usage: dist_test.sh CONFIG CHECKPOINT'),
        ('dist_train.sh 2 toy.py', {}, 'GPUS: expected a number of processes'),
        ('dist_train.sh toy.py 2', dict(NNODES='2'), 'set MASTER_ADDR'),
        (
            *('dist_train.sh toy.py 2', dict(NNODES='2', MAX_RESTARTS='1')),
            'MAX_RESTARTS=1: expected 0',
        ),
        ('slurm_train.sh gpu job', {}, 'usage: slurm_train.sh PARTITION'),
        ('slurm_test.sh gpu job toy.py', {}, 'usage: slurm_test.sh PARTITION'),
    ],
)
def test_scripts_report_what_is_missing(command, env, message):
    script, *arguments = command.split()
    result = run_command(ROOT / 'tools' / script, *arguments, **env)
    assert result.returncode == 2 and message in result.stderr


# A stand-in for Slurm on one machine: runs the command once per task.
FAKE_SLURM = dict(
    srun="""#!/usr/bin/env bash
echo "$@" > arguments.txt
while [[ $1 == --* ]]; do
    [[ $1 == --ntasks=* ]] && tasks=${1#*=}
    shift
done
export SLURM_NTASKS=$tasks SLURM_NODELIST=node[1]
for ((task = 0; task < tasks; task++)); do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" &
    started+=($!)
done
for process in "${started[@]}"; do wait "$process" || exit; done
""",
    scontrol="""#!/usr/bin/env bash
[[ "$*" == 'show hostnames node[1]' ]] && echo 127.0.0.1 && echo node2
""",
)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A folder with the stand-in, which is on the PATH."""
    for name, source in FAKE_SLURM.items():
        (tmp_path / name).write_text(source)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    return tmp_path


def test_slurm_script_asks_for_processes(slurm):
    result = run_command(
        *(ROOT / 'tools/slurm_train.sh', 'gpu', 'my_job', 'my config.py', '--amp'),
        cwd=slurm,
        PYTHON='echo',
        GPUS='2',
        SRUN_ARGS='--exclusive --time=10',
    )
    arguments = (slurm / 'arguments.txt').read_text()
    command = f'-u {ROOT}/tools/train.py my config.py --amp --launcher slurm\n'
    assert arguments == (
        '--partition=gpu --job-name=my_job --gres=gpu:2 --ntasks=2 --ntasks-per-node=2 '
        '--cpus-per-task=5 --kill-on-bad-exit=1 --signal=USR1@300 '
        '--exclusive --time=10 echo ' + command
    )
    assert result.stdout == 2 * command


def test_processes_of_slurm_are_connected(slurm, monkeypatch):
    monkeypatch.setattr(distributed, 'has_accelerator', lambda: False)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR'):
        # What `init_distributed` sets is restored: monkeypatch remembers it as unset.
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    monkeypatch.setenv('SLURM_PROCID', '0')
    monkeypatch.setenv('SLURM_NTASKS', '1')
    monkeypatch.setenv('SLURM_LOCALID', '0')
    monkeypatch.setenv('SLURM_NODELIST', 'node[1]')
    monkeypatch.setenv('MASTER_PORT', free_port())
    cfg = Config(dict(launcher='slurm'))
    cfg.env_cfg = dict(dist_cfg=dict(backend='nccl', timeout=60))
    cfg.model_wrapper_cfg = dict(find_unused_parameters=True)
    launch.init_distributed(cfg)
    try:
        assert torch.distributed.get_backend() == 'gloo'
        assert torch.distributed.get_world_size() == 1
        assert os.environ['MASTER_ADDR'] == '127.0.0.1'
        assert os.environ['LOCAL_RANK'] == '0'
    finally:
        torch.distributed.destroy_process_group()
    assert cfg.model_wrapper_cfg == dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=True,
        device_ids=None,
    )


def test_accelerators_are_left_to_mmengine(monkeypatch):
    monkeypatch.setattr(distributed, 'has_accelerator', lambda: True)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.setenv(name, '0')
    cfg = Config(dict(launcher='pytorch'))
    launch.init_distributed(cfg)
    assert not torch.distributed.is_initialized()
    assert 'model_wrapper_cfg' not in cfg


@pytest.mark.slow
def test_slurm_trains_and_tests_with_two_processes(toy, slurm):
    job, work_dir = ('cpu', 'my_job', toy), ('--work-dir', slurm / 'run')
    env = dict(cwd=slurm, GPUS='2', OMP_NUM_THREADS='1', MASTER_PORT=free_port())
    result = run_command(ROOT / 'tools/slurm_train.sh', *job, *work_dir, **env)
    assert 'Epoch(val) [1][2/2]' in result.stdout
    checkpoint = slurm / 'run/epoch_1.pth'
    script = ROOT / 'tools/slurm_test.sh'
    result = run_command(script, *job, checkpoint, *work_dir, **env)
    assert 'Epoch(test) [2/2]    acc/top1' in result.stdout


@pytest.mark.parametrize('accelerator', [True, False])
@pytest.mark.parametrize('config', ['adamae_vitb_ssv2_pretrain.py', None])
def test_unused_parameters_are_looked_for(accelerator, config, monkeypatch):
    """``find_unused_parameters=True`` of the config, whatever else it has."""
    monkeypatch.setattr(distributed, 'has_accelerator', lambda: accelerator)
    monkeypatch.setattr(distributed, '_init_gloo', lambda *_: None)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.setenv(name, '0')
    cfg = Config.fromfile(CONFIGS / config) if config else Config()
    cfg.launcher, cfg.find_unused_parameters = 'pytorch', True
    launch.init_distributed(cfg)
    # Without a wrapper MMEngine makes its own, which looks at the config.
    wrapper = cfg.get('model_wrapper_cfg') or cfg
    assert wrapper.find_unused_parameters
    if config:
        assert wrapper.gradient_as_bucket_view


def test_what_the_wrapper_says_of_unused_parameters_stays(monkeypatch):
    monkeypatch.setattr(distributed, 'has_accelerator', lambda: True)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.setenv(name, '0')
    for wrapper in (
        dict(find_unused_parameters=False),
        dict(type='MMFullyShardedDataParallel'),
    ):
        cfg = Config(dict(find_unused_parameters=True, model_wrapper_cfg=wrapper))
        cfg.launcher = 'pytorch'
        launch.init_distributed(cfg)
        assert cfg.model_wrapper_cfg == wrapper
