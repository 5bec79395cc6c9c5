"""Every command of README and docs runs: as it is written, on toy models and videos.

A page is run in a copy of the project, in which configs shrink as they are read
(``toy_size``). What the page takes for granted is there: data, weights, other runs.
"""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS

from projects.adamae.checkpoints.convert import convert
from tests import toy_size
from tests.datasets.preparers.miniatures import BUILDERS
from tests.helpers import ROOT, free_port, run_tool, write_videos
from tests.test_documented_commands import (
    PAGES,
    commands_of,
    split,
    text_of,
    tool_and_arguments,
)

# Commands that are not run here, each with the reason.
NOT_RUN = {
    r'make (env|demo|test|slow)\b': 'makes an environment; then the demo '
    '(tests/tools/test_demo.py), or all tests',
    r'make lint\b': 'a check of the source',
    r'make docs\b': 'tests/test_site.py',
    r'make matrix\b': 'downloads; tests/tools/test_matrix.py',
    r'make faults\b': 'takes hours; tests/tools/benchmarks/test_faults.py',
    r'source \.venv/': 'an environment that `make env` makes',
    r'pip ': 'installs, from the internet; the wheel: tests/test_package.py',
    r'mim ': 'no dependency; tests/test_package.py, where it is installed',
    r'adamae demo --quick\b': 'tests/test_package.py',
    r'python tools/app\.py ': 'serves until it is stopped; tests/apis/test_app.py',
    r'OMP_NUM_THREADS=1 python tools/benchmarks/doctor_check\.py ': 'what it trains '
    'must not be smaller; tests/tools/benchmarks/test_doctor_check.py',
}
# Pages whose commands another test runs, word by word.
ELSEWHERE = {
    'docs/tutorial.md': 'tests/tools/test_tutorial.py',
    'docs/gallery.md': 'tests/test_gallery.py',
}
# Options for what has its size from the command line: the last one counts.
SHORTER = {
    'plan': '--seconds 1',
    'make_motion_dataset': '--num-train 24 --num-val 4',
    'study': '--seeds 1',
    'knn_eval': '--k 5',
    'benchmarks/loading': '--count 1 --rounds 1',
    'benchmarks/train_step': '--steps 1 --iterations 2 --malloc default',
}
STUDIES = {
    'docs/comparing.md': ' --samplers random',
    'docs/demo.md': ' --pretrain configs/demo/motion_pretrain.py',
}
# Besides 0. As `diff` and linters do, these tell with 1 that they have found something.
CODES = {'compare': {1}, 'doctor': {1}}

MAE = {
    'CONFIG': 'configs/demo/motion_pretrain.py',
    'CHECKPOINT': 'work_dirs/motion_pretrain/epoch_11.pth',
}
CLASSIFIER = {
    'CONFIG': 'configs/demo/motion_finetune.py',
    'CHECKPOINT': 'work_dirs/motion_finetune/epoch_8.pth',
}
SSV2 = {
    'CONFIG': 'configs/adamae_vitb_ssv2_finetune.py',
    'CHECKPOINT': 'work_dirs/adamae_vitb_ssv2_finetune/epoch_50.pth',
}
# What a reader writes in the place of the names of a page.
PLACES = {
    'docs/ablations.md': {
        'BEST_CHECKPOINT': 'work_dirs/mask_tube75_finetune/best_acc_top1_epoch_50.pth'
    },
    # Toys of 64 x 64 pixels.
    'docs/checkpoints.md': {'img_size=224': 'img_size=64'},
    'docs/data.md': {'SOURCE': 'data/videos', 'TARGET': 'data/small'},
    'docs/datasets.md': {'FOLDER': 'data/videos'},
    'docs/export.md': CLASSIFIER,
    'docs/finetuning.md': SSV2,
    'docs/pictures.md': {
        'OTHER_CONFIG': 'configs/demo/motion_tube_pretrain.py',
        'OTHER_CHECKPOINT': 'work_dirs/motion_tube_pretrain/epoch_11.pth',
        **MAE,
    },
    'docs/probing.md': {'/.../': '/adamae_vitb_ssv2_pretrain/', **CLASSIFIER},
    'docs/recipes.md': {
        'FILMS': 'films',
        'RELEASED': 'videomae_pretrain',
        'img_size=224': 'img_size=64',
    },
    'docs/scale.md': MAE | {'NODE_RANK=k': 'NODE_RANK=0', '--table1': '--table1 1'},
    'docs/training.md': {'CONFIG': 'motion_pretrain', 'iter_1234_rank_3': 'iter_*'},
}
ALL_PLACES = {'/path/to/videos': 'data/videos', 'PATH/TO/': ''}
# Checkpoints that the reader of a page has, and the configs of their models.
PRETRAINED = {
    'work_dirs/adamae_vitb_ssv2_pretrain/epoch_800.pth': 'adamae_vitb_ssv2_pretrain'
}
WEIGHTS = {
    'docs/export.md': {CLASSIFIER['CHECKPOINT']: 'demo/motion_finetune'},
    'docs/finetuning.md': PRETRAINED,
    'docs/install.md': {'epoch_50.pth': 'adamae_vitb_ssv2_finetune'},
    'docs/pictures.md': {
        MAE['CHECKPOINT']: 'demo/motion_pretrain',
        'work_dirs/motion_tube_pretrain/epoch_11.pth': 'demo/motion_tube_pretrain',
    },
    'docs/probing.md': {
        CLASSIFIER['CHECKPOINT']: 'demo/motion_finetune',
        **PRETRAINED,
    },
}
# Commands of other pages that have been there before.
DEMO_RUN = 'python tools/train.py configs/demo/motion_pretrain.py'
BEFORE = {
    'docs/comparing.md': [
        'python tools/new_dataset.py mine --videos data/videos --labels labels.csv'
    ],
    'docs/doctor.md': [DEMO_RUN],
    'docs/report.md': [
        f'{DEMO_RUN} --work-dir work_dirs/{name} --seed {seed}'
        for seed, name in enumerate(('NAME', 'a', 'b'))
    ]
    + ['cp -r work_dirs/a work_dirs/c'],
    'docs/reproducibility.md': [
        f'{DEMO_RUN} --work-dir work_dirs/{name} --seed {seed}'
        for seed, name in enumerate('ab')
    ],
    # A run that is stopped by a bad number.
    'docs/training.md': [
        f'{DEMO_RUN} --work-dir work_dirs/NAME '
        '--cfg-options optim_wrapper.optimizer.lr=1e30 || test $? = 2'
    ],
}
# Commands of one page of which a reader takes one: what it writes is not there yet.
EITHER = {
    'docs/datasets.md': ('data/mine', 'data/NAME', 'data/films', 'configs/NAME'),
    'docs/install.md': ('work_dirs',),
    'docs/scale.md': ('work_dirs/motion_pretrain',),
}

# For any number of GPUs and machines, some processes on this one.
LAUNCH = """#!/usr/bin/env bash
for word; do
    case $word in
        --nproc-per-node=*) word=--nproc-per-node=$PROCESSES ;;
        --nnodes=*) word=--nnodes=1 ;;
        --master-addr=*) word=--master-addr=127.0.0.1 ;;
        --master-port=*) word=--master-port=$FREE_PORT ;;
    esac
    words+=("$word")
done
exec python "${words[@]}"
"""
# A job of one process.
SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
export SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NTASKS=1 SLURM_NODELIST=localhost
exec "$@"
"""
SCONTROL = '#!/usr/bin/env bash\n[[ $1 == show ]] && echo 127.0.0.1\n'


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def lines_of(page):
    """Commands of a page that are run here."""
    if name_of(page) in ELSEWHERE:
        return []
    return [
        command
        for command in commands_of(text_of(page))
        if split(command) and not any(re.match(p, command) for p in NOT_RUN)
    ]


RUN = [page for page in PAGES if lines_of(page)]


def write_table(path, *rows):
    with open(path, 'w', newline='') as file:
        csv.writer(file).writerows(rows)


def make_data(root):
    """What the pages take for granted, where they say that it is."""
    videos = root / 'data/videos'
    for label in ('rolling', 'falling'):
        write_videos(videos / label, count=6, frames=40)
    clips = sorted(path.relative_to(videos) for path in videos.rglob('*.mp4'))
    rows = [(path, path.parent) for path in clips]
    write_table(root / 'labels.csv', ('path', 'label'), *rows)
    lines = [f'{path} {number % 2}\n' for number, path in enumerate(clips)]
    (root / 'train.txt').write_text(''.join(lines))
    for name in ('one.mp4', 'two.mp4', 'clip.mp4'):
        shutil.copy(videos / clips[0], root / name)
    (root / 'list.txt').write_text('clip.mp4\n')
    for folder in ('clips', 'more/videos', 'films'):
        shutil.copytree(videos / 'rolling', root / folder)
    write_table(root / 'segments.csv', ('0.mp4', 0, 1, 'up'), ('1.mp4', 1, 2, 'down'))

    # Kinetics-400 and Something-Something v2 as prepare.py leaves them.
    for name in ('k400', 'ssv2'):
        folder = root / 'data' / name
        folder.mkdir()
        (folder / 'videos').symlink_to('../videos')
        (folder / 'train.txt').write_text(''.join(lines[:8]))
        (folder / 'val.txt').write_text(''.join(lines[8:]))
    run_tool(
        'make_motion_dataset',
        root / 'data/motion',
        *('--num-frames', 40, *SHORTER['make_motion_dataset'].split()),
    )

    # And as their authors publish them; Something-Something v2 with all of its classes.
    for kind in BUILDERS:
        BUILDERS[kind](root / kind)
    for kind, parts in dict(
        kinetics={
            'videos': 'k400',
            'annotations/train.csv': 'train.csv',
            'annotations/val.csv': 'validate.csv',
        },
        ucf101={'UCF-101': 'UCF-101', 'ucfTrainTestlist': 'ucfTrainTestlist'},
        hmdb51={name: name for name in ('hmdb51_org', 'testTrainMulti_7030_splits')},
        diving48={
            'rgb': 'rgb',
            **{
                f'Diving48_{name}.json': f'Diving48_{name}.json'
                for name in ('V2_train', 'V2_test', 'vocab')
            },
        },
    ).items():
        for source, target in parts.items():
            (root / kind / source).rename(root / target)
    published = root / '20bn-something-something-v2'
    published.mkdir()
    for number, path in enumerate(clips):
        shutil.copy(videos / path, published / f'{number}.mp4')
    (root / 'labels').mkdir()
    classes = [f'Moving something {number} times' for number in range(174)]
    entries = [
        dict(id=str(k), label=classes[k], template=classes[k], placeholders=[])
        for k in range(len(clips))
    ]
    for name, content in dict(
        labels={label: str(number) for number, label in enumerate(classes)},
        train=entries[:8],
        validation=entries[8:],
        test=[],
    ).items():
        (root / f'labels/{name}.json').write_text(json.dumps(content))


def save_weights(path, config):
    """Save the weights of a toy model, as it begins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cfg = toy_size.shrink(toy_size.read(ROOT / f'configs/{config}.py'))
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), path)


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A copy of the project whose configs are toys, with data beside it."""
    root = tmp_path_factory.mktemp('project')
    ignore = shutil.ignore_patterns('__pycache__')
    for name in ('configs', 'projects', 'tools'):
        shutil.copytree(ROOT / name, root / name, symlinks=True, ignore=ignore)
    shutil.copy(Path(toy_size.__file__), root)
    with open(root / 'projects/adamae/__init__.py', 'a') as file:
        file.write('import toy_size; toy_size.Config.fromfile = toy_size.read_toy\n')
    (root / 'bin').mkdir()
    for name, text in dict(launch=LAUNCH, srun=SRUN, scontrol=SCONTROL).items():
        (root / 'bin' / name).write_text(text)
        (root / 'bin' / name).chmod(0o755)
    make_data(root)
    for target, config in (
        ('videomae_pretrain.pth', 'videomae_vitb_ssv2_pretrain'),
        ('mae_pretrain_vit_large_k400.pth', 'maest_vitl_k400_pretrain'),
    ):
        save_weights(root / 'ours.pth', config)
        convert(root / 'ours.pth', root / target, to='released')
    return root


def write_files_of(page, root):
    """Write what a page shows as Python: files by their names, parts, and configs."""
    text = text_of(page)
    named = r'^`(\w+\.py)`(?:, a config)?:\n\n```python\n(.*?)```'
    for name, code in re.findall(named, text, re.M | re.S):
        (root / name).write_text(code)
    if 'my_parts.py' in text:
        blocks = re.findall(r'```python\n(.*?)```', text, re.S)
        parts = [block for block in blocks if '_base_' not in block]
        (root / 'my_parts.py').write_text('\n'.join(parts))


def prepare(page, project, root):
    """Copy the project for a page, with what its reader has."""
    name = name_of(page)
    shutil.copytree(project, root, symlinks=True)
    for path, config in WEIGHTS.get(name, {}).items():
        save_weights(root / path, config)
    write_files_of(page, root)
    for command in lines_of(page):
        for out in re.findall(r'prepare\.py .*--out (\S+)', command):
            shutil.rmtree(root / out, ignore_errors=True)


def shell(command, root, processes):
    """Run a command line in a folder, with this Python, on CPUs."""
    path = f'{root}/bin:{Path(sys.executable).parent}:{os.environ["PATH"]}'
    return subprocess.run(
        ['bash', '-c', command],
        cwd=root,
        env=dict(
            os.environ,
            PATH=path,
            PYTHON='launch',
            PYTHONPATH=str(root),
            FREE_PORT=free_port(),
            PROCESSES=str(processes),
            OMP_NUM_THREADS='1',
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )


def tool_of(command):
    """Name the tool of a command, '' if it is none of ours."""
    words = split(command.replace('PATH/TO/', ''))
    ours = words[0] == 'adamae' or 'tools/' in words[0]
    return tool_and_arguments(words)[0] if ours else ''


def complete(command, page):
    """Put names into the places of a command, and make it short."""
    page, tool = name_of(page), tool_of(command)
    command = re.sub(r'\s+#.*', '', command)
    for place, value in (ALL_PLACES | PLACES.get(page, {})).items():
        # No part of another name, as CONFIG is of OTHER_CONFIG.
        before = r'(?<![A-Z_])' if place[0].isupper() else ''
        command = re.sub(rf'{before}{re.escape(place)}(?![A-Z_])', value, command)
    return (
        f'{command} {SHORTER.get(tool, "")}{STUDIES[page] if tool == "study" else ""}'
    )


def written_by(command):
    """Files and folders that a command says it will write."""
    words = shlex.split(command)
    places = {
        option: words[words.index(option) + 1]
        for option in ('--out', '--work-dir', '--good-list')
        if option in words
    }
    if tool_of(command) == 'train':
        config = tool_and_arguments(split(command))[1][0]
        folder = places.get('--work-dir', f'work_dirs/{Path(config).stem}')
        return [f'{folder}/last_checkpoint']
    return [*places.values()]


@pytest.mark.slow
@pytest.mark.parametrize('page', RUN, ids=name_of)
def test_page(page, project, tmp_path):
    root = tmp_path / 'project'
    # A process takes seconds to start; the page of many GPUs has two.
    processes = 1 + (name_of(page) == 'docs/scale.md')
    prepare(page, project, root)
    for command in BEFORE.get(name_of(page), ()):
        done = shell(command, root, processes)
        assert done.returncode == 0, f'{command}\n{done.stdout}'
    failed = []
    for command in lines_of(page):
        for path in EITHER.get(name_of(page), ()):
            for old in root.glob(f'{path}*'):
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        whole = complete(command, page)
        done = shell(whole, root, processes)
        missing = [path for path in written_by(whole) if not (root / path).exists()]
        print(f'$ {whole}\n{done.stdout[-2000:]}\n{done.returncode=} {missing=}\n')
        if done.returncode not in {0} | CODES.get(tool_of(command), set()) or missing:
            failed.append(whole)
    assert not failed


def test_every_command_is_run():
    """Here or by the test that is named; and nothing is named that is not there."""
    for page, test in ELSEWHERE.items():
        assert page in text_of(ROOT / test)
    commands = [command for page in PAGES for command in commands_of(text_of(page))]
    for pattern, reason in NOT_RUN.items():
        assert any(re.match(pattern, command) for command in commands), pattern
        for test in re.findall(r'tests/[\w/]+\.py', reason):
            assert (ROOT / test).is_file(), test
    pages = {name_of(page) for page in RUN}
    for table in (PLACES, WEIGHTS, BEFORE, EITHER, STUDIES):
        assert {*table} <= pages
    for page in RUN:  # nobody has a file of that name
        for command in lines_of(page):
            words = shlex.split(complete(command, page))
            places = {word for word in words if re.fullmatch('[A-Z_]{3,}', word)}
            assert places <= {'PARTITION', 'JOB', 'NAME'}, command
