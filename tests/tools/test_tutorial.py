"""The tutorial, word by word: only the models and the number of epochs are smaller."""

import csv
import glob
import re
import shlex

import pytest

from tests.helpers import ROOT, run_tool, write_videos

PAGE = (ROOT / 'docs/tutorial.md').read_text()
COMMANDS = [
    command
    for block in re.findall('```bash\n(.*?)```', PAGE, re.S)
    for command in block.replace('\\\n', ' ').splitlines()
]
TINY = """
model['backbone'].update(embed_dims=16, num_heads=2, depth=1)
train_dataloader['num_workers'] = 0
train_cfg = dict(max_epochs=1)
param_scheduler = []
"""
CLASSIFIER = """
model['cls_head']['in_channels'] = 16
val_dataloader['num_workers'] = test_dataloader['num_workers'] = 0
"""
SMALLER = dict(
    # Two schedulers, which options of the page change.
    pretrain=f"{TINY}param_scheduler = [dict(type='ConstantLR', factor=1)] * 2\n"
    "model['decoder'] = dict(embed_dims=16, num_heads=2, depth=1)\n"
    "model.setdefault('sampler', {})['num_heads'] = 2\n",
    finetune=f'{TINY}{CLASSIFIER}'
    'optim_wrapper = dict(paramwise_cfg=dict(num_layers=1))\n',
    probe=f'{TINY}{CLASSIFIER}',
)


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """The folder and the table of the tutorial, and nothing else."""
    monkeypatch.chdir(tmp_path)
    write_videos(tmp_path / 'clips', count=20, frames=30)
    write_videos(tmp_path / 'new_clips', count=2, frames=30)
    (tmp_path / 'clips/20.mp4').write_text('broken')
    with open('labels.csv', 'w', newline='') as file:
        rows = [(f'{k}.mp4', ('rolling', 'falling')[k % 2]) for k in range(21)]
        csv.writer(file).writerows([('path', 'label'), *rows])
    return tmp_path


def run(command):
    """Run a command of the page in this process; the first one makes the configs."""
    python, tool, *words = shlex.split(re.sub(r'epoch_\d+', 'epoch_1', command))
    assert python == 'python'
    if 'plan' in tool:
        words += ['--seconds', '1']
    run_tool(
        tool.removeprefix('tools/').removesuffix('.py'),
        *(path for word in words for path in glob.glob(word) or [word]),
    )
    if 'new_dataset' in tool:
        for kind, lines in SMALLER.items():
            with open(f'configs/toss_{kind}.py', 'a') as file:
                file.write(lines)


def test_every_quick_command(clips, capsys):
    for command in COMMANDS:
        if not re.search('plan|study', command):  # below
            run(command)
    printed = capsys.readouterr().out
    assert len(COMMANDS) == 10 and 'acc/top1' in printed
    for path in (
        'work_dirs/toss_finetune/report/confusion_matrix.png',
        'new.csv',
        'data/toss/summary.md',
    ):
        assert (clips / path).stat().st_size
    assert len([*clips.glob('work_dirs/toss_pretrain/pictures/*.png')]) == 2


@pytest.mark.slow
def test_plan_and_comparison(clips, capsys):
    for command in (*COMMANDS[:2], COMMANDS[-1]):
        run(command)
    assert 'bottleneck' in capsys.readouterr().out
    assert '| random' in (clips / 'study/table.md').read_text()
