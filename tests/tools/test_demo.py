"""The demo, end to end, at a size that shows only that it runs."""

import pytest

from tests.helpers import ROOT, load_tool, run_command


@pytest.mark.slow
def test_demo_runs_and_reuses_what_is_there(tmp_path):
    options = [f'--data={tmp_path / "data"}', f'--out={tmp_path / "out"}']
    options += ['--num-train=64', '--num-val=25']
    options += ['--pretrain-epochs=3', '--finetune-epochs=2']
    for expected in ('wrote 89 of 89 videos', 'already there'):
        done = run_command(ROOT / 'tools/demo.py', *options, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        assert expected in done.stdout
        assert 'top-1' in done.stdout and '(chance: 12.5%' in done.stdout
    assert len([*(tmp_path / 'out/pictures').glob('*.png')]) == 4


def test_a_step_that_fails(tmp_path, capsys):
    tool = tmp_path / 'tool.py'
    tool.write_text('print("why"); raise SystemExit(3)')
    with pytest.raises(RuntimeError, match='step 1 of 5: videos failed .* code 3'):
        load_tool('demo').run('1 of 5: videos', str(tool))
    assert 'why' in capsys.readouterr().out


def test_quick_changes_what_is_not_given():
    parse = load_tool('demo').parse_args
    args = parse(['--quick', '--out', 'here', '--num-val', '8'])
    assert (args.num_train, args.num_val, str(args.out)) == (64, 8, 'here')
    assert parse([]).num_train == 1600 and parse([]).data != args.data
