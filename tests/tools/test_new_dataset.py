"""From a folder of videos to a number, by the commands that are printed."""

import json
import re
import shlex

import pytest
from mmaction.registry import MODELS

from projects.adamae.analysis.flops import without_weights
from projects.adamae.datasets.preparers import own_configs
from projects.adamae.datasets.preparers.recommend import recommend
from projects.adamae.launch import load_config
from tests.helpers import (
    CONFIGS,
    TINY,
    load_tool,
    run_tool,
    write_videos,
)

LABELS = ('hop', 'Öl, an')


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """14 videos and a table, in the folder that the user stands in."""
    monkeypatch.chdir(tmp_path)
    write_videos(tmp_path / 'my clips/höher', count=14, frames=30)
    rows = [f'höher/{i}.mp4\t{LABELS[i % 2]}' for i in range(14)]
    rows += ['höher/15.mp4\thop', 'höher/gone.mp4\thop']
    (tmp_path / 'my clips/höher/15.mp4').write_text('no video')
    (tmp_path / 'labels.tsv').write_text('\n'.join(['path\tlabel', *rows]))
    return tmp_path


def summary(root, videos=5000, fps=(25, 25, 25), classes=LABELS, side=240, **splits):
    """Lists of a prepared data set, and what was measured of it."""

    def spread(low, middle, high):
        return dict(min=low, p5=low, median=middle, p95=high, max=high)

    counts = dict(train=videos, **splits)
    return dict(
        videos=str(root / 'videos'),
        num_classes=len(classes),
        classes=[*classes],
        splits={name: dict(videos=count) for name, count in counts.items()},
        fps=spread(*fps),
        seconds=spread(10, 10, 10),
        frames=spread(250, 250, 250),
        short_side=spread(side, side, side),
    )


def write(facts, tmp_path, monkeypatch):
    """Write the configs of a summary and read them again."""
    monkeypatch.chdir(tmp_path)
    paths = own_configs.config_paths('mine', 'configs')
    plan = recommend(facts)
    bases = CONFIGS / '_base_'
    written = own_configs.write_configs(plan, facts, 'data/mine', paths, bases)
    parse = load_tool('train').parse_args
    return plan, {k: (p, load_config(parse([str(p)]))) for k, p in written.items()}


CASES = {
    'few': dict(videos=55, val=7, test=7),
    'many': dict(videos=200_000, val=9000, test=9000),
    'mixed rates': dict(fps=(10, 25, 60), val=9, test=9),
    'small pictures': dict(videos=700, side=64, val=9),
    'no test': dict(val=9),
    'no val': dict(test=9),
    'directions': dict(classes=('turn left', 'turn right'), val=9, test=9),
}


@pytest.mark.parametrize('case', CASES)
def test_configs_are_short_and_build(case, tmp_path, monkeypatch):
    facts = summary(tmp_path, **CASES[case])
    plan, configs = write(facts, tmp_path, monkeypatch)
    assert list(configs) == ['pretrain', 'finetune', 'probe']
    few = CASES[case].get('videos', 5000) < 3000
    for kind, (path, cfg) in configs.items():
        text = path.read_text()
        base = 'few_' * (plan.few_labeled and kind == 'finetune') + kind
        assert text.count('\n') < 25 and f"'{CONFIGS}/_base_/own_{base}.py'" in text
        assert text.count('num_classes = ') == (kind != 'pretrain')
        assert cfg.auto_scale_lr.enable and cfg.model.backbone.get('num_frames') == 16
        assert cfg.model.backbone.embed_dims == (384 if few else 768)
        for split in ('train', 'val', 'test'):
            if not cfg.get(f'{split}_dataloader'):
                assert kind == 'pretrain' and split != 'train'
                continue
            dataset = cfg[f'{split}_dataloader'].dataset
            sample = dataset.pipeline[1]
            # What a config on top of this one finds, with nothing merged into it.
            assert cfg.clip.items() <= sample.items()
            if plan.frame_interval is None:
                assert sample.type == 'SampleFramesByTime'
            else:
                assert sample.frame_interval == plan.frame_interval
            name = dataset.ann_file.removeprefix('data/mine/').removesuffix('.txt')
            assert name in facts['splits'] and (name == split or split != 'train')
            flips = [s.flip_ratio for s in dataset.pipeline if s.type == 'Flip']
            if flips:
                assert split == 'train' and flips == [plan.flip_ratio]
        with without_weights():
            model = MODELS.build(cfg.model)
        assert model.backbone.clip_size[1] == plan.backbone.get('img_size', 224)
    cfg = configs['pretrain'][1]
    assert cfg.train_cfg.max_epochs == plan.epochs
    warmup, cosine = cfg.param_scheduler
    assert warmup.end == cosine.begin == plan.warmup_epochs
    crops = [s for s in cfg.train_dataloader.dataset.pipeline if s.type == 'PerClip']
    assert [s.repeats for s in crops] == ([4] if plan.batch_size < 32 else [])
    assert configs['finetune'][1].model.cls_head.num_classes == len(LABELS)


def test_one_tree_has_relative_bases(tmp_path, monkeypatch):
    facts, project = summary(tmp_path, classes=()), tmp_path / 'project'
    paths = own_configs.config_paths('mine', project / 'configs')
    bases = project / 'configs/_base_'
    own_configs.write_configs(recommend(facts), facts, 'data/x', paths, bases)
    assert "_base_ = '_base_/own_pretrain.py'" in paths['pretrain'].read_text()
    assert not paths['finetune'].exists()


def fails(capsys, *arguments):
    with pytest.raises(SystemExit) as error:
        run_tool('new_dataset', *arguments)
    assert error.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_errors_in_one_line_before_any_video_is_read(clips, capsys):
    for name in ('my clips', '../up', 'a.b', '1st', 'x' * 101, ''):
        assert 'NAME: expected a letter and then' in fails(
            capsys, name, '--videos', 'my clips'
        )
    assert 'nowhere' in fails(capsys, 'mine', '--videos', 'nowhere')
    kinds = '--kind', 'ucf', '--labels', 'labels.tsv'
    kind = fails(capsys, 'mine', '--videos', 'my clips', *kinds)
    assert 'kind: expected one of' in kind
    (clips / 'configs').mkdir()
    (clips / 'configs/mine_probe.py').write_text('edited = True')
    line = fails(capsys, 'mine', '--videos', 'my clips')
    assert 'configs/mine_probe.py: expected no such config' in line
    assert '--overwrite' in line and not (clips / 'data').exists()
    assert (clips / 'configs/mine_probe.py').read_text() == 'edited = True'


def test_without_labels_and_with_one_class(clips, capsys):
    (clips / 'my clips/höher/15.mp4').unlink()
    run_tool('new_dataset', 'plain', '--videos', 'my clips', '--workers', 1)
    out = capsys.readouterr().out
    assert [p.name for p in (clips / 'configs').iterdir()] == ['plain_pretrain.py']
    assert 'tools/visualize.py configs/plain_pretrain.py' in out
    one = ['--videos', 'my clips', '--labels-from-folders', '--workers', 1]
    run_tool('new_dataset', 'plain', *one, '--out', 'lists', '--overwrite')
    assert 'none for fine-tuning' in capsys.readouterr().out
    (clips / 'empty.csv').write_text('path,label\nhöher/12.mp4,\n')
    table = ['--videos', 'my clips', '--labels', 'empty.csv', '--workers', 1]
    run_tool('new_dataset', 'empty', *table)
    assert 'none for fine-tuning' in capsys.readouterr().out
    text = (clips / 'configs/plain_pretrain.py').read_text()
    assert "'lists/train.txt'" in text


def test_from_folder_to_top_1_by_the_printed_commands(clips, capsys):
    own = ['--videos', 'my clips', '--labels', 'labels.tsv', '--workers', 1]
    run_tool('new_dataset', 'mine', *own)
    out = capsys.readouterr().out
    facts = json.loads((clips / 'data/mine/summary.json').read_text())
    for reason in recommend(facts).reasons:
        assert f'{reason.setting}: {reason.value}\n    {reason.why}\n' in out
    commands = [
        shlex.split(line, comments=True)
        for line in out.splitlines()
        if line.startswith('    python ')
    ]
    tools = [command[1].rpartition('/')[2] for command in commands]
    assert tools == ['plan.py', 'train.py', 'train.py', 'test.py', 'train.py']

    tiny = {f'model.backbone.{k}': v for k, v in TINY.items()}
    tiny |= {'model.backbone.depth': 1, 'model.backbone.img_size': 32}
    tiny |= {'train_dataloader.num_workers': 0, 'val_dataloader.num_workers': 0}
    short = {'train_cfg.max_epochs': 2, 'train_dataloader.dataset.indices': 2}
    short |= {'param_scheduler.0.end': 1, 'param_scheduler.1.begin': 1}
    head = {'model.cls_head.in_channels': 16}
    parts = {f'model.decoder.{k}': v for k, v in (TINY | dict(depth=1)).items()}
    blocks = {'optim_wrapper.paramwise_cfg.num_layers': 1}
    changes = [tiny | short | parts, tiny | short | head | blocks]
    changes += [tiny | head | {'test_dataloader.num_workers': 0}, tiny | short | head]
    changes[0].pop('val_dataloader.num_workers')
    for command, change in zip(commands[1:], changes, strict=True):
        arguments = command[2:]
        if '--cfg-options' in arguments:
            key, _, path = arguments.pop().partition('=')
            arguments.pop()
            change |= {key: re.sub(r'epoch_\d+', 'epoch_2', path)}
        arguments = [re.sub(r'epoch_\d+', 'epoch_2', word) for word in arguments]
        name = command[1].rpartition('/')[2].removesuffix('.py')
        run_tool(name, *arguments, **change)
    out = capsys.readouterr().out
    assert 'acc/top1' in out
