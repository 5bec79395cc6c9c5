"""The tools on a folder of files that are no videos."""

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config

from tests.helpers import run_tool, tiny_model_cfg, video_dataset_cfg


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('text')
    (root / 'videos').mkdir()
    for i in range(4):
        (root / f'videos/{i}.mp4').write_text('no video\n' * 300)
    (root / 'list.txt').write_text('\n'.join(f'{i}.mp4 {i % 2}' for i in range(4)))
    model = tiny_model_cfg()
    torch.save(dict(state_dict=MODELS.build(model).state_dict()), root / 'a.pth')
    for kind in ('VideoDataset', 'TolerantVideoDataset'):
        dataset = video_dataset_cfg(root, 'list.txt') | dict(type=kind)
        sampler = dict(type='DefaultSampler', shuffle=False)
        loader = dict(batch_size=2, num_workers=0, sampler=sampler, dataset=dataset)
        cfg = dict(model=model, default_scope='mmaction', train_dataloader=loader)
        loader = {**loader, 'dataset': {**dataset, 'test_mode': True}}
        for split in ('val', 'test'):
            metric = dict(type='MaskingMetric', patch_size=8, tubelet_size=2)
            cfg[f'{split}_dataloader'] = loader
            cfg[f'{split}_evaluator'] = metric
            cfg[f'{split}_cfg'] = dict(type=f'{split.title()}Loop')
        cfg['train_cfg'] = dict(type='EpochBasedTrainLoop', max_epochs=1)
        optimizer = dict(type='AdamW', lr=1e-3)
        cfg['optim_wrapper'] = dict(type='OptimWrapper', optimizer=optimizer)
        Config(cfg).dump(root / f'{kind}.py')
    return root


# Their own datasets: features and pictures are of the frames that were asked for.
@pytest.mark.parametrize('kind', ['VideoDataset', 'TolerantVideoDataset'])
@pytest.mark.parametrize(
    ('command', 'code', 'count'),
    [
        ('visualize {weights} --split=train --out={out}', 1, 4),
        ('extract_features {weights} {out}/features.npy', 1, 4),
        ('knn_eval {weights} --k=1', 2, 1),
    ],
)
def test_reading(root, tmp_path, capsys, kind, command, code, count):
    run(root, tmp_path, kind, command, code, count, capsys)


@pytest.mark.parametrize(
    'command', ['test {weights}', 'test {weights} --skip-unreadable', 'train']
)
def test_running(root, tmp_path, capsys, command):
    run(root, tmp_path, 'TolerantVideoDataset', command, 2, 1, capsys)


def run(root, tmp_path, kind, command, code, count, capsys):
    """Run a tool; every line of an error names file and reason."""
    tool, *args = command.format(weights=root / 'a.pth', out=tmp_path).split()
    with pytest.raises(SystemExit) as exit_info:
        run_tool(tool, root / f'{kind}.py', *args, work_dir=tmp_path)
    assert exit_info.value.code == code
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith('error: ')]
    assert len(errors) == count
    for line in errors:
        assert '.mp4: expected a readable video, got: ' in line
