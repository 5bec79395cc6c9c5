"""Every shipped config: trains, resumes, fine-tunes, says what was published."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config, DictAction
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper

from projects.adamae.analysis.flops import without_weights
from projects.adamae.datasets.preparers.motion_videos import MotionSpec, make_dataset
from projects.adamae.models import samplers
from tests.helpers import ROOT, write_videos

CONFIGS = sorted(
    str(p.relative_to(ROOT / 'configs'))
    for p in (ROOT / 'configs').rglob('*.py')
    if '_base_' not in p.parts and not p.stem.endswith('_base')
)
PRETRAINING = [n for n in CONFIGS if 'pretrain' in n or n.startswith('ablations')]
TINY = dict(embed_dims=16, num_heads=2)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """The same few H.264 files in the layout of every data set."""
    root = tmp_path_factory.mktemp('data')
    lines = write_videos(root / 'videos', count=2, frames=70)
    (root / 'list.txt').write_text('\n'.join(lines))
    make_dataset(root / 'motion', MotionSpec(num_train=2, num_val=2, num_frames=32))
    return root


@pytest.fixture
def train(data, monkeypatch, tmp_path):
    """Run tools/train.py on a config at toy size."""
    # Half of a run would be spent on the layout of the config it logs and saves.
    monkeypatch.setattr(
        'mmengine.config.config.FormatCode', lambda text, **_: (text, 1)
    )

    def run(name, *arguments, **options):
        work_dir = tmp_path / Path(name).stem
        options = toy_options(load(name, data, monkeypatch), data) | options
        command = ['train.py', str(ROOT / 'configs' / name), *arguments]
        command += ['--work-dir', str(work_dir), '--cfg-options']
        command += [f'{k}={v}'.replace(', ', ',') for k, v in options.items()]
        monkeypatch.setattr(sys, 'argv', command)
        runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')
        path = work_dir / f'epoch_{options["train_cfg.max_epochs"]}.pth'
        checkpoint = torch.load(path)
        assert all(v.isfinite().all() for v in checkpoint['state_dict'].values())
        return path, checkpoint

    return run


def load(name, data, monkeypatch):
    monkeypatch.setenv('MOTION_DATA', str(data / 'motion'))
    return Config.fromfile(ROOT / 'configs' / name)


def resize_options(cfg, size):
    """What changes the resolution of a config (docs/training.md, "Other sizes")."""
    options = {'model.backbone.img_size': size}
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader') or dict(dataset=dict(pipeline=[]))
        for i, step in enumerate(loader['dataset']['pipeline']):
            key = f'{split}_dataloader.dataset.pipeline.{i}'
            if 'scale' in step:
                sides = (size if side > 0 else side for side in step['scale'])
                options[f'{key}.scale'] = tuple(sides)
            for name in {'input_size', 'crop_size'} & set(step):
                options[f'{key}.{name}'] = size
    return options


def toy_options(cfg, data):
    """Narrow the model, one encoder block, toy data; nothing else is changed."""
    options = {f'model.backbone.{k}': v for k, v in TINY.items()}
    options['model.backbone.depth'] = 1
    if 'decoder' in cfg.model:
        options |= {f'model.decoder.{k}': v for k, v in TINY.items()}
        if cfg.model.sampler.get('embed_dims'):
            options['model.sampler.embed_dims'] = 8
    else:
        options['model.cls_head.in_channels'] = 16
    if 'num_layers' in cfg.optim_wrapper.get('paramwise_cfg', {}):
        options['optim_wrapper.paramwise_cfg.num_layers'] = 1
    toy_data = 'motion' in str(cfg.train_dataloader.dataset.data_prefix.video)
    for split in ('train', 'val', 'test'):
        key = f'{split}_dataloader'
        if cfg.get(key):
            options[f'{key}.num_workers'] = 0
            options[f'{key}.persistent_workers'] = False
            # It would collect garbage after making one string of the list.
            options[f'{key}.dataset.serialize_data'] = False
            if not toy_data:
                options[f'{key}.dataset.data_prefix.video'] = data / 'videos'
                if 'ann_file' in cfg[key].dataset:
                    options[f'{key}.dataset.ann_file'] = data / 'list.txt'
    if not toy_data:
        options |= resize_options(cfg, 64)
    # Two videos: two epochs of one iteration, the first of them warm-up.
    options |= {'train_dataloader.batch_size': 2, 'train_cfg.max_epochs': 2}
    return options | {'param_scheduler.0.end': 1, 'param_scheduler.1.begin': 1}


def finetuning_config(name):
    """The config that fine-tunes what a pre-training config trains."""
    if name.startswith('demo'):
        return 'demo/motion_finetune.py'
    if name.startswith('ablations'):
        return 'adamae_vitb_ssv2_finetune.py'
    name = name.replace('videomae', 'adamae').replace('folder', 'k400')
    return name.replace('pretrain', 'finetune')


@pytest.mark.parametrize('name', PRETRAINING)
def test_pretrains_resumes_and_fine_tunes(name, train):
    _, checkpoint = train(name)
    assert checkpoint['meta']['iter'] == 2

    path, checkpoint = train(name, '--resume', **{'train_cfg.max_epochs': 3})
    assert checkpoint['meta']['iter'] == 3
    steps = {int(s['step']) for s in checkpoint['optimizer']['state'].values()}
    assert steps == {3}

    finetuning = finetuning_config(name)
    _, tuned = train(finetuning, '--no-validate', load_from=path)
    # Two small steps away from where pre-training ended.
    for key, weight in tuned['state_dict'].items():
        if key.startswith('backbone.patch_embed') or key.startswith('backbone.blocks'):
            difference = (weight - checkpoint['state_dict'][key]).abs()
            assert difference.max() < 5e-3, key


@pytest.mark.parametrize('name', [n for n in CONFIGS if n not in PRETRAINING])
def test_classifiers_train_and_validate(name, train):
    _, checkpoint = train(name)
    assert checkpoint['meta']['iter'] == 2


@pytest.mark.parametrize(
    'options',
    [
        *(dict(img_size=size) for size in (112, 160, 224, 320)),
        *(dict(num_frames=frames) for frames in (8, 32)),
        *(dict(patch_size=patch) for patch in (8, 32)),
        dict(patch_size=14, img_size=112),
    ],
    ids=str,
)
def test_other_sizes(options, train, data, monkeypatch):
    """Resolutions, clip lengths and patches, as docs/training.md says it."""
    name = 'adamae_vitb_ssv2_pretrain.py'
    changes = {f'model.backbone.{k}': v for k, v in options.items()}
    if 'num_frames' in options:
        changes['train_dataloader.dataset.pipeline.1.clip_len'] = options['num_frames']
    if 'img_size' in options:
        changes |= resize_options(load(name, data, monkeypatch), options['img_size'])
    # One clip and one decoder block: there are up to 3200 tokens.
    changes |= {'train_dataloader.dataset.indices': 1, 'model.decoder.depth': 1}
    changes |= {'train_dataloader.batch_size': 1, 'model.sampler.num_heads': 1}
    _, checkpoint = train(name, **changes)
    size = dict(img_size=64, num_frames=16, patch_size=16) | options
    tokens = size['num_frames'] // 2 * (size['img_size'] // size['patch_size']) ** 2
    assert checkpoint['state_dict']['sampler.pos_embed'].shape == (1, tokens, 16)


def test_clips_fit_the_models(data, monkeypatch):
    """Every pipeline as shipped gives clips of the size that its model takes."""
    motion = str(next((data / 'motion/videos/val').iterdir()))
    done = []
    for name in CONFIGS:
        cfg = load(name, data, monkeypatch)
        backbone = cfg.model.backbone
        size = (3, backbone.get('num_frames', 16), *2 * [backbone.img_size])
        for split in ('train', 'val', 'test'):
            loader = cfg.get(f'{split}_dataloader')
            if loader and (loader.dataset.pipeline, size) not in done:
                done.append((loader.dataset.pipeline, size))
                clips = dict(
                    filename=motion if 'demo' in name else str(data / 'videos/0.mp4'),
                    label=0,
                    start_index=0,
                    modality='RGB',
                )
                clips = Compose(loader.dataset.pipeline)(clips)['inputs']
                assert clips.shape[1:] == size, (name, split)
    assert len(done) > 8


@pytest.mark.parametrize('dataset', ['ssv2', 'k400'])
@pytest.mark.parametrize('system', ['adamae', 'videomae'])
def test_pretraining_recipe(system, dataset, data, monkeypatch):
    """AdaMAE, appendix, which took it over from VideoMAE but for mask and epochs.

    AdamW 0.9 / 0.95, decay 0.05, 1.5e-4 at 256 clips.
    """
    cfg = load(f'{system}_vitb_{dataset}_pretrain.py', data, monkeypatch)
    steps = {step['type']: step for step in cfg.train_dataloader.dataset.pipeline}
    assert ('Flip' in steps) == (dataset == 'k400')
    assert steps['SampleFrames']['clip_len'] == 16
    assert steps['SampleFrames']['frame_interval'] == (4 if dataset == 'k400' else 2)
    assert steps['MultiScaleCrop']['scales'] == (1, 0.875, 0.75, 0.66)
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


def count_parameters(cfg):
    with without_weights():
        return sum(p.numel() for p in MODELS.build(cfg.model).parameters())


@pytest.mark.parametrize(
    'size, width, heads, depth, millions',
    [
        ('s', 384, 6, 12, 22),
        ('b', 768, 12, 12, 87),
        ('l', 1024, 16, 24, 305),
        ('h', 1280, 16, 32, 633),
    ],
)
def test_model_sizes(size, width, heads, depth, millions, data, monkeypatch):
    """The papers' sizes, in whole millions."""
    for dataset in ('ssv2', 'k400'):
        names = [
            f'adamae_vit{size}_{dataset}_{job}.py' for job in ('pretrain', 'finetune')
        ]
        for name in names:
            cfg = load(name, data, monkeypatch)
            sizes = (
                cfg.model.backbone[k] for k in ('embed_dims', 'num_heads', 'depth')
            )
            assert tuple(sizes) == (width, heads, depth), name
        assert cfg.optim_wrapper.paramwise_cfg.num_layers == depth
    assert count_parameters(cfg) / 1e6 == pytest.approx(millions, abs=1)


@pytest.mark.parametrize('dataset', ['ssv2', 'k400'])
@pytest.mark.parametrize(
    'size, width, depth, decoder',
    [
        ('s', 384, 12, (192, 4, 3)),
        ('b', 768, 12, (384, 4, 6)),
        ('l', 1024, 24, (512, 12, 8)),
    ],
)
def test_videomae_sizes(size, width, depth, decoder, dataset, data, monkeypatch):
    """Decoders of the released models; parameters counted by hand."""
    cfg = load(f'videomae_vit{size}_{dataset}_pretrain.py', data, monkeypatch)
    part = cfg.model.decoder
    assert (part.embed_dims, part.depth, part.num_heads) == decoder

    def stack(width, depth):
        # Attention has biases on queries, values and outputs; norms; final norm.
        return depth * (12 * width**2 + 12 * width) + 2 * width

    values, thin = 2 * 16 * 16 * 3, decoder[0]
    total = (values + 1) * width + stack(width, depth)
    total += width * thin + thin + stack(thin, decoder[1]) + (thin + 1) * values
    assert count_parameters(cfg) == total


def ablation(path, value):
    """Change one value of a config given as a dict, e.g. ``model.sampler.depth``."""

    def change(cfg):
        *parents, last = path.split('.')
        for key in parents:
            cfg = cfg[key]
        cfg[last] = value

    return change


def mask(name, ratio):
    return ablation('model.sampler', dict(type=f'{name}SamplerHead', mask_ratio=ratio))


ABLATIONS = {
    'mask_tube75': mask('Tube', 0.75),
    'mask_tube90': mask('Tube', 0.9),
    'mask_random75': mask('Random', 0.75),
    'mask_random90': mask('Random', 0.9),
    'mask_frame875': mask('Frame', 0.875),
    'ratio98': ablation('model.sampler.mask_ratio', 0.98),
    'ratio90': ablation('model.sampler.mask_ratio', 0.9),
    'ratio85': ablation('model.sampler.mask_ratio', 0.85),
    'ratio80': ablation('model.sampler.mask_ratio', 0.8),
    'decoder1': ablation('model.decoder.depth', 1),
    'decoder2': ablation('model.decoder.depth', 2),
    'decoder8': ablation('model.decoder.depth', 8),
    'target_l1': ablation('model.loss.criterion', 'l1'),
    'target_l1_raw': lambda cfg: cfg['model']['loss'].update(
        criterion='l1', norm_pix=False
    ),
    'target_mse_raw': ablation('model.loss.norm_pix', False),
    'epochs200': ablation('train_cfg.max_epochs', 200),
    'epochs500': ablation('train_cfg.max_epochs', 500),
    'epochs600': ablation('train_cfg.max_epochs', 600),
    'sampler_mlp': ablation('model.sampler.depth', 0),
    'sampler_mha1x384': ablation('model.sampler.embed_dims', 384),
    'sampler_mha2x384': lambda cfg: cfg['model']['sampler'].update(
        embed_dims=384, depth=2
    ),
}
VISIBLE = dict(mask_tube75=392, mask_tube90=160, mask_random75=392, mask_random90=156)
VISIBLE |= dict(mask_frame875=196, ratio98=31, ratio90=156, ratio85=235, ratio80=313)


def test_ablations_change_one_thing_and_are_listed(data, monkeypatch):
    grid = dict(grid_size=(8, 14, 14), in_channels=768)
    names = {Path(n).stem for n in CONFIGS if n.startswith('ablations/')}
    assert names == set(ABLATIONS)
    page = (ROOT / 'docs/ablations.md').read_text()
    assert sorted(re.findall(r'^\|.*`(\w+)\.py`', page, re.M)) == sorted(
        [*names, *6 * ['adamae_vitb_ssv2_pretrain']]
    )
    for name in names:
        expected = load('adamae_vitb_ssv2_pretrain.py', data, monkeypatch).to_dict()
        ABLATIONS[name](expected)
        cfg = load(f'ablations/{name}.py', data, monkeypatch)
        assert cfg.to_dict() == expected, name
        with without_weights():
            sampler = MODELS.build({**grid, **cfg.model.sampler})
        assert sampler.num_visible == VISIBLE.get(name, 78), name


def documented_options(heading):
    """Options of the commands under a heading of docs/training.md, a dict a command."""
    page = (ROOT / 'docs/training.md').read_text().split(f'## {heading}')[1]
    lines = page.split('\n## ')[0].replace('\\\n', ' ').splitlines()
    commands = [shlex.split(line) for line in lines if '--cfg-options' in line]
    options = [c[c.index('--cfg-options') + 1 :] for c in commands]
    return [dict(option.split('=') for option in command) for command in options]


def test_documented_sizes(data, monkeypatch, tmp_path):
    """The page names every option that a size stands in."""
    pretraining = load('adamae_vitb_ssv2_pretrain.py', data, monkeypatch)
    finetuning = load('adamae_vitb_ssv2_finetune.py', data, monkeypatch)
    size, tuned_size, length, patch = documented_options('Other sizes')
    for cfg, options in ((pretraining, size), (finetuning, tuned_size)):
        expected = resize_options(cfg, 112).items()
        assert options == {k: str(v).replace(' ', '') for k, v in expected}
    step = pretraining.train_dataloader.dataset.pipeline[1]
    assert step.type == 'SampleFrames' and step.clip_len == 16
    assert list(length) == [
        'model.backbone.num_frames',
        'train_dataloader.dataset.pipeline.1.clip_len',
    ]
    assert list(patch) == ['model.backbone.patch_size']

    page = (ROOT / 'docs/training.md').read_text().split('## Other sizes')[1]
    code = page.split('```python\n')[1].split('```')[0]
    file = tmp_path / 'mine.py'
    file.write_text(code.replace("_base_ = '", f"_base_ = '{ROOT}/configs/"))
    mine = Config.fromfile(file)
    pretraining.merge_from_dict(resize_options(pretraining, 112))
    assert mine.model == pretraining.model
    assert mine.train_dataloader == pretraining.train_dataloader


def test_documented_samplers(tmp_path):
    """The page lists every sampler, and its snippet changes nothing but that."""
    page = (ROOT / 'docs/training.md').read_text().split('## Choosing the sampler')[1]
    page = page.split('\n## ')[0]
    names = {name for name in samplers.__all__ if name.endswith('Head')}
    assert set(re.findall(r'^\| `(\w+Head)`', page, re.M)) == names
    file = tmp_path / 'mine.py'
    code = page.split('```python\n')[1].split('```')[0]
    file.write_text(code.replace("_base_ = '", f"_base_ = '{ROOT}/configs/"))
    mine = Config.fromfile(file).to_dict()
    base = Config.fromfile(ROOT / 'configs/adamae_vitb_ssv2_pretrain.py')
    expected = base.to_dict()
    expected['model']['sampler'] = mine['model']['sampler']
    assert mine == expected
    (options,) = documented_options('Choosing the sampler')
    parse = DictAction._parse_iterable
    base.merge_from_dict({key: parse(value) for key, value in options.items()})
    assert base.to_dict() == expected
    with without_weights():
        assert MODELS.build(mine['model']).sampler.num_visible == 156


def test_learning_rate_over_the_schedule(data, monkeypatch):
    """Linear from 1e-6 over 40 epochs, cosine to 1e-5; all scale together."""
    from mmaction.registry import PARAM_SCHEDULERS

    cfg = load('adamae_vitb_ssv2_pretrain.py', data, monkeypatch)
    for scale in (1, 8):  # 8: what --auto-scale-lr makes of 64 GPUs
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.5e-4 * scale)
        schedulers = [
            PARAM_SCHEDULERS.build(
                {k: v for k, v in s.items() if k != 'convert_to_iter_based'}
                | dict(optimizer=optimizer, end=s.get('end', cfg.train_cfg.max_epochs))
            )
            for s in cfg.param_scheduler
        ]
        rates = []
        for _ in range(800):
            rates.append(optimizer.param_groups[0]['lr'] / scale)
            optimizer.step()
            for scheduler in schedulers:
                scheduler.step()
        assert rates[0] == pytest.approx(1e-6)
        assert max(rates) == pytest.approx(1.5e-4)
        assert rates[39] == pytest.approx(1.5e-4) == rates[40]
        assert rates[420] == pytest.approx((1.5e-4 + 1e-5) / 2, rel=1e-2)
        assert rates[799] == pytest.approx(1e-5, rel=1e-2)


def test_configs_for_a_new_dataset_are_short():
    for name in CONFIGS:
        lines = (ROOT / 'configs' / name).read_text().splitlines()
        if not name.startswith('demo'):
            assert len(lines) < 25, name
