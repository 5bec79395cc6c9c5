"""The rules for few labeled videos, and the configs that are written by them."""

import pytest

from projects.adamae.datasets.preparers import own_configs
from projects.adamae.datasets.preparers.recommend import recommend
from projects.adamae.launch import load_config
from tests.helpers import CONFIGS, load_tool


def summary(train, side=240, classes=('hop', 'run'), pretrain=None, **splits):
    def spread(value):
        return dict.fromkeys(('min', 'p5', 'median', 'p95', 'max'), value)

    counts = dict(train=train, **splits)
    return dict(
        videos='/videos',
        num_classes=len(classes),
        classes=[*classes],
        splits={name: dict(videos=count) for name, count in counts.items()},
        pretrain=dict(videos=pretrain) if pretrain else {},
        fps=spread(25),
        seconds=spread(10),
        frames=spread(250),
        short_side=spread(side),
    )


def finetuning(facts, tmp_path, monkeypatch, **options):
    """Give plan and config as they are written and read."""
    monkeypatch.chdir(tmp_path)
    plan = recommend(facts, **options)
    paths = own_configs.config_paths('mine', 'configs')
    own_configs.write_configs(plan, facts, 'data/mine', paths, CONFIGS / '_base_')
    path = paths['finetune']
    assert path.read_text().count('\n') < 25
    return plan, load_config(load_tool('train').parse_args([str(path)]))


def steps_of(cfg):
    """Names of all steps of the training pipeline, those for all frames too."""
    steps = cfg.train_dataloader.dataset.pipeline
    inner = [step for outer in steps for step in outer.get('transforms', ())]
    return [step.type for step in (*steps, *inner)]


@pytest.mark.parametrize('train', [2, 42, 60, 200, 600, 999])
def test_few_videos_are_only_cropped_and_flipped(train, tmp_path, monkeypatch):
    facts = summary(train, val=9, test=9)
    plan, cfg = finetuning(facts, tmp_path, monkeypatch)
    assert plan.few_labeled and not plan.keep_best
    assert cfg.model.data_preprocessor.blending is None
    assert cfg.model.cls_head.label_smooth_eps == 0
    assert {*steps_of(cfg)}.isdisjoint({'RandAugment', 'RandomErasing'})
    (crop,) = (
        step
        for step in cfg.train_dataloader.dataset.pipeline
        if step.type == 'RandomResizedCropWithinRatio'
    )
    assert crop.area_range[0] >= 0.5
    # On one GPU the rate is as the base states it, however small the batch.
    batch = cfg.train_dataloader.batch_size
    assert cfg.auto_scale_lr.enable and cfg.auto_scale_lr.base_batch_size == batch
    assert cfg.optim_wrapper.optimizer.lr >= 1e-4
    assert cfg.default_hooks.checkpoint.get('save_best') is None
    assert cfg.default_hooks.checkpoint.max_keep_ckpts >= 1
    if train >= 60:
        updates = cfg.train_cfg.max_epochs * (train // batch)
        assert updates >= 2000
    (augmentation,) = (r for r in plan.reasons if r.setting == 'augmentation')
    assert f'{train} labeled' in augmentation.why


@pytest.mark.parametrize('side, shrunk', [(240, False), (480, True), (1080, True)])
def test_many_videos_are_augmented_as_published(side, shrunk, tmp_path, monkeypatch):
    facts = summary(5000, side, val=500, test=500)
    plan, cfg = finetuning(facts, tmp_path, monkeypatch)
    assert not plan.few_labeled and plan.keep_best
    assert len(cfg.model.data_preprocessor.blending.augments) == 2
    assert cfg.model.cls_head.label_smooth_eps == 0.1
    assert cfg.auto_scale_lr.base_batch_size == 512
    steps = steps_of(cfg)
    assert {'RandAugment', 'RandomErasing'} <= {*steps}
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert (pipeline[3].get('scale') == (-1, 320)) == shrunk
    assert cfg.default_hooks.checkpoint.save_best == 'acc/top1'


@pytest.mark.parametrize('only', ['val', 'test'])
def test_no_checkpoint_is_chosen_on_the_videos_of_the_test(only, tmp_path, monkeypatch):
    plan, cfg = finetuning(summary(5000, **{only: 900}), tmp_path, monkeypatch)
    lists = {cfg[f'{split}_dataloader'].dataset.ann_file for split in ('val', 'test')}
    assert lists == {f'data/mine/{only}.txt'}
    assert not plan.keep_best
    assert cfg.default_hooks.checkpoint.get('save_best') is None
    (reason,) = (r for r in plan.reasons if r.setting == 'checkpoint')
    assert reason.value == 'the last' and 'one list' in reason.why


def test_few_of_many_have_a_label():
    """Pre-training follows all videos, fine-tuning those with a label."""
    plan = recommend(summary(60, pretrain=5000, test=9))
    assert plan.size == 'vitb' and plan.batch_size == 32 and plan.few_labeled
    assert plan.finetune_batch_size == 6
    assert plan == recommend(summary(60, pretrain=5000, test=9))


def test_flips_are_what_the_user_says(tmp_path, monkeypatch):
    _, cfg = finetuning(summary(60, test=9), tmp_path, monkeypatch, flip=False)
    (flip,) = (s for s in cfg.train_dataloader.dataset.pipeline if s.type == 'Flip')
    assert flip.flip_ratio == 0
