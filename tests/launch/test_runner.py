"""What a run says before its first number."""

import pytest

from tests.helpers import run_tool

DECAY = {'optim_wrapper.optimizer.weight_decay': 0.05}
PARAMWISE = DECAY | {'optim_wrapper.paramwise_cfg.norm_decay_mult': 0.0}
LAYER_DECAY = DECAY | {
    'optim_wrapper.constructor': 'TokenLayerDecayOptimizerConstructor',
    'optim_wrapper.paramwise_cfg.num_layers': 1,
    'optim_wrapper.paramwise_cfg.decay_rate': 0.5,
}


@pytest.mark.parametrize(
    ('options', 'detail'),
    [(PARAMWISE, 'paramwise_options -- '), (LAYER_DECAY, 'Param groups = ')],
)
def test_details_go_to_the_log_file_only(toy, tmp_path, capsys, options, detail):
    run_tool('train', toy, '--no-validate', '--work-dir', tmp_path, **options)
    start, epoch, _ = capsys.readouterr().out.partition('Epoch(train)')
    (log,) = tmp_path.glob('*/*.log')
    assert epoch and start.count('\n') < 20
    for text in (
        f'config: {toy}',
        f'work folder: {tmp_path}',
        f'log: {log} ',
        'device: cpu, 1 process',
        'model: Recognizer3D, 0.0 M parameters',
        'batch size: 1\n',
    ):
        assert text in start
    # What decides on the result stays on the terminal.
    assert 'training in full precision' in start
    content = log.read_text()
    for text in ('System environment:', 'Config:\n', 'Hooks will be executed', detail):
        assert text in content and text not in start
    assert 'Epoch(train)' in content and f'log: {log} ' in content


def test_start_of_a_test_is_short(toy, tmp_path, capsys):
    options = dict(work_dir=tmp_path)
    run_tool('train', toy, '--no-validate', **options)
    capsys.readouterr()
    run_tool('test', toy, tmp_path / 'epoch_1.pth', **options)
    start, epoch, _ = capsys.readouterr().out.partition('Epoch(test)')
    assert epoch and start.count('\n') < 20
