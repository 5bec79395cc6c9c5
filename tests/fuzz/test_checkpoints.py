"""Files and contents of checkpoints: they are read, or rejected in one line."""

import json
import pickle
import struct
import zipfile
from argparse import Namespace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from safetensors.torch import save

from projects.adamae.checkpoints import adapt_checkpoint
from projects.adamae.checkpoints.convert import read_checkpoint
from projects.adamae.checkpoints.io import check_loadable, stated_arch
from projects.adamae.engine.hooks.resumed_settings import relocate_checkpoints
from projects.adamae.launch.resuming import find_newest_checkpoint
from tests.fuzz import documented, fuzz
from tests.helpers import tiny_model_cfg

MODEL = MODELS.build(tiny_model_cfg(backbone=dict(depth=1)))
WEIGHTS = {name: tensor.clone() for name, tensor in MODEL.state_dict().items()}
META = dict(epoch=1, iter=4, time='20260101_120000', seed=1, cfg='model = dict()')
HUB = dict(
    log_scalars={'train/loss': HistoryBuffer([0.5], [1])},
    runtime_info=dict(epoch=1, best_ckpt='/a/best_1.pth', keep_ckpt_ids=[1]),
    resumed_keys={'train/loss': True},
)
STATE = dict(meta=META, state_dict=WEIGHTS, message_hub=HUB, optimizer=dict(state={}))


def saved(content, zipped=True, **kwargs):
    buffer = BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped, **kwargs)
    return buffer.getvalue()


SMALL = {'a.weight': torch.arange(6.0).view(2, 3), 'b': torch.ones(1).bfloat16()}
SEEDS = [
    saved({**STATE, 'state_dict': SMALL}),
    saved({**STATE, 'state_dict': SMALL}, zipped=False),
    saved(dict(model=SMALL, args=Namespace(lr=1.0))),
    saved(STATE),
    save(SMALL, {'cfg': 'model = dict()'}),
]
mutation = st.tuples(
    st.integers(0, 1 << 20), st.sampled_from(['set', 'cut', 'add', 'copy', 'drop']),
    st.binary(min_size=1, max_size=6),
)  # fmt: skip


def mutate(content, mutations):
    content = bytearray(content)
    for place, kind, new in mutations:
        place %= len(content) + 1
        if kind == 'set':
            content[place : place + len(new)] = new
        elif kind == 'cut':
            del content[place:]
        elif kind == 'add':
            content[place:place] = new
        elif kind == 'copy':
            content[place:place] = content[place : place + 99]
        else:
            del content[place : place + len(new)]
    return bytes(content)


def in_zip(content, mutations):
    """Mutate the pickle of a file, with a right checksum."""
    buffer = BytesIO()
    with (
        zipfile.ZipFile(BytesIO(content)) as old,
        zipfile.ZipFile(buffer, 'w', zipfile.ZIP_STORED) as new,
    ):
        for name in old.namelist():
            part = old.read(name)
            new.writestr(name, mutate(part, mutations) if 'data.pkl' in name else part)
    return buffer.getvalue()


ATTACKS = [
    ('os', 'mkdir'),
    ('posix', 'system'),
    ('builtins', 'eval'),
    ('torch', 'load'),
]
ATTACKS += [('builtins', 'getattr'), ('numpy', 'fromfile'), ('builtins', '__import__')]
ATTACKS += [('torch.hub', 'load'), ('operator', 'attrgetter'), ('subprocess', 'Popen')]
ATTACKS += [('numpy._core.multiarray', '_reconstruct'), ('numpy', 'dtype')]
ATTACKS += [('torch._utils', '_rebuild_tensor_v2'), ('collections', 'OrderedDict')]
ATTACKS += [('mmengine.logging.history_buffer', 'HistoryBuffer'), ('torch', 'Tensor')]
ATTACKS += [('numpy._core.multiarray', 'scalar'), ('argparse', 'Namespace')]
argument = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 1 << 40) | st.text(max_size=5)
    | st.binary(max_size=5) | st.sampled_from(['O', 'V8', 'f4,O', 'M8[s]', 'os']),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=5,
)  # fmt: skip


def attack(name, arguments, state):
    """A pickle that calls a function, and may set the state of what it gives."""
    module, function = name
    body = pickle.dumps(tuple(arguments), protocol=2)[2:-1]
    call = b'\x80\x02c' + f'{module}\n{function}\n'.encode() + body + b'R'
    build = b'' if state is None else pickle.dumps(state, protocol=2)[2:-1] + b'b'
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_STORED) as file:
        file.writestr('a/data.pkl', call + build + b'.')
        file.writestr('a/version', b'3\n')
        file.writestr('a/byteorder', b'little')
    return buffer.getvalue()


attacks = st.builds(
    attack,
    st.sampled_from(ATTACKS),
    st.lists(argument, max_size=4),
    argument,
)
content = st.one_of(
    st.builds(mutate, st.sampled_from(SEEDS), st.lists(mutation, max_size=4)),
    st.builds(in_zip, st.just(SEEDS[0]), st.lists(mutation, min_size=1, max_size=2)),
    attacks,
    st.binary(max_size=80),
)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('checkpoints')


@fuzz
@given(content)
@example(attack(('os', 'mkdir'), ['x'], None))
@example(attack(('numpy', 'dtype'), ['O'], None))
@example(SEEDS[0][:300])
@example(b'')
def test_files(folder, content):
    path = folder / 'epoch_1.pth'
    path.write_bytes(content)
    with documented():
        check_loadable(path)
    with documented():
        read_checkpoint(path)
    with documented():
        CheckpointLoader.load_checkpoint(str(path), 'cpu', logger='silent')
    with documented():
        find_newest_checkpoint(Config(dict(work_dir=str(folder))))


header = st.dictionaries(
    st.sampled_from(['a.weight', 'b', '__metadata__', '', '\n']),
    st.dictionaries(
        st.sampled_from(['dtype', 'shape', 'data_offsets', 'cfg']),
        st.sampled_from(['F32', 'BF16', 'F8_E4M3', 'I64', 'x'])
        | st.lists(st.integers(-1, 1 << 62) | st.sampled_from([0, 4, 24]), max_size=3),
    ),
    max_size=3,
)


@fuzz
@given(
    st.one_of(
        st.builds(mutate, st.just(SEEDS[-1]), st.lists(mutation, max_size=3)),
        st.tuples(header, st.binary(max_size=30)).map(
            lambda p: (
                struct.pack('<Q', len(json.dumps(p[0])))
                + json.dumps(p[0]).encode()
                + p[1]
            )
        ),
    )
)
@example(
    b'=\0\0\0\0\0\0\0{"\\n": {"shape": [], "dtype": "F32", "data_offsets": [1, 0]}}'
)
def test_safetensors(folder, content):
    path = folder / 'a.safetensors'
    path.write_bytes(content)
    with documented():
        read_checkpoint(path)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
    | st.sampled_from([torch.ones(2), torch.tensor(1), '../../x', '{0.__class__}']),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
PARTS = ['meta', 'state_dict', 'message_hub', 'optimizer', 'param_schedulers', 'model']
PARTS += ['args', 'config.json', 'module']
META_KEYS = ['epoch', 'iter', 'time', 'seed', 'cfg', 'config']
tensors = st.sampled_from(
    [torch.ones(2), torch.zeros(1, 4, 2), torch.zeros(0), torch.tensor(float('nan'))]
    + [torch.ones(16, 3, 2, 8, 8), torch.ones(2, 2).to_sparse(), torch.ones(2) * 1j]
    + [torch.ones(2, dtype=torch.bool), torch.empty(3, device='meta')]
)
names = st.sampled_from(
    [*WEIGHTS, 'module.a', 'encoder.norm.weight', 'a\nb', '\x1b[2J']
)
holders = st.dictionaries(names, tensors | st.none(), max_size=4)


INFO = ['best_ckpt', 'best_ckpt_acc/top1', 'last_ckpt', 'keep_ckpt_ids', 'epoch']
PATHS = [
    '/',
    '.',
    '..',
    'best_/..',
    'a/best_1.pth',
    '/etc/passwd',
    'best_\0',
    'best_..',
]


@st.composite
def states(draw):
    """The content of a checkpoint with some of it replaced."""
    state = {**STATE}
    for part in draw(st.lists(st.sampled_from(PARTS), max_size=3, unique=True)):
        old = state.get(part)
        value = draw(plain | holders)
        if isinstance(old, dict) and draw(st.booleans()):
            keys = st.sampled_from([*map(str, old), *META_KEYS])
            changes = draw(st.dictionaries(keys, plain | tensors, max_size=3))
            value = {**old, **changes}
        state[part] = value
    for part in draw(st.lists(st.sampled_from(PARTS[:4]), max_size=2, unique=True)):
        state.pop(part, None)
    return state


@fuzz
@given(states(), st.sampled_from(['train', 'test', 'resume']))
def test_contents(folder, state, purpose):
    with documented():
        adapt_checkpoint({**state}, MODEL, purpose)
    with documented():
        stated_arch(state)
    try:
        content = saved(state)
    except (RuntimeError, NotImplementedError):
        return
    path = folder / 'epoch_1.pth'
    path.write_bytes(content)
    with documented():
        read_checkpoint(path)
    with documented():
        find_newest_checkpoint(Config(dict(work_dir=str(folder))))


@fuzz
@given(st.dictionaries(st.sampled_from(INFO), plain | st.sampled_from(PATHS)))
@example(dict(best_ckpt='/'))
@example(dict(best_ckpt='x/..'))
@example(dict(keep_ckpt_ids=['/../x']))
def test_files_that_a_run_removes(folder, info):
    runner = SimpleNamespace(work_dir=str(folder), hooks=[])
    relocate_checkpoints(runner, dict(message_hub=dict(runtime_info=info)))
    for key, value in info.items():
        if key == 'keep_ckpt_ids':
            assert isinstance(value, list) and {type(n) for n in value} <= {int}
        elif key.startswith('best_ckpt') and value is not None:
            path = Path(value)
            assert path.parent == folder and path.name.startswith('best_')


@fuzz
@given(plain, st.sampled_from(['videomae', 'bert', None, 3]))
def test_folders_of_transformers(folder, config, kind):
    folder = folder / 'transformers'
    folder.mkdir(exist_ok=True)
    if isinstance(config, dict):
        config['model_type'] = kind
    text = json.dumps(config, default=str)
    (folder / 'config.json').write_text(text)
    (folder / 'model.safetensors').write_bytes(save(WEIGHTS))
    with documented():
        read_checkpoint(folder)
