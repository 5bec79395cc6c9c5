"""Every shipped config: trains, resumes, fine-tunes, states what was published."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS, PARAM_SCHEDULERS
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper

from projects.adamae.analysis.flops import without_weights
from projects.adamae.datasets.from_config import iter_datasets
from projects.adamae.datasets.preparers.motion_videos import MotionSpec, make_dataset
from projects.adamae.launch import load_config, load_reading_config
from projects.adamae.models import samplers
from tests.helpers import (
    CONFIGS,
    ROOT,
    TINY,
    load_tool,
    run_tool,
    toy_options,
    write_videos,
)

NAMES = sorted(
    str(path.relative_to(CONFIGS))
    for path in CONFIGS.rglob('*.py')
    if '_base_' not in path.parts and not path.stem.endswith('_base')
)
TOLERANT = ('Tolerant', 'VideoFolderDataset')
# What is pre-trained, and what then takes over its encoder.
CHAINS = {
    'adamae_vitb_ssv2_pretrain.py': 'adamae_vitb_ssv2_finetune.py',
    'adamae_vitb_k400_pretrain.py': 'adamae_vitb_k400_finetune.py',
    'adamae_vith_ssv2_pretrain.py': 'adamae_vith_ssv2_finetune.py',
    'adamae_vitb_folder_pretrain.py': 'adamae_vitb_k400_linear.py',
    'videomae_vitb_ssv2_pretrain.py': 'adamae_vitb_ssv2_linear.py',
    'maest_vitb_k400_pretrain.py': 'maest_vitb_k400_finetune.py',
    'demo/motion_pretrain.py': 'demo/motion_finetune.py',
    'demo/motion_difference_pretrain.py': 'demo/motion_linear.py',
}
# What else is trained: parts of the model that none of these has.
OTHERS = [f'demo/motion_{name}_pretrain.py' for name in ('frame', 'random', 'tube')] + [
    f'ablations/{name}.py'
    for name in ('decoder2', 'sampler_mlp', 'sampler_mha2x384', 'target_l1_raw')
]
# Those of tests/test_recipes.py.
RECIPES = [
    name
    for name in NAMES
    if re.match('recipes/(?!own_)', name) or re.search('ucf|hmdb|diving|k[67]00', name)
]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """The same few H.264 files in the layout of every dataset."""
    root = tmp_path_factory.mktemp('data')
    lines = write_videos(root / 'videos', count=2, frames=70)
    (root / 'list.txt').write_text('\n'.join(lines))
    make_dataset(root / 'motion', MotionSpec(num_train=2, num_val=2, num_frames=32))
    return root


@pytest.fixture(autouse=True)
def _motion_data(data, monkeypatch):
    monkeypatch.setenv('MOTION_DATA', str(data / 'motion'))


def load(name, **options):
    """Load a config as the tools do; ``name`` is below ``configs`` or absolute."""
    options = [f'{key}={value}' for key, value in options.items()]
    command = [str(CONFIGS / name), *(['--cfg-options', *options] if options else [])]
    return load_config(load_tool('train').parse_args(command))


def child(folder, code):
    """Write a config of one's own that derives from a shipped one."""
    file = folder / 'mine.py'
    file.write_text(code.replace("_base_ = '", f"_base_ = '{CONFIGS}/"))
    return file


def loaders(cfg):
    splits = ('train', 'val', 'test')
    return {split: cfg.get(f'{split}_dataloader') for split in splits}


@pytest.fixture
def train(data, tmp_path):
    """Run tools/train.py on a config at toy size, and tools/test.py if it can."""

    def run(name, *arguments, **options):
        work_dir = tmp_path / Path(name).stem
        cfg = load(name)
        options = toy_options(cfg, data) | options
        arguments = [*arguments, '--work-dir', work_dir]
        run_tool('train', CONFIGS / name, *arguments, **options)
        path = work_dir / f'epoch_{options["train_cfg.max_epochs"]}.pth'
        if cfg.get('test_dataloader'):
            test = (CONFIGS / name, path, '--work-dir', work_dir / 'test')
            run_tool('test', *test, **options)
        checkpoint = torch.load(path)
        assert all(v.isfinite().all() for v in checkpoint['state_dict'].values())
        return path, checkpoint

    return run


@pytest.mark.parametrize('name', NAMES)
def test_no_video_that_cannot_be_read_ends_a_run(name):
    for split, loader in loaders(load(name)).items():
        for key, dataset in iter_datasets(loader.dataset if loader else {}, split):
            assert dataset.get('type', 'Tolerant').startswith(TOLERANT), key


@pytest.mark.parametrize('name', CHAINS)
def test_pretrains_resumes_and_its_encoder_is_classified_with(name, train):
    _, checkpoint = train(name)
    assert checkpoint['meta']['iter'] == 2

    path, checkpoint = train(name, '--resume', **{'train_cfg.max_epochs': 3})
    assert checkpoint['meta']['iter'] == 3
    steps = {int(s['step']) for s in checkpoint['optimizer']['state'].values()}
    assert steps == {3}

    _, tuned = train(CHAINS[name], load_from=path)
    assert tuned['meta']['iter'] == 2
    # Two small steps away from where pre-training ended.
    for key, weight in tuned['state_dict'].items():
        if key.startswith('backbone.patch_embed') or key.startswith('backbone.blocks'):
            difference = (weight - checkpoint['state_dict'][key]).abs()
            assert difference.max() < 5e-3, key


@pytest.mark.parametrize('name', OTHERS)
def test_pretrains(name, train):
    _, checkpoint = train(name)
    assert checkpoint['meta']['iter'] == 2


def test_other_configs_differ_in_size_only():
    """What is trained above stands for all but the ablations."""

    def parts(name):
        cfg = load(name)
        cfg.model.backbone.update(TINY, depth=1, drop_path_rate=0, with_cp=False)
        for part in ('decoder', 'sampler'):
            cfg.model.get(part, {}).update(TINY, depth=1, mask_ratio=0.5)
        cfg.model.get('cls_head', {}).update(in_channels=16, dropout_ratio=0)
        cfg.optim_wrapper.get('paramwise_cfg', {}).update(num_layers=1, decay_rate=1)
        cfg.train_dataloader.batch_size = 1
        keys = ('optim_wrapper', 'param_scheduler', 'default_hooks', 'custom_hooks')
        return [*cfg.model.items(), *loaders(cfg).items(), *((k, cfg[k]) for k in keys)]

    trained = [*CHAINS, *CHAINS.values(), *OTHERS]
    known = [part for name in trained for part in parts(name)]
    for name in set(NAMES) - set(trained) - set(RECIPES):
        if not name.startswith('ablations'):
            assert [key for key, part in parts(name) if (key, part) not in known] == []


SIZES = [
    dict(img_size=112),
    dict(img_size=320),
    dict(num_frames=8),
    dict(num_frames=32),
    dict(patch_size=8),
    dict(patch_size=32),
    dict(patch_size=14, img_size=112),
]


@pytest.mark.parametrize('sizes', SIZES, ids=str)
def test_other_sizes(sizes, train):
    """Resolutions, clip lengths and patches, as in docs/training.md."""
    options = {f'model.backbone.{name}': size for name, size in sizes.items()}
    # One clip and one decoder block: there are up to 3200 tokens.
    options |= {'train_dataloader.dataset.indices': 1, 'model.decoder.depth': 1}
    options |= {'train_dataloader.batch_size': 1, 'model.sampler.num_heads': 1}
    _, checkpoint = train('adamae_vitb_ssv2_pretrain.py', **options)
    size = dict(img_size=64, num_frames=16, patch_size=16) | sizes
    tokens = size['num_frames'] // 2 * (size['img_size'] // size['patch_size']) ** 2
    assert checkpoint['state_dict']['sampler.pos_embed'].shape == (1, tokens, 16)


@pytest.mark.parametrize('size', [{}, dict(img_size=112), dict(num_frames=32)], ids=str)
def test_clips_fit_the_models(size, data, tmp_path):
    """Every pipeline, as shipped and at another size, gives what its model takes."""
    motion = str(next((data / 'motion/videos/val').iterdir()))
    done = []
    for name in {**CHAINS, **dict.fromkeys(CHAINS.values())}:
        demo = name.startswith('demo')
        if demo and 'img_size' in size:
            continue  # The videos are as small as the model.
        cfg = load(name, **{f'model.backbone.{key}': size[key] for key in size})
        own = f"_base_ = '{name}'\nmodel = dict(backbone={size})\n"
        assert loaders(load(child(tmp_path, own))) == loaders(cfg)
        backbone = cfg.model.backbone
        expected = (3, backbone.num_frames, backbone.img_size, backbone.img_size)
        for split, loader in loaders(cfg).items():
            if loader and loader.dataset.pipeline not in done:
                done.append(loader.dataset.pipeline)
                file = motion if demo else str(data / 'videos/0.mp4')
                video = dict(filename=file, label=0, start_index=0, modality='RGB')
                clips = Compose(loader.dataset.pipeline)(video)['inputs']
                assert clips.shape[1:] == expected, (name, split)
    assert len(done) > 8


def test_data_of_another_config_follows_the_model(tmp_path):
    code = "_base_ = 'adamae_vitb_k400_pretrain.py'\n"
    own = child(tmp_path, code + 'model = dict(backbone=dict(img_size=112))')
    name = 'adamae_vitb_ssv2_finetune.py'
    command = [str(own), 'no.pth', '--data', str(CONFIGS / name)]
    cfg = load_reading_config(load_tool('knn_eval').parse_args(command))
    assert loaders(cfg) == loaders(load(name, **{'model.backbone.img_size': 112}))


@pytest.mark.parametrize('dataset', ['ssv2', 'k400'])
@pytest.mark.parametrize('system', ['adamae', 'videomae'])
def test_pretraining_recipe(system, dataset):
    """AdaMAE, appendix, which took it over from VideoMAE but for mask and epochs.

    AdamW 0.9 / 0.95, decay 0.05, 1.5e-4 at 256 clips.
    """
    cfg = load(f'{system}_vitb_{dataset}_pretrain.py')
    steps = {step['type']: step for step in cfg.train_dataloader.dataset.pipeline}
    assert ('Flip' in steps) == (dataset == 'k400')
    sample = steps['RepeatLastSampleFrames']
    assert sample['clip_len'] == 16
    assert sample['frame_interval'] == (4 if dataset == 'k400' else 2)
    assert steps['MultiScaleCropWithinFrame']['scales'] == (1, 0.875, 0.75, 0.66)
    epochs = dict(adamae=(800, 800), videomae=(2400, 1600))[system]
    assert cfg.train_cfg.max_epochs == epochs[dataset == 'k400']
    assert cfg.auto_scale_lr.base_batch_size == 256
    assert cfg.train_dataloader.batch_size == 32 and cfg.randomness.diff_rank_seed

    cfg.model.backbone.update(TINY, depth=1)
    cfg.model.decoder.update(TINY, depth=1)
    model = MODELS.build(cfg.model)
    assert model.sampler.num_visible == dict(adamae=78, videomae=160)[system]
    wrapper = build_optim_wrapper(model, {**cfg.optim_wrapper, 'type': 'OptimWrapper'})
    groups = wrapper.optimizer.param_groups
    assert all(g['betas'] == (0.9, 0.95) and g['lr'] == 1.5e-4 for g in groups)
    decayed = {id(p): g['weight_decay'] for g in groups for p in g['params']}
    for name, p in model.named_parameters():
        free = p.ndim == 1 or name == 'decoder.mask_token'
        assert decayed[id(p)] == (0 if free else 0.05), name


@pytest.mark.parametrize('dataset', ['ssv2', 'k400'])
@pytest.mark.parametrize(
    ('size', 'width', 'depth', 'heads', 'millions', 'videomae_decoder'),
    [
        ('s', 384, 12, 6, 22, (192, 4, 3)),
        ('b', 768, 12, 12, 87, (384, 4, 6)),
        ('l', 1024, 24, 16, 305, (512, 12, 8)),
        ('h', 1280, 32, 16, 633, None),
    ],
)
def test_model_sizes(size, width, depth, heads, millions, videomae_decoder, dataset):
    """The papers' sizes, fine-tuned in whole millions; VideoMAE's released decoders."""

    def sizes(part):
        return part.embed_dims, part.depth, part.num_heads

    pretraining = load(f'adamae_vit{size}_{dataset}_pretrain.py')
    assert sizes(pretraining.model.backbone) == (width, depth, heads)
    assert sizes(pretraining.model.decoder) == (384, 4, 6)
    if videomae_decoder:
        videomae = load(f'videomae_vit{size}_{dataset}_pretrain.py').model
        assert videomae.backbone == pretraining.model.backbone
        assert sizes(videomae.decoder) == videomae_decoder
    cfg = load(f'adamae_vit{size}_{dataset}_finetune.py')
    assert sizes(cfg.model.backbone) == (width, depth, heads)
    assert cfg.optim_wrapper.paramwise_cfg.num_layers == depth
    with without_weights():
        count = sum(p.numel() for p in MODELS.build(cfg.model).parameters())
    assert count / 1e6 == pytest.approx(millions, abs=1.5)  # SSv2: fewer classes


def mask(name, ratio):
    sampler = dict(_delete_=True, type=f'{name}SamplerHead', mask_ratio=ratio)
    return {'model.sampler': sampler}


ABLATIONS = {
    'mask_tube75': mask('Tube', 0.75),
    'mask_tube90': mask('Tube', 0.9),
    'mask_random75': mask('Random', 0.75),
    'mask_random90': mask('Random', 0.9),
    'mask_frame875': mask('Frame', 0.875),
    'ratio98': {'model.sampler.mask_ratio': 0.98},
    'ratio90': {'model.sampler.mask_ratio': 0.9},
    'ratio85': {'model.sampler.mask_ratio': 0.85},
    'ratio80': {'model.sampler.mask_ratio': 0.8},
    'decoder1': {'model.decoder.depth': 1},
    'decoder2': {'model.decoder.depth': 2},
    'decoder8': {'model.decoder.depth': 8},
    'target_l1': {'model.loss.criterion': 'l1'},
    'target_l1_raw': {'model.loss.criterion': 'l1', 'model.loss.norm_pix': False},
    'target_mse_raw': {'model.loss.norm_pix': False},
    'epochs200': {'train_cfg.max_epochs': 200},
    'epochs500': {'train_cfg.max_epochs': 500},
    'epochs600': {'train_cfg.max_epochs': 600},
    'sampler_mlp': {'model.sampler.depth': 0},
    'sampler_mha1x384': {'model.sampler.embed_dims': 384},
    'sampler_mha2x384': {'model.sampler.embed_dims': 384, 'model.sampler.depth': 2},
}


def test_ablations_change_one_thing_and_are_listed():
    names = {Path(n).stem for n in NAMES if n.startswith('ablations/')}
    assert names == set(ABLATIONS)
    page = (ROOT / 'docs/ablations.md').read_text()
    assert sorted(re.findall(r'^\|.*`(\w+)\.py`', page, re.M)) == sorted(
        [*names, *6 * ['adamae_vitb_ssv2_pretrain']]
    )
    for name in names:
        expected = Config.fromfile(CONFIGS / 'adamae_vitb_ssv2_pretrain.py')
        expected.merge_from_dict(ABLATIONS[name])
        cfg = Config.fromfile(CONFIGS / f'ablations/{name}.py')
        assert cfg.to_dict() == expected.to_dict(), name


def documented(heading):
    """The commands (config, options) and the config under a heading of training.md."""
    page = (ROOT / 'docs/training.md').read_text().split(f'## {heading}\n')[1]
    page = page.split('\n## ')[0].replace('\\\n', ' ')
    commands = [
        shlex.split(line) for line in page.splitlines() if '--cfg-options' in line
    ]
    options = (
        dict(o.split('=') for o in command[command.index('--cfg-options') + 1 :])
        for command in commands
    )
    (code,) = re.findall('```python\n(.*?)```', page, re.S)
    return [(ROOT / c[2], o) for c, o in zip(commands, options, strict=True)], code


def test_documented_sizes(tmp_path):
    """One key each besides the start; the snippet does what the first command does."""
    commands, code = documented('Other sizes')
    sizes = ('img_size', 'img_size', 'img_size', 'num_frames', 'patch_size')
    keys = [[key for key in options if key != 'load_from'] for _, options in commands]
    assert keys == [[f'model.backbone.{size}'] for size in sizes]
    config, options = commands[0]
    given, mine = load(config, **options), load(child(tmp_path, code))
    assert given.model == mine.model and loaders(given) == loaders(mine)


def test_documented_samplers(tmp_path):
    """The page lists every sampler, and its snippet changes nothing but that."""
    page = (ROOT / 'docs/training.md').read_text().split('## Choosing the sampler')[1]
    names = {name for name in samplers.__all__ if name.endswith('Head')}
    assert set(re.findall(r'^\| `(\w+SamplerHead)`', page, re.M)) == names
    ((config, options),), code = documented('Choosing the sampler')
    mine, expected = Config.fromfile(child(tmp_path, code)), Config.fromfile(config)
    expected.model.sampler = mine.model.sampler
    assert mine.to_dict() == expected.to_dict()
    assert load(config, **options).model == mine.model
    with without_weights():
        assert MODELS.build(mine.model).sampler.num_visible == 156


@pytest.mark.parametrize(
    ('name', 'warmup', 'epochs', 'peak', 'last'),
    [
        ('adamae_vitb_ssv2_pretrain.py', 40, 800, 1.5e-4, 1e-5),
        ('adamae_vitb_ssv2_finetune.py', 5, 50, 5e-4, 1e-6),
        ('adamae_vitb_k400_finetune.py', 5, 100, 1e-3, 1e-6),
    ],
)
def test_learning_rate_over_the_schedule(name, warmup, epochs, peak, last):
    """Linear from 1e-6, then a cosine; layers and batch sizes scale all of it."""
    cfg = load(name)
    assert cfg.train_cfg.max_epochs == epochs
    scales = torch.tensor([1, 8, 0.75**13], dtype=torch.float64)
    groups = [dict(params=[torch.zeros(1)], lr=peak * s) for s in scales.tolist()]
    optimizer = torch.optim.SGD(groups)
    schedulers = [
        PARAM_SCHEDULERS.build(
            {'end': epochs, **schedule}
            | dict(convert_to_iter_based=False, optimizer=optimizer)
        )
        for schedule in cfg.param_scheduler
    ]
    rates = []
    for _ in range(epochs):
        rates.append([group['lr'] for group in optimizer.param_groups])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    for rate in (torch.tensor(rates, dtype=torch.float64) / scales).T.tolist():
        assert rate[0] == pytest.approx(1e-6)
        assert max(rate) == pytest.approx(peak) == rate[warmup]
        middle = rate[(warmup + epochs) // 2]
        assert middle == pytest.approx((peak + last) / 2, rel=0.1)
        assert rate[-1] == pytest.approx(last, abs=4e-3 * peak)
