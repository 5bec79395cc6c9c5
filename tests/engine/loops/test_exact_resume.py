"""A run that is interrupted anywhere ends in the weights of one that is not."""

import pytest
from fault_runs import first_difference

from tests.helpers import run_tool, tiny_model_cfg, write_videos

CONFIG = """
default_scope = 'mmaction'
custom_imports = dict(imports=['projects.adamae'])
model = {model!r}
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
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
train_cfg = dict(type='ResumableEpochTrainLoop', max_epochs=3)
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-2), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True)]
default_hooks = dict(
    runtime_info=dict(type='DeferredInfoHook'),
    logger=dict(type='LoggerHook', interval=2),
    checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=False))
custom_hooks = [
    dict(type='CheckpointCheckHook'), dict(type='FiniteCheckHook'),
    dict(type='RandomStateHook')]
randomness = dict(seed=3, diff_rank_seed=True)
"""


@pytest.fixture(scope='module')
def make_config(tmp_path_factory):
    """Writes a config; what is given replaces what is there."""
    root = tmp_path_factory.mktemp('exact')
    write_videos(root / 'videos', count=7, frames=24)
    model = tiny_model_cfg(backbone=dict(drop_path_rate=0.3))
    text = CONFIG.format(model=model, videos=str(root / 'videos'))

    def make(name, changes):
        path = root / f'{name}.py'
        path.write_text(text + changes)
        return path

    return make


def train(config, folder, *arguments, **options):
    run_tool('train', config, '--work-dir', folder, *arguments, **options)


def assert_same(first, second):
    assert first_difference(first, second) is None


ITERATIONS = "train_cfg = dict(type='ResumableIterTrainLoop', max_iters=12)\n"
WORKERS = 'train_dataloader.update(num_workers=2, persistent_workers=True)\n'
# What is changed in the config, and the iterations to resume after.
SETTINGS = {
    'epochs': (
        "custom_hooks.append(dict(type='EMAHook'))\n"
        'optim_wrapper.update(accumulative_counts=2)\n',
        (4, 6),
    ),
    'watched': (
        'custom_hooks += [\n'
        "    dict(type='HealthCurvesHook', interval=2),\n"
        "    dict(type='FeatureHealthHook', num_videos=4, interval=1, batch_size=2,\n"
        '         num_workers=0),\n'
        "    dict(type='PretrainVisualizationHook', num_videos=1, interval=1)]\n",
        (4, 6),
    ),
    'workers': ('train_dataloader.update(num_workers=2)\n', (5,)),
    'persistent workers': (WORKERS, (6,)),
    'iterations': (ITERATIONS + WORKERS, (5,)),
    'endless': (
        ITERATIONS + "train_dataloader['sampler']['type'] = 'InfiniteSampler'\n",
        (6,),
    ),
}


@pytest.mark.parametrize('name', SETTINGS)
def test_resumed_runs_equal_unbroken_ones(make_config, tmp_path, name):
    changes, points = SETTINGS[name]
    config = make_config(name.replace(' ', '_'), changes)
    train(config, tmp_path / 'whole')
    for point in points:
        folder, checkpoint = tmp_path / f'{point}', f'iter_{point}.pth'
        train(config, folder, '--resume', tmp_path / 'whole' / checkpoint)
        assert_same(tmp_path / 'whole/iter_12.pth', folder / 'iter_12.pth')
        assert len([*folder.glob('iter_*.pth')]) == 12 - point
