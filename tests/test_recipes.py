"""Recipes by situation, and for data sets: each trains, resumes and is documented."""

import re

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config

from projects.adamae.datasets.from_config import clips_per_video, iter_datasets
from tests.helpers import CONFIGS, ROOT, load_tool, run_tool, toy_options, write_videos
from tests.test_configs import RECIPES, load


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Two videos under the names of every data set, and VideoMAE's weights."""
    root = tmp_path_factory.mktemp('recipes')
    lines = write_videos(root / 'videos', count=2, frames=70)
    (root / 'list.txt').write_text('\n'.join(lines))
    return root


def options_of(name, data):
    options = toy_options(load(name), data)
    if 'several' in name:
        options['train_dataloader.sampler.num_videos'] = 4
        options['train_dataloader.batch_size'] = 4
    if 'continue' in name:
        options['load_from'] = videomae(data)
    return options


def videomae(data):
    """Weights of a model without a sampler that learns, of the toy's size."""
    path = data / 'videomae.pth'
    if not path.exists():
        name = 'videomae_vitb_k400_pretrain.py'
        options = {
            key: value
            for key, value in toy_options(load(name), data).items()
            if key.startswith('model.') and 'sampler' not in key
        }
        model = MODELS.build(load(name, **options).model)
        torch.save(dict(state_dict=model.state_dict()), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize('name', RECIPES)
def test_trains_resumes_and_tests(name, data, tmp_path):
    options, folder = options_of(name, data), ('--work-dir', tmp_path / 'run')
    run_tool('train', CONFIGS / name, *folder, **options)
    first = torch.load(tmp_path / 'run/epoch_2.pth')
    assert first['meta']['iter'] == 2
    options |= {'train_cfg.max_epochs': 3}
    run_tool('train', CONFIGS / name, *folder, '--resume', **options)
    path = tmp_path / 'run/epoch_3.pth'
    weights = torch.load(path)['state_dict']
    assert all(weight.isfinite().all() for weight in weights.values())
    assert any(not torch.equal(weights[k], v) for k, v in first['state_dict'].items())
    (log, *_) = sorted((tmp_path / 'run').glob('*/*.log'))
    text = log.read_text()
    rules = re.findall(r'learning rate: .* is for .*', text)  # of one run or both
    assert rules and all('so it becomes' in rule for rule in rules)
    if load(name).get('test_dataloader'):
        test = (CONFIGS / name, path, '--work-dir', tmp_path / 'test')
        run_tool('test', *test, **options)


def test_the_rate_follows_the_batch_by_default():
    for name in RECIPES:
        rule = load(name).auto_scale_lr
        assert rule.enable and rule.base_batch_size, name


@pytest.mark.parametrize(
    ('name', 'classes'),
    [
        *(('ssv2', 174), ('k400', 400), ('k600', 600), ('k700', 700)),
        *(('ucf101', 101), ('hmdb51', 51), ('diving48', 48)),
    ],
)
def test_data_sets_are_where_prepare_writes_them(name, classes):
    names = [n.name for n in CONFIGS.glob(f'*_{name}_*.py')]
    assert f'adamae_vitb_{name}_finetune.py' in names
    for config in names:
        cfg = load(config)
        for split in ('train', 'val', 'test'):
            if not cfg.get(f'{split}_dataloader'):
                assert split != 'train' and config.endswith('_pretrain.py')
                continue
            ((_, dataset),) = iter_datasets(cfg[f'{split}_dataloader'].dataset)
            listed = 'train' if split == 'train' else 'val'
            assert dataset.ann_file == f'data/{name}/{listed}.txt'
            assert dataset.data_prefix == dict(video=f'data/{name}/videos')
            assert not dataset.get('metainfo')  # classes.txt beside the lists
        if config.endswith('_finetune.py'):
            assert cfg.model.cls_head.num_classes == classes
            mixes = cfg.model.data_preprocessor.blending.augments
            assert {mix.num_classes for mix in mixes} == {classes}


def test_lists_of_mmaction2_where_there_are_no_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def files(name):
        dataset = load(f'adamae_vitb_{name}_finetune.py').val_dataloader.dataset
        return dataset.ann_file, dataset.data_prefix.video

    theirs = {
        'ssv2': ('sthv2/sthv2_{}_list_videos.txt', 'sthv2/videos'),
        'k400': ('kinetics400/kinetics400_{}_list_videos.txt', 'kinetics400/videos_{}'),
    }
    for name, (lists, videos) in theirs.items():
        ours = f'data/{name}/val.txt', f'data/{name}/videos'
        assert files(name) == ours
        file = tmp_path / 'data' / lists.format('train')
        file.parent.mkdir(parents=True)
        file.touch()
        assert files(name) == tuple(f'data/{s.format("val")}' for s in (lists, videos))
        (tmp_path / f'data/{name}').mkdir()
        (tmp_path / f'data/{name}/train.txt').touch()
        assert files(name) == ours


def peak(cfg, processes):
    """The rate at the top of the schedule, on so many GPUs."""
    loader = cfg.train_dataloader
    clips = processes * loader.batch_size * clips_per_video(loader.dataset)
    ratio = clips / cfg.auto_scale_lr.base_batch_size
    return cfg.optim_wrapper.optimizer.lr * ratio


@pytest.mark.parametrize(
    ('name', 'epochs', 'rate', 'stride', 'views'),
    [
        ('videomae_vitb_ucf101_pretrain', 3200, 3e-4 * 192 / 256, 4, None),
        ('videomae_vitb_hmdb51_pretrain', 4800, 3e-4 * 192 / 256, 2, None),
        ('adamae_vitb_ucf101_finetune', 100, 5e-4 * 128 / 256, 4, 5),
        ('adamae_vitb_hmdb51_finetune', 50, 1e-3 * 128 / 256, 2, 10),
    ],
)
def test_published_settings_on_8_gpus(name, epochs, rate, stride, views):
    """VideoMAE's scripts of UCF101, EVEREST's for HMDB51; they count videos."""
    cfg = load(f'{name}.py')
    assert cfg.train_cfg.max_epochs == epochs
    assert peak(cfg, 8) == pytest.approx(rate)
    splits = ['train', 'val', 'test'] if views else ['train']
    for split in splits:
        step = cfg[f'{split}_dataloader'].dataset.pipeline[1]
        assert step.frame_interval == stride and step.clip_len == 16
    warmup, cosine = cfg.param_scheduler
    if not views:
        assert cfg.model.sampler.type == 'TubeSamplerHead'
        assert cfg.model.sampler.mask_ratio == 0.75
        assert cfg.train_dataloader.batch_size == 24 and warmup.end == 40
        assert warmup.start_factor == pytest.approx(1e-6 / 3e-4)
        assert cosine.eta_min_ratio == pytest.approx(1e-5 / 3e-4)
        return
    assert cfg.test_dataloader.dataset.pipeline[1].num_clips == views
    assert (
        cfg.train_dataloader.batch_size * clips_per_video(cfg.train_dataloader.dataset)
        == 2 * 16
    )
    assert cfg.model.backbone.drop_path_rate == 0.2
    assert cfg.model.cls_head.dropout_ratio == 0.5
    assert cfg.optim_wrapper.paramwise_cfg.decay_rate == 0.7
    assert cosine.eta_min_ratio == pytest.approx(1e-5 / 5e-4)
    assert warmup.start_factor == pytest.approx(1e-8 / 5e-4)


def test_rates_of_other_numbers_of_gpus():
    """Updates of as many clips as published have the published rate."""
    for name, published, gpus in (
        ('one_gpu_pretrain', 'adamae_vitb_k400_pretrain', 8),
        ('eight_gpus_pretrain', 'maest_vitl_k400_pretrain', 64),
    ):
        cfg = load(f'recipes/{name}.py')
        passes = cfg.optim_wrapper.accumulative_counts
        here = peak(cfg, 1 if gpus == 8 else 8) * passes
        there = load(f'{published}.py')
        assert here == pytest.approx(there.optim_wrapper.optimizer.lr)
        assert here == pytest.approx(peak(there, gpus))


def test_every_recipe_is_documented():
    page = (ROOT / 'docs/recipes.md').read_text()
    named = set(re.findall(r'configs/((?:recipes/)?\w+\.py)', page))
    assert set(RECIPES) <= named
    for name in named:
        assert (CONFIGS / name).is_file(), name


def test_documented_snippets_are_configs(tmp_path):
    page = (ROOT / 'docs/recipes.md').read_text()
    for number, code in enumerate(re.findall('```python\n(.*?)```', page, re.S)):
        file = tmp_path / f'{number}.py'
        file.write_text(code.replace("_base_ = '", f"_base_ = '{CONFIGS}/"))
        command = [str(file)]
        cfg = load_tool('train').parse_args(command)
        assert Config.fromfile(cfg.config).model
        assert load(file).auto_scale_lr.enable
