"""What the command line changes in a config."""

import os

import pytest
import torch
from mmengine.config import Config

from projects.adamae import launch
from tests.helpers import load_tool


def train_arguments(*argv):
    return load_tool('train').parse_args([str(arg) for arg in argv or ['toy.py']])


def load(toy, *argv):
    return launch.load_config(train_arguments(toy, *argv))


def applied(*argv, **keys):
    """A config that has what training needs, and ``keys``, after train's arguments."""
    keys = {'work_dir': 'nowhere', **{key: {} for key in launch.TRAINING_KEYS}, **keys}
    cfg = Config(keys)
    launch.apply_train_arguments(cfg, train_arguments('toy.py', *argv))
    return cfg


def test_options_are_applied(toy):
    options = ['train_dataloader.batch_size=7', 'pipeline.1.clip_len=8']
    cfg = load(toy, '--cfg-options', *options)
    assert cfg.train_dataloader.batch_size == 7
    assert cfg.pipeline[1].clip_len == 8
    assert cfg.work_dir == os.path.join('work_dirs', 'toy')
    assert cfg.launcher == 'none'
    from_config = ['--cfg-options', 'work_dir=from_config']
    assert load(toy, *from_config).work_dir == 'from_config'
    assert load(toy, '--work-dir=given', *from_config).work_dir == 'given'


def test_unknown_option_is_warned_of(toy, warned):
    options = ['train_dataloader.batchsize=7', 'model.backbone.depth=2']
    load(toy, '--cfg-options', *options)
    (message,) = warned
    assert 'train_dataloader.batchsize is not in the config' in message
    assert "did you mean 'batch_size'?" in message


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('pipeline.9.type=1', '--cfg-options: Index 9 exceeds the length'),
        ('model.type.x=1', "--cfg-options: type={'x': 1} in child config"),
    ],
)
def test_option_that_does_not_fit_the_config(toy, option, message):
    with pytest.raises(ValueError, match=message):
        load(toy, '--cfg-options', option)


@pytest.mark.parametrize(
    ('randomness', 'argv', 'expected'),
    [
        (None, [], dict(seed=None)),
        (None, ['--seed=1', '--deterministic'], dict(seed=1, deterministic=True)),
        (dict(diff_rank_seed=True), [], dict(seed=None, diff_rank_seed=True)),
        (dict(seed=3, x=1), ['--seed=0'], dict(seed=0, x=1)),
        (dict(seed=3), ['--diff-rank-seed'], dict(seed=3, diff_rank_seed=True)),
    ],
)
def test_randomness_joins_config_and_arguments(randomness, argv, expected):
    assert applied(*argv, randomness=randomness).randomness == expected


def test_no_validate():
    cfg = applied('--no-validate', val_cfg={}, val_dataloader={}, val_evaluator={})
    assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None


def test_resume(tmp_path):
    newest, older = str(tmp_path / 'epoch_2.pth'), str(tmp_path / 'older.pth')
    torch.save({}, older)
    work_dir = str(tmp_path)
    # --resume alone: the newest checkpoint, and until there is one `load_from`.
    cfg = applied('--resume', work_dir=work_dir, load_from=older)
    assert not cfg.resume and cfg.load_from == older
    state = dict(meta=dict(epoch=2, iter=2), message_hub={}, optimizer={})
    torch.save(state, newest)
    cfg = applied(f'--resume={older}', work_dir=work_dir)
    assert cfg.resume and cfg.load_from == older
    for keys in (dict(argv=['--resume'], load_from=older), dict(argv=[], resume=True)):
        cfg = applied(*keys.pop('argv'), work_dir=work_dir, **keys)
        assert cfg.resume and cfg.load_from == newest
    with pytest.raises(ValueError, match='without checkpoints .*, got epoch_2.pth; go'):
        applied(work_dir=work_dir, load_from=older)
    assert not applied('--overwrite', work_dir=work_dir).get('resume')


def test_auto_scale_lr_needs_a_base_batch_size():
    message = r'expected auto_scale_lr=dict\(base_batch_size'
    with pytest.raises(ValueError, match=message):
        applied('--auto-scale-lr')


def test_amp_changes_the_optimizer_wrapper():
    cfg = applied('--amp', optim_wrapper=dict(clip_grad=1))
    assert cfg.optim_wrapper == dict(type='AmpOptimWrapper', clip_grad=1)
    with pytest.raises(ValueError, match='got ApexOptimWrapper; drop --amp'):
        applied('--amp', optim_wrapper=dict(type='ApexOptimWrapper'))


def test_dump_is_added_to_the_evaluators(tmp_path):
    checkpoint = str(tmp_path / 'weights.pth')
    torch.save({}, checkpoint)

    def evaluators(evaluator, dump='out.pkl', **keys):
        test = dict(test_dataloader={}, test_cfg={}, test_evaluator=evaluator)
        cfg = Config(dict(model={}, **test) | keys)
        args = load_tool('test').parse_args(['toy.py', checkpoint, '--dump', dump])
        launch.apply_test_arguments(cfg, args)
        assert cfg.load_from == checkpoint and not cfg.resume
        return cfg.test_evaluator

    a, b = dict(type='A'), dict(type='B')
    dump = dict(type='DumpResults', out_file_path='out.pkl')
    assert evaluators(a) == [a, dump]
    assert evaluators([a, b]) == [a, b, dump]
    with pytest.raises(ValueError, match='expected a .pkl file, got out.json'):
        evaluators(a, dump='out.json')
    with pytest.raises(ValueError, match='got no model, test_dataloader'):
        evaluators(a, model=None, test_dataloader=None)
