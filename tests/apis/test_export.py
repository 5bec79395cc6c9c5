"""Files of tools/export.py, run by what they are for and compared with our own."""

import json
import math
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config

from projects.adamae.apis import export
from projects.adamae.apis.inferencer import AdaMAEInferencer
from tests.apis.conftest import NAMES
from tests.helpers import ROOT, run_command, run_tool, tiny_spatiotemporal_cfg

needs_onnx = pytest.mark.skipif(
    any(export.find_spec(name) is None for name in export._ONNX_PACKAGES),
    reason='needs requirements/export.txt',
)
# Each kind of file and each kind of model once by default.
SUFFIXES = [
    pytest.param('.onnx', marks=needs_onnx),
    pytest.param('.pt2', marks=pytest.mark.slow),
]
OTHER_SUFFIXES = [
    pytest.param('.onnx', marks=[needs_onnx, pytest.mark.slow]),
    '.pt2',
]


def load(path):
    """What a program without this project has: a function of arrays, and metadata."""
    if path.suffix == '.onnx':
        onnxruntime = pytest.importorskip('onnxruntime')
        session = onnxruntime.InferenceSession(path)
        info = session.get_modelmeta().custom_metadata_map
        return lambda clips: session.run(None, {'clips': clips})[0], info
    extra = {export.METADATA: ''}
    program = torch.export.load(path, extra_files=extra)
    run = program.module()
    info = json.loads(extra[export.METADATA])
    return lambda clips: run(torch.from_numpy(clips)).detach().numpy(), info


def views(toy, name):
    """Two videos as the pipeline packs them, and what the inferencer says of them."""
    inferencer = AdaMAEInferencer(
        str(toy.root / f'{name}.py'), toy.root / f'{name}.pth', show_progress=False
    )
    (batch,) = inferencer.preprocess(toy.videos[:2], batch_size=2)
    clips = [packed['inputs'].numpy() for _, packed in batch]
    found = inferencer(toy.videos[:2], batch_size=2, features=True)['predictions']
    return clips, found


def softmax(scores):
    shares = np.exp(scores - scores.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_a_classifier_says_what_a_test_says(toy, tmp_path, suffix, capsys):
    out = tmp_path / f'new/model{suffix}'
    config, checkpoint = toy.root / 'classifier.py', toy.root / 'classifier.pth'
    run_tool(
        *('export', config, checkpoint, '--uint8', '--out', out),
        *('--video', *toy.videos[:2]),
    )
    run, info = load(out)
    clips, found = views(toy, 'classifier')
    for views_of_video, prediction in zip(clips, found, strict=True):
        assert len(views_of_video) == 2  # of one video, of any number
        mean = softmax(run(views_of_video)).mean(0)
        assert mean == pytest.approx(prediction['probabilities'], rel=1e-4)
    assert run(np.concatenate([*clips, clips[0][:1]])).shape == (5, 3)
    assert json.loads(info['classes']) == NAMES
    assert info['average_clips'] == 'prob'
    assert float(info['largest_difference']) <= export.TOLERANCE
    assert info['compared_on'] == '4 random and 2 real clips'
    assert info['clips'].startswith('(batch, 3, 8, 16, 16)')
    assert json.loads(info['pipeline'])[1]['clip_len'] == 8
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    assert str(out) in capsys.readouterr().out
    # The page's program for this kind of file, where nothing of ours is found.
    blocks = re.findall(
        r'```python\n(.+?)```', (ROOT / 'docs/export.md').read_text(), re.S
    )
    (code,) = (block for block in blocks if out.name in block)
    np.save(out.parent / 'clips.npy', clips[0])
    done = run_command(sys.executable, '-c', code, cwd=out.parent, PYTHONPATH='')
    assert done.stdout.strip() == NAMES[np.argmax(found[0]['probabilities'])]


@pytest.mark.parametrize('suffix', OTHER_SUFFIXES)
def test_features_of_a_pretrained_encoder(toy, tmp_path, suffix):
    out = tmp_path / f'model{suffix}'
    run_tool('export', toy.root / 'masked.py', toy.root / 'masked.pth', '--out', out)
    run, info = load(out)
    mean, std = (
        np.reshape(json.loads(info[key]), (3, 1, 1, 1)) for key in ('mean', 'std')
    )
    for clips, prediction in zip(*views(toy, 'masked'), strict=True):
        (features,) = run(((clips - mean) / std).astype(np.float32))
        assert features == pytest.approx(prediction['features'], rel=1e-3, abs=1e-5)
    assert info['features'] == '(batch, 16), float32'
    assert 'classes' not in info


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['separable', 'probe'])
def test_other_models(toy, tmp_path, kind):
    cfg = Config.fromfile(toy.root / 'classifier.py')
    if kind == 'separable':
        part = tiny_spatiotemporal_cfg()['backbone']
        cfg.model.backbone = Config(dict(part, use_mean_pooling=True))._cfg_dict
    else:
        cfg.model.backbone.type = 'FrozenVisionTransformer'
        cfg.model.cls_head.type = 'LinearProbeHead'
        cfg.model.data_preprocessor.to_rgb = True
    torch.manual_seed(0)
    model = build(cfg)
    clips = torch.randint(256, (2, 3, 8, 16, 16), dtype=torch.uint8)
    out = tmp_path / 'model.pt2'
    assert export.export(model, out, clips, uint8=True) <= export.TOLERANCE
    run, _ = load(out)
    with torch.no_grad():
        data = model.data_preprocessor(
            dict(inputs=[*clips[:, None]], data_samples=None)
        )
        expected = model(data['inputs'], mode='tensor', stage='head')
    assert run(clips.numpy()) == pytest.approx(expected.numpy(), rel=1e-3, abs=1e-5)


def build(cfg):
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model.eval()


def fails(capfd, *arguments, **options):
    with pytest.raises(SystemExit) as exit_info:
        run_tool('export', *arguments, **options)
    assert exit_info.value.code == 2
    (line,) = [
        line for line in capfd.readouterr().err.splitlines() if 'error: ' in line
    ]
    return line


@pytest.mark.parametrize('value', [0.5, math.nan])
def test_a_file_that_computes_something_else_is_not_written(
    toy, tmp_path, monkeypatch, capfd, value
):
    monkeypatch.setattr(export, 'to_program', lambda module: module)
    monkeypatch.setattr(
        export, 'run_program', lambda module: lambda clips: module(clips) + value
    )
    out = tmp_path / 'model.pt2'
    line = fails(
        capfd, toy.root / 'classifier.py', toy.root / 'classifier.pth',
        *('--out', out, '--video', toy.videos[0]),
    )  # fmt: skip
    assert 'not written' in line and 'expected at most 1e-04' in line
    assert not any(tmp_path.iterdir())


def test_mistakes(toy, tmp_path, monkeypatch, capfd):
    model = toy.root / 'classifier.py', toy.root / 'classifier.pth'
    line = fails(capfd, *model, '--out', tmp_path / 'model.pth')
    assert 'ends in .onnx or .pt2' in line
    there = tmp_path / 'there.pt2'
    there.write_text('mine')
    assert 'is there already' in fails(capfd, *model, '--out', there)
    assert there.read_text() == 'mine'
    out = tmp_path / 'model.pt2'
    # The classifier has test videos only.
    line = fails(capfd, *model, '--out', out)
    assert 'name one or more with --video' in line
    line = fails(capfd, *model, '--out', out, '--video', tmp_path / 'none.mp4')
    assert 'none.mp4' in line and 'name others with --video' in line
    headless = Config.fromfile(model[0])
    del headless.model['cls_head']
    headless.dump(tmp_path / 'headless.py')
    line = fails(
        capfd, tmp_path / 'headless.py', model[1],
        *('--out', out, '--video', toy.videos[0]),
    )  # fmt: skip
    assert 'does not fit the Recognizer3D' in line
    monkeypatch.setattr(export, 'find_spec', lambda name: None)
    line = fails(capfd, *model, '--out', tmp_path / 'model.onnx')
    assert 'pip install onnx onnxruntime onnxscript' in line
    assert not out.exists() and not (tmp_path / 'model.onnx').exists()


def test_weights_that_a_file_of_onnx_cannot_hold():
    weights = torch.empty(2**30, dtype=torch.float16, device='meta')
    program = SimpleNamespace(state_dict={'a': weights})
    with pytest.raises(ValueError, match=r'less than 2 GiB.*name a \.pt2 file'):
        export.to_onnx(program, 'scores')


def test_models_that_are_something_else(toy):
    cfg = Config.fromfile(toy.root / 'classifier.py')
    del cfg.model['cls_head']
    with pytest.raises(ValueError, match='expected a Recognizer3D with a cls_head'):
        export.ClipModel(MODELS.build(cfg.model))
