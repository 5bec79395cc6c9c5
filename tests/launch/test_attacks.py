"""Checkpoints that carry code, by every way that loads one: none of it runs."""

import contextlib
import functools
import hashlib
import http.server
import os
import sys
import threading
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import mmaction
import mmengine.config.config as mmengine_config
import pytest
import torch
from mmaction.apis import init_recognizer
from mmaction.apis.inferencers import ActionRecogInferencer
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

from projects.adamae.engine.hooks.resumed_settings import relocate_checkpoints
from projects.adamae.utils.safe_loading import CheckpointMismatch
from tests.helpers import run_command, run_tool, tiny_model_cfg


class Attack:
    """Is pickled as a call that makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def code(path):
    return f'model = dict()\nopen({str(path)!r}, "w").close()\n'


@pytest.fixture(scope='module')
def trained(toy, tmp_path_factory):
    """What one epoch of the toy has saved."""
    work_dir = tmp_path_factory.mktemp('attacked') / 'run'
    run_tool('train', toy, '--work-dir', work_dir)
    return torch.load(work_dir / 'epoch_1.pth')


@pytest.fixture
def trace(tmp_path):
    return tmp_path / 'executed'


@pytest.fixture
def poisoned(trained, trace, tmp_path):
    """The checkpoint with code in every text that MMEngine knows."""
    texts = dict.fromkeys(('config', 'cfg', 'env_info', 'time', 'seed'), code(trace))
    info = {**trained['message_hub']['runtime_info'], 'cfg': code(trace)}
    hub = {**trained['message_hub'], 'runtime_info': info}
    path = tmp_path / 'poisoned.pth'
    meta = {**trained['meta'], **texts, 'seed': 3}
    torch.save({**trained, 'meta': meta, 'message_hub': hub}, path)
    return path


def resume(toy, path, **changes):
    cfg = Config.fromfile(toy)
    cfg.merge_from_dict(
        dict(work_dir=str(path.parent / 'run'), load_from=str(path), resume=True)
    )
    cfg.merge_from_dict(changes)
    cfg.optim_wrapper = dict(optimizer=cfg.optim_wrapper.optimizer)
    RUNNERS.build(cfg).train()


def flexible(toy, path):
    strategy = dict(type='SingleDeviceStrategy')
    resume(toy, path, runner_type='FlexibleRunner', strategy=strategy, env_cfg={})


def tool(name, *arguments, **options):
    return lambda toy, path: run_tool(
        name,
        toy,
        *(str(path) if argument == 'PATH' else argument for argument in arguments),
        '--work-dir',
        path.parent / 'run',
        **{key: str(path) for key in options},
    )


WAYS = dict(
    resume=resume,
    flexible=flexible,
    train=tool('train', '--resume', 'PATH'),
    load_from=tool('train', load_from='PATH'),
    test=tool('test', 'PATH'),
    mmaction=lambda toy, path: init_recognizer(str(toy), str(path), 'cpu'),
    inferencer=lambda toy, path: ActionRecogInferencer(None, str(path)),
)


@pytest.mark.parametrize('way', WAYS)
def test_texts_are_not_executed(toy, poisoned, trace, way):
    try:
        WAYS[way](toy, poisoned)
    except ValueError as error:
        assert way == 'inferencer' and 'expected NAME = VALUE' in str(error)
    else:
        assert way != 'inferencer'
    assert not trace.exists()


def fresh(module, monkeypatch):
    """A copy of a module, as its package has it."""
    name = f'{module.__package__}.fresh'
    spec = spec_from_file_location(name, module.__file__)
    copy = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, copy)
    spec.loader.exec_module(copy)
    return copy


@pytest.mark.parametrize('way', ['resume', 'flexible', 'inferencer'])
def test_mmengine_still_executes_texts(toy, poisoned, trace, way, monkeypatch):
    """Where it does not: drop both work-arounds."""
    original = CheckpointLoader.load_checkpoint.__func__.__wrapped__
    monkeypatch.setattr(CheckpointLoader, 'load_checkpoint', classmethod(original))
    config = fresh(mmengine_config, monkeypatch).Config
    monkeypatch.setattr(Config, 'fromstring', config.fromstring)
    with contextlib.suppress(Exception):
        WAYS[way](toy, poisoned)
    assert trace.exists()


@pytest.mark.slow
def test_tool_of_mmaction(toy, poisoned, trace):
    """Our package is imported by the config, before the checkpoint is read."""
    train = Path(mmaction.__file__).parent / '.mim/tools/train.py'
    config = poisoned.with_name('config.py')
    config.write_text(
        f'_base_ = [{str(toy)!r}]\noptim_wrapper = dict(\n'
        "    _delete_=True, optimizer=dict(type='AdamW', lr=1e-3))\n"
    )
    work_dir = poisoned.parent / 'run'
    result = run_command(train, config, '--resume', poisoned, '--work-dir', work_dir)
    assert 'resumed epoch: 1' in result.stdout, result.stderr
    assert not trace.exists()


@pytest.mark.parametrize(
    'text',
    [
        'import os',
        'a = open("x")',
        '_base_ = __file__',
        'a = [b for b in ()]',
        'a = "{}".format(1)',
        'a = dict(**{})',
        'a = dict((1,))',
        'a.b = 1',
        'a, b = 1, 2',
        'a += 1',
        'a = dict',
        'a = f"{1}"',
        '\0',
        'a = ' + '(' * 500,
        'filename = 1',
    ],
)
def test_config_texts_that_are_no_literals(text):
    with pytest.raises(ValueError, match=r'\A[^\n]+\Z'):
        Config.fromstring(text, '.py')


def test_config_texts(toy):
    cfg = Config.fromfile(toy)
    assert Config.fromstring(cfg.pretty_text, '.py').to_dict() == cfg.to_dict()
    text = 'a = dict(b=[-1e-3, (None, True)], c={"d": dict()})'
    cfg = Config.fromstring(text, '.py')
    assert cfg.a == dict(b=[-1e-3, (None, True)], c=dict(d=dict()))
    assert Config.fromstring('{"a": 1}', '.json').a == 1
    # Names that make MMEngine read or import something in a file are plain here.
    Config.fromstring('_base_ = "a.py"\ncustom_imports = dict(imports=["a"])', '.py')


@pytest.fixture
def malicious(tmp_path, trace):
    path = tmp_path / 'malicious-5c106cde.pth'
    torch.save({'state_dict': {}, 'x': Attack(trace)}, path)
    return path


@pytest.fixture
def web(tmp_path, monkeypatch):
    """The address of a server of this folder."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Handler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


def named_by_hash(path):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return path.rename(path.with_name(f'weights-{digest[:12]}.pth'))


def test_downloads(tmp_path, web, malicious, trace, monkeypatch):
    load = CheckpointLoader.load_checkpoint
    with pytest.raises(CheckpointMismatch, match='SHA-256 in its name, got another'):
        load(f'{web}/{malicious.name}')
    assert not list((tmp_path / 'cache').rglob('*.pth'))
    path = named_by_hash(malicious)
    with pytest.raises(CheckpointMismatch, match=r'rejected, it asks to run \w+.mkdir'):
        load(f'{web}/{path.name}')
    for name in ('plain.pth', 'epoch-20.pth', 'run-20260101.pth'):
        torch.save({'state_dict': {'a': torch.ones(1)}}, tmp_path / name)
        assert load(f'{web}/{name}')['state_dict']['a'] == 1
    torch.save({'a': 1}, tmp_path / 'x')
    assert load(f'{web}/{named_by_hash(tmp_path / "x").name}') == {'a': 1}
    assert not trace.exists()


def test_mmengine_still_unpickles_downloads(web, malicious, trace, monkeypatch):
    copy = fresh(mmengine_checkpoint, monkeypatch)
    copy.CheckpointLoader.load_checkpoint(f'{web}/{malicious.name}')
    assert trace.exists()


@pytest.mark.parametrize('is_fixed', [False, True])
def test_switch_of_the_environment(malicious, trace, monkeypatch, is_fixed):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    if is_fixed:
        with pytest.raises(CheckpointMismatch, match='rejected, it asks to run'):
            CheckpointLoader.load_checkpoint(str(malicious))
    else:
        copy = fresh(mmengine_checkpoint, monkeypatch)
        copy.CheckpointLoader.load_checkpoint(str(malicious))
    assert trace.exists() != is_fixed


@pytest.fixture
def masked(toy, tmp_path):
    """The toy with our encoder."""
    path = tmp_path / 'masked.py'
    path.write_text(
        f'_base_ = [{str(toy)!r}]\n'
        "model = dict(backbone=dict(type='MaskedVisionTransformer'))\n"
    )
    return path


def mae_config(path):
    config = path.with_name('mae.py')
    config.write_text(f'model = {tiny_model_cfg()!r}')
    return config


INIT = {'model.backbone.init_cfg.type': 'Pretrained'}
ONE_LINE = dict(
    resume=lambda cfg, path: run_tool('train', cfg, '--resume', path),
    load_from=lambda cfg, path: run_tool('train', cfg, load_from=path),
    init_cfg=lambda cfg, path: run_tool(
        'train', cfg, **INIT, **{'model.backbone.init_cfg.checkpoint': path}
    ),
    test=lambda cfg, path: run_tool('test', cfg, path),
    visualize=lambda cfg, path: run_tool('visualize', mae_config(path), path),
    extract=lambda cfg, path: run_tool('extract_features', cfg, path, 'out.npy'),
    knn=lambda cfg, path: run_tool('knn_eval', cfg, path),
    convert=lambda cfg, path: run_tool('convert_checkpoint', path, 'out.pth'),
)


@pytest.mark.parametrize('is_damaged', [False, True])
@pytest.mark.parametrize('way', ONE_LINE)
def test_tools_reject_in_one_line(
    masked, malicious, trace, way, is_damaged, monkeypatch, capsys
):
    monkeypatch.chdir(masked.parent)
    if is_damaged:
        os.truncate(malicious, 300)
    with pytest.raises(SystemExit) as info:
        ONE_LINE[way](masked, malicious)
    assert info.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and error.count('\n') == 1
    expected = 'damaged, a part' if is_damaged else 'rejected, it asks to run'
    assert f'{malicious}: {expected}' in error
    assert not trace.exists()


def test_missing_weights_of_a_backbone(masked, capsys):
    with pytest.raises(SystemExit):
        ONE_LINE['init_cfg'](masked, 'nowhere.pth')
    message = 'error: model.backbone.init_cfg: checkpoint not found: nowhere.pth\n'
    assert capsys.readouterr().err == message


@pytest.mark.parametrize('kind', ['VisionTransformer', 'MaskedVisionTransformer'])
def test_backbones_reject_in_one_line(toy, malicious, trace, kind):
    cfg = Config.fromfile(toy).model
    init_cfg = dict(type='Pretrained', checkpoint=str(malicious))
    cfg.backbone.update(type=kind, init_cfg=init_cfg)
    with pytest.raises(CheckpointMismatch, match=r'\A.*rejected, it asks to run .*\Z'):
        MODELS.build(cfg).init_weights()
    assert not trace.exists()


@pytest.mark.parametrize(
    ('part', 'key', 'value'),
    [
        ('meta', 'epoch', None),
        ('meta', 'iter', '1'),
        ('message_hub', 'runtime_info', [1]),
        ('message_hub', 'resumed_keys', {1: True}),
    ],
)
def test_state_that_cannot_be_resumed(toy, trained, tmp_path, capsys, part, key, value):
    path = tmp_path / 'a.pth'
    torch.save({**trained, part: {**trained[part], key: value}}, path)
    with pytest.raises(SystemExit):
        WAYS['train'](toy, path)
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f'error: {path}: expected the state of a training run')


@pytest.mark.parametrize('name', ['..', '', '.', 'epoch_1.pth', 'config.py', '../x'])
def test_files_that_a_checkpoint_names_are_not_removed(tmp_path, name):
    """MMEngine removes the best checkpoint so far, and it may be a folder."""
    path = str(tmp_path / name)
    info = dict(best_ckpt=path, keep_ckpt_ids=['/../../x', 1, 1.5, None, True])
    runner = SimpleNamespace(work_dir=str(tmp_path), hooks=[])
    relocate_checkpoints(runner, dict(message_hub=dict(runtime_info=info)))
    assert info == dict(best_ckpt=None, keep_ckpt_ids=[1])
