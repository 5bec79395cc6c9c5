"""Tools parse their arguments before they import what takes seconds."""

from dataclasses import asdict

from projects import adamae_arguments
from projects.adamae.datasets import from_config
from projects.adamae.datasets.preparers.motion_videos import MotionSpec
from projects.adamae.datasets.preparers.transcode import TranscodeSpec
from projects.adamae.launch.distributed import LAUNCHER_VARIABLES
from tests.helpers import ROOT, load_tool, run_command

TOOLS = sorted(ROOT.glob('tools/[!_]*.py')) + sorted(ROOT.glob('tools/data/*.py'))
# Prints the help of all tools, where nothing that takes long can be imported.
HELP = """
import argparse, runpy, sys
printed = argparse.ArgumentParser.print_help
def print_help(self, file=None):
    options = [a for a in self._actions if a.option_strings]
    silent = [a.option_strings for a in options if not a.help]
    assert not silent, (self.prog, silent)
    printed(self, file)
argparse.ArgumentParser.print_help = print_help
for heavy in ('projects.adamae', 'mmaction', 'mmengine', 'numpy', 'torch'):
    sys.modules[heavy] = None
for tool in sys.argv[1:]:
    sys.argv = [tool, '--help']
    try:
        runpy.run_path(tool, run_name='__main__')
    except SystemExit as done:
        assert not done.code, tool
"""


def test_help_imports_nothing_that_takes_long(tmp_path):
    script = tmp_path / 'help.py'
    script.write_text(HELP)
    done = run_command(script, *TOOLS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('usage: ') == len(TOOLS) > 10


def test_light_arguments_have_the_values_of_what_they_stand_for():
    assert adamae_arguments.LAUNCHERS == ('none', *LAUNCHER_VARIABLES)
    assert adamae_arguments.SPLITS == from_config.SPLITS
    for name, arguments, spec in (
        ('make_motion_dataset', ['out'], MotionSpec()),
        ('data/transcode', ['source', 'target'], TranscodeSpec()),
    ):
        args = vars(load_tool(name).parse_args(arguments))
        derived = {'object_size', 'speed'}  # from the size
        expected = {k: v for k, v in asdict(spec).items() if k not in derived}
        assert {**args, **expected} == args
