"""Overrides of a config on the command line, and the texts of configs."""

import contextlib
import copy
import io
from argparse import ArgumentParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mmengine.config import Config

from projects.adamae import launch
from projects.adamae.checkpoints.architecture import arch_from_config
from projects.adamae.checkpoints.convert import parse_overrides
from projects.adamae_arguments import add_common_arguments
from tests.fuzz import documented, fuzz

CONFIG = """
model = dict(
    type='MAERecognizer', backbone=dict(img_size=224, depth=12, num_frames=16),
    data_preprocessor=dict(mean=[1.0, 2.0, 3.0]), cls_head=None)
pipeline = [
    dict(type='PyAVSkipInit'), dict(type='SampleFrames', clip_len=16),
    dict(type='Resize', scale=(-1, 256)), dict(type='CenterCrop', crop_size=224)]
train_dataloader = dict(
    batch_size=32, num_workers=8, persistent_workers=True,
    dataset=dict(ann_file='a.txt', data_prefix=dict(video='a'), pipeline=pipeline))
val_dataloader = test_dataloader = None
test_evaluator = dict(type='AccMetric')
train_cfg = dict(max_epochs=800)
param_scheduler = [dict(type='LinearLR', end=40), dict(type='CosineAnnealingLR')]
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.95)))
custom_hooks = [dict(type='KnnHook', val_dataset=dict(pipeline=pipeline))]
load_from = None
"""
KEYS = ['model', 'model.backbone.img_size', 'model.backbone.depth', 'model.type']
KEYS += ['train_dataloader.batch_size', 'train_dataloader.dataset.ann_file', 'work_dir']
KEYS += ['train_dataloader.dataset.pipeline.1.clip_len', 'param_scheduler.0.end']
KEYS += ['train_dataloader.dataset.pipeline', 'custom_hooks.0.type', 'load_from']
KEYS += ['optim_wrapper.optimizer.lr', 'optim_wrapper.optimizer.betas', 'train_cfg']
KEYS += ['train_dataloader', 'val_dataloader', 'test_dataloader', 'custom_hooks']
KEYS += [
    '_base_',
    '_delete_',
    'a..b',
    '.',
    '0',
    'model.0',
    'param_scheduler.9',
    '__x__',
]
KEYS += ['filename', 'model.data_preprocessor', 'test_evaluator', 'model.cls_head']
VALUES = ['1', '0', '-1', '1e400', 'nan', 'None', 'True', 'false', '[]', '()', '[1,2]']
VALUES += [
    '(1,(2,3),[4])',
    '[',
    ')(',
    ',',
    '"',
    "''",
    "'a'",
    '"a,b"',
    '{}',
    'dict(a=1)',
]
VALUES += [
    '__import__("os").system("x")',
    '~',
    '~nobody/x',
    '$HOME',
    '{{x}}',
    '\0',
    '%s',
]
VALUES += [
    '9' * 5000,
    '1e5',
    '0x10',
    '1_000',
    '\u0663',
    '[' * 50 + ']' * 50,
    '/dev/null',
]
letters = st.characters(codec='utf-8', categories=['L', 'N', 'P', 'S'])
key = st.sampled_from(KEYS) | st.text(letters, max_size=8)
value = st.sampled_from(VALUES) | st.text('[](),\'"1a. -_{}=*', max_size=12)
option = st.tuples(key, st.sampled_from(['=', '=', '=', '', '==']), value).map(''.join)


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp('options') / 'config.py'
    path.write_text(CONFIG)
    config = Config.fromfile(path)
    with pytest.MonkeyPatch.context() as patch:  # it is slow
        patch.setattr(Config, 'fromfile', lambda _: copy.deepcopy(config))
        yield str(path)


@fuzz
@given(st.lists(option, min_size=1, max_size=3))
@example(['model=1'])
@example(['val_dataloader=1'])
@example(['param_scheduler=3'])
@example(['model.cls_head=x'])
def test_overrides(config, options):
    parser = ArgumentParser()
    parser.add_argument('config')
    add_common_arguments(parser)
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            args = parser.parse_args([config, '--cfg-options', *options])
        except SystemExit as end:
            assert end.code == 2
            return
    with documented():
        launch.load_config(args)


@fuzz
@given(st.lists(option, max_size=3))
def test_overrides_of_the_converter(options):
    with documented():
        parse_overrides(options)


code = st.recursive(
    st.sampled_from(
        ['1', '-1', '1e999', 'None', 'x', '"a"', 'b"a"', '__file__', '...']
    ),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(['dict', 'open', 'eval', 'a.b']), inner).map(
            lambda p: f'{p[0]}({p[1]})'
        ),
        inner.map(lambda x: f'dict(backbone={x}, type={x})'),
        st.lists(inner, max_size=3).map(lambda x: f'[{", ".join(x)}]'),
        st.lists(inner, max_size=3).map(lambda x: f'({", ".join(x)})'),
        st.tuples(inner, inner).map(lambda p: f'{{{p[0]}: {p[1]}}}'),
        inner.map(lambda x: f'(lambda: {x})()'),
        inner.map(lambda x: f'[{x} for y in {x}]'),
        inner.map(lambda x: f'f"{{{x}}}"'),
        st.tuples(inner, inner).map(' + '.join),
    ),
    max_leaves=8,
)
line = st.tuples(
    st.sampled_from(['model = ', 'a = ', '_base_ = ', 'import ', 'a.b = ', '@', '']),
    code,
).map(''.join)
config_text = st.lists(line, max_size=4).map('\n'.join) | st.text(max_size=30)


@fuzz
@given(config_text)
@example('model = ' + '(' * 500)
@example('a = ' + '-' * 5000 + '1')
@example('\0')
@example('model = dict(backbone=[{}: 1])')
@example('a = {[]: 1}')
def test_texts_of_configs(text):
    with documented():
        arch_from_config(text)
    # A temporary file is what MMEngine makes of the text of a config that it logs.
    with documented('os.remove', 'tempfile.mkstemp'):
        Config.fromstring(text, '.py')
