"""Benchmarks of the documentation that have no other test, at toy size."""

import pytest

from tests.helpers import CONFIGS, run_tool

DEMO = '--config', CONFIGS / 'demo/motion_pretrain.py'
TINY = {'model.backbone.depth': 1, 'model.decoder.depth': 1}


def test_hook_share(capsys):
    with pytest.raises(SystemExit):
        run_tool('benchmarks/hook_share', *DEMO, '--iterations', 2)
    assert 'expected a whole number from 3' in capsys.readouterr().err
    run_tool('benchmarks/hook_share', *DEMO, '--iterations', 3, **TINY)
    assert "all but MMEngine's" in capsys.readouterr().out


def test_checkpoint_pause(tmp_path, capsys):
    sizes = '--rounds', 1, '--folder', tmp_path
    run_tool('benchmarks/checkpoint_pause', *DEMO, *sizes, **TINY)
    assert 'pause, ours:' in capsys.readouterr().out


@pytest.mark.slow
def test_loader_soak(capsys):
    sizes = '--minutes', 0.05, '--warm-up', 0.02, '--videos', 6, '--workers', 1
    run_tool('benchmarks/loader_soak', *sizes)
    assert 'clips in' in capsys.readouterr().out


@pytest.mark.slow
def test_file_kinds(capsys):
    run_tool('benchmarks/file_kinds', '--rounds', 1)
    assert 'hung' not in capsys.readouterr().out
