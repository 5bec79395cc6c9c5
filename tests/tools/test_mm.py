"""MMAction2's own tools, run by tools/mm.py on a small config of this project."""

import json
import pickle
import re
from argparse import Namespace
from importlib.util import find_spec
from types import SimpleNamespace

import decord
import numpy as np
import pytest
import torch
from mmaction.apis import inference_recognizer, init_recognizer
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from projects.adamae import launch
from projects.adamae.analysis import flops
from projects.adamae.apis.models import load_model
from projects.adamae.apis.predict import predict
from projects.adamae.datasets import from_config
from projects.adamae.evaluation.features import extract
from projects.adamae.launch import mm_tools
from projects.adamae.visualization.grad_cam import TokenGradCAM
from tests.helpers import CONFIGS, ROOT, TINY, run_command, run_tool, write_videos


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    """The demo's recipe of a classifier, narrow: its config, weights and videos."""
    init_default_scope('mmaction')
    root = tmp_path_factory.mktemp('mm')
    lines = write_videos(root / 'videos', 4, frames=20, size=(32, 32))
    (root / 'list.txt').write_text('\n'.join(lines))
    cfg = Config.fromfile(CONFIGS / 'demo/motion_finetune.py')
    cfg.model.backbone.update(TINY, depth=2)
    cfg.model.cls_head.update(in_channels=16, init_std=1.0)
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.num_workers = 0
        for key in ('persistent_workers', 'prefetch_factor'):
            loader.pop(key, None)
        loader.dataset.ann_file = str(root / 'list.txt')
        loader.dataset.data_prefix.video = str(root / 'videos')
    cfg.dump(root / 'cfg.py')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    hub = dict(log_scalars={}, runtime_info=dict(cfg=cfg.pretty_text), resumed_keys={})
    content = dict(
        state_dict=model.state_dict(), message_hub=hub, meta=dict(epoch=1, iter=1)
    )
    torch.save(content, root / 'weights.pth')
    return SimpleNamespace(
        root=root,
        cfg=root / 'cfg.py',
        weights=root / 'weights.pth',
        model=load_model(cfg, str(root / 'weights.pth')),
        config=cfg,
    )


def mm(*arguments):
    run_tool('mm', *arguments)


def test_confusion_matrix(toy, tmp_path):
    mm('confusion_matrix', toy.cfg, toy.weights, '--out', tmp_path / 'matrix.pkl')
    matrix = pickle.loads((tmp_path / 'matrix.pkl').read_bytes())
    expected = np.zeros((8, 8), int)
    videos = [str(toy.root / f'videos/{i}.mp4') for i in range(4)]
    for i, prediction in enumerate(predict(toy.model, toy.config, videos)):
        expected[i % 2, prediction.scores.argmax()] += 1
    assert matrix.tolist() == expected.tolist()


def test_pipelines_follow_the_size_of_the_model(toy, tmp_path, capsys):
    config = tmp_path / 'small.py'
    config.write_text(f"_base_ = '{toy.cfg}'\nmodel = dict(backbone=dict(img_size=48))")
    mm('print_config', config)
    text = capsys.readouterr().out
    printed = Config.fromstring(text[text.index('Config:\n') + 8 :], '.py')
    arguments = Namespace(
        config=str(config), cfg_options={}, work_dir=None, launcher='none'
    )
    expected = launch.load_config(arguments)
    pipeline = printed.test_dataloader.dataset.pipeline
    assert pipeline == expected.test_dataloader.dataset.pipeline
    assert '48' in str(pipeline)


def test_publish_model(toy, tmp_path):
    mm('publish_model', toy.weights, tmp_path / 'public.pth')
    (path,) = tmp_path.iterdir()
    assert re.fullmatch(r'public_\d{8}-[0-9a-f]{8}\.pth', path.name)
    assert 'message_hub' not in torch.load(path)
    published = load_model(toy.config, str(path))
    for weight, own in zip(
        published.state_dict().values(), toy.model.state_dict().values(), strict=True
    ):
        assert torch.equal(weight, own)


def test_get_flops_counts_fused_attention(toy, capsys):
    mm('get_flops', toy.cfg, '--shape', 1, 3, 16, 32, 32)
    found = re.search(r'Flops: ([\d.]+)([GMK])', capsys.readouterr().out)
    count = float(found[1]) * {'G': 1e9, 'M': 1e6, 'K': 1e3}[found[2]]
    parts = [p for p in flops.count(toy.config.model) if p.name != 'head']
    ours = sum(part.multiply_adds for part in parts)
    # MMEngine counts norms, too; without attention it would be a third less.
    assert ours < count < 1.1 * ours


def test_a_config_by_name(capsys):
    mm('print_config', 'demo/motion_finetune')
    assert 'num_classes=8' in capsys.readouterr().out


def test_clip_feature_extraction(toy, tmp_path):
    """Of the classifier's encoder: its head is left out, and not missed."""
    elsewhere = tmp_path / 'moved'
    elsewhere.symlink_to(toy.root / 'videos')
    out = tmp_path / 'features'
    mm(
        *('clip_feature_extraction', toy.cfg, toy.weights, out),
        *('--video-list', toy.root / 'list.txt', '--video-root', elsewhere),
    )
    cfg = toy.config.copy()
    dataset = from_config.build_dataset(cfg, 'val', (16, 32, 32))
    expected = extract(toy.model, dataset, batch_size=4)
    for i in range(4):
        features = pickle.loads((out / f'{i}.mp4.pkl').read_bytes())
        assert torch.as_tensor(features).tolist() == pytest.approx(
            expected[i].tolist(), rel=1e-3, abs=1e-5
        )


@pytest.mark.parametrize(
    'mode', ['transformed', pytest.param('pipeline', marks=pytest.mark.slow)]
)
def test_browse_dataset(toy, tmp_path, mode):
    mm('browse_dataset', toy.cfg, tmp_path / 'drawn', '-n', 2, '-m', mode)
    videos = sorted(tmp_path.rglob('*.mp4'))
    assert [path.name for path in videos] == ['video_0.mp4', 'video_1.mp4']
    assert len(decord.VideoReader(str(videos[0]))) == 16


def test_vis_cam(toy, tmp_path):
    video = toy.root / 'videos/0.mp4'
    for name in ('cam.mp4', 'cam.gif'):
        mm('vis_cam', toy.cfg, toy.weights, video, '--out-filename', tmp_path / name)
    # 2 clips of 16 frames, 3 crops that are one at this size.
    assert len(decord.VideoReader(str(tmp_path / 'cam.mp4'))) == 96
    assert (tmp_path / 'cam.gif').read_bytes().startswith(b'GIF89a')


def test_vis_cam_names_the_layer_that_is_not_there(toy, tmp_path, capfd):
    with pytest.raises(SystemExit) as exit_info:
        mm(
            *('vis_cam', toy.cfg, toy.weights, toy.root / 'videos/0.mp4'),
            *('--target-layer-name', 'backbone/blocks/7/norm1'),
        )
    assert exit_info.value.code == 2
    assert "has no 'backbone/blocks/7/norm1'" in capfd.readouterr().err


def test_grad_cam_knows_where_a_token_is(toy):
    """What only reads the tokens of one place looks at that place."""
    cam = TokenGradCAM(toy.model, 'backbone/blocks/0')
    t, h, w = toy.model.backbone.token_grid
    tokens = torch.zeros(1, 1 + t * h * w, 4)  # with a class token
    tokens[0, 1 + 2 * h * w + 1 * w + 3] = 1
    cam.target_activations = tokens
    (place,) = {tuple(i[2:].tolist()) for i in cam.target_activations.nonzero()}
    assert cam.target_activations.shape == (1, 4, t, h, w)
    assert place == (2, 1, 3)


def test_init_recognizer(toy):
    model = init_recognizer(str(toy.cfg), str(toy.weights), device='cpu')
    video = str(toy.root / 'videos/0.mp4')
    scores = inference_recognizer(model, video).pred_score
    (expected,) = predict(toy.model, toy.config, [video])
    assert scores.tolist() == pytest.approx(expected.scores.tolist(), rel=1e-4)


def test_names_and_packages_that_are_not_there(monkeypatch, capfd):
    monkeypatch.setattr(mm_tools, 'find_spec', lambda name: None)
    for name, text in (
        ('get_flop', "did you mean 'get_flops'?"),
        ('analyze_logs', 'pip install seaborn'),
    ):
        with pytest.raises(SystemExit) as exit_info:
            mm(name)
        assert exit_info.value.code == 2
        assert text in capfd.readouterr().err


@pytest.mark.slow
def test_help_is_that_of_the_tool():
    done = run_command(ROOT / 'tools/mm.py', 'confusion_matrix', '--help')
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('usage: confusion_matrix')


@pytest.mark.skipif(find_spec('seaborn') is None, reason='needs seaborn')
def test_analyze_logs(tmp_path, capsys, monkeypatch):
    log = tmp_path / 'scalars.json'
    lines = [dict(epoch=1 + i // 4, iter=i + 1, time=0.5, loss=1.0) for i in range(8)]
    log.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    mm('analyze_logs', 'cal_train_time', log)
    assert 'average iter time: 0.5000 s/iter' in capsys.readouterr().out
    figures = []
    monkeypatch.setattr('matplotlib.pyplot.plot', lambda *xy, **_: figures.append(xy))
    mm('analyze_logs', 'plot_curve', log, '--keys', 'loss', '--out', tmp_path / 'a.png')
    ((x, _),) = figures
    assert x.tolist() == [*range(1, 9)]
    assert (tmp_path / 'a.png').exists()
