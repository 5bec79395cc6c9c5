"""What the code never does, and folders that nothing is written out of."""

import ast
import re
from pathlib import Path

import pytest

from projects.adamae.datasets.preparers.transcode import (
    TargetError,
    TranscodeSpec,
    transcode_folder,
)
from tests.helpers import ROOT, run_command, write_videos

SOURCES = sorted([*ROOT.glob('projects/**/*.py'), *ROOT.glob('tools/**/*.py')])
# Function, and what makes a call of it safe.
FORBIDDEN = {
    r'(builtins\.)?(eval|exec|compile|__import__)': None,
    r'os\.(system|popen)': None,
    r'subprocess\.get(status)?output': None,
    r'(pickle|cPickle|dill|joblib|marshal|shelve)\.(loads?|open|Unpickler)': None,
    r'yaml\.(load|unsafe_load|full_load)(_all)?': None,
    r'tempfile\.mktemp': None,
    r'(.*\.)?(extractall|unpack_archive)': None,
    r'Config\.fromstring': None,
    r'torch\.load': 'weights_only=True',
    r'torch\.hub\.load(_state_dict_from_url)?': 'weights_only=True',
}


def unsafe_calls(source):
    """Lines of a Python file with calls that may run what they are given."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name, call = ast.unparse(node.func), ast.unparse(node)
        keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
        for pattern, safe in FORBIDDEN.items():
            if re.fullmatch(pattern, name) and not (safe and safe in call):
                yield node.lineno, call
        if keywords.get('shell', 'False') != 'False' or (
            keywords.get('allow_pickle', 'False') != 'False'
        ):
            yield node.lineno, call


@pytest.mark.parametrize(
    ('line', 'count'),
    [
        ('eval(x)', 1),
        ('model.eval()', 0),
        ('re.compile(x)', 0),
        ('subprocess.run(x, shell=True)', 1),
        ('subprocess.run(x, shell=False)', 0),
        ('os.system(x)', 1),
        ('pickle.loads(x)', 1),
        ('pickle.dumps(x)', 0),
        ('np.load(x, allow_pickle=True)', 1),
        ('torch.load(x)', 1),
        ('torch.load(x, weights_only=False)', 1),
        ('torch.load(x, weights_only=True)', 0),
    ],
)
def test_finds_unsafe_calls(line, count):
    assert len([*unsafe_calls(line)]) == count


def test_no_unsafe_calls():
    found = [
        f'{path.relative_to(ROOT)}:{number}: {call}'
        for path in SOURCES
        for number, call in unsafe_calls(path.read_text('utf-8'))
    ]
    assert not found and len(SOURCES) > 100


@pytest.mark.parametrize('text', ['$(touch X)', '`touch X`', '; touch X', 'a b*'])
@pytest.mark.parametrize('tool', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh'])
def test_scripts_run_nothing_of_their_arguments(tmp_path, text, tool):
    for name in ('srun', 'python'):
        fake = tmp_path / 'bin' / name
        fake.parent.mkdir(exist_ok=True)
        fake.write_text('#!/bin/sh\nfor argument; do echo "<$argument>"; done\n')
        fake.chmod(0o755)
    arguments = [text, '1', text] if 'dist' in tool else [text] * 4
    if tool == 'dist_test.sh':
        arguments.insert(1, text)
    result = run_command(
        ROOT / 'tools' / tool,
        *arguments,
        cwd=tmp_path,
        PATH=f'{tmp_path}/bin:/usr/bin:/bin',
        PYTHON='python',
    )
    assert f'<{text}>' in result.stdout, result.stderr
    assert not (tmp_path / 'X').exists()


def test_transcoding_follows_no_link_out_of_its_target(tmp_path):
    write_videos(tmp_path / 'source/class', 1)
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'target').mkdir()
    (tmp_path / 'target/class').symlink_to(tmp_path / 'elsewhere')
    spec = TranscodeSpec(short_side=16, preset='ultrafast')
    with pytest.raises(TargetError, match=r'\A.*class: expected a folder in .*a link'):
        transcode_folder(tmp_path / 'source', tmp_path / 'target', spec)
    assert not [*(tmp_path / 'elsewhere').iterdir()]
    # A link in the source is a folder like any other.
    (tmp_path / 'target/class').unlink()
    (tmp_path / 'source/link').symlink_to(tmp_path / 'source/class')
    (tmp_path / 'source/class').rename(tmp_path / 'outside')
    (tmp_path / 'source/link').unlink()
    (tmp_path / 'source/link').symlink_to('../outside')
    assert transcode_folder(tmp_path / 'source', tmp_path / 'target', spec)[0] == 1
    assert Path(tmp_path / 'target/link/0.mp4').resolve() == (
        tmp_path / 'target/link/0.mp4'
    )
