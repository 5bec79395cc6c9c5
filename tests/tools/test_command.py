"""The command ``adamae``: its table, its help, and what it starts."""

import ast
import os
import re

import pytest

from projects import adamae_command, adamae_files
from projects.adamae_command import commands
from tests.helpers import ROOT, run_command, run_tool
from tests.tools.test_help import TOOLS

# These say how pages are written.
OF_CHECKOUTS = 'architecture.py', 'matrix.py'
# Runs commands in this process, where nothing that takes long can be imported.
RUN = """
import sys
for heavy in ('projects.adamae', 'mmaction', 'mmengine', 'numpy', 'torch'):
    sys.modules[heavy] = None
from projects.adamae_command import main
main(['--help'])
for name in sys.argv[1:]:
    try:
        main([name, '--help'])
    except SystemExit as done:
        assert not done.code, name
"""


def test_every_tool_has_a_command_and_every_command_a_tool():
    tools = [path for names in commands().values() for path in names.values()]
    names = [name for names in commands().values() for name in names]
    assert all(path.is_file() for path in tools)
    assert len({*names}) == len(names) == len({*tools})
    hidden = {ROOT / 'tools' / name for name in adamae_command._HIDDEN}
    shell = {path for path in ROOT.glob('tools/[!_]*.sh')}
    assert {*tools} == {*TOOLS, *shell} - hidden


def test_help_imports_nothing_that_takes_long(tmp_path):
    script = tmp_path / 'run.py'
    script.write_text(RUN)
    python = [name for names in commands().values() for name in names.items()]
    names = [name for name, path in python if path.suffix == '.py']
    done = run_command(script, *names)
    assert done.returncode == 0, done.stderr
    for name in names:
        assert f'usage: adamae {name} ' in done.stdout
    overall = done.stdout.partition('usage: adamae demo')[0]
    assert '  train          Train the model of a config' in overall
    assert '  dist-train     Train with several processes' in overall
    assert max(map(len, overall.splitlines())) <= 110


@pytest.mark.parametrize(
    'name', ['dist-train', 'dist-test', 'slurm-train', 'slurm-test']
)
def test_shell_scripts_have_help(name):
    command = ROOT / 'projects/adamae_command.py'
    done = run_command(command, name, '--help')
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.startswith(f'usage: adamae {name} ')
    wrong = run_command(command, name, 'config.py')
    assert wrong.returncode == 2 and wrong.stderr == done.stdout
    file = f'{name.replace("-", "_")}.sh'
    by_file = run_command(ROOT / 'tools' / file, '-h')
    assert by_file.stdout == done.stdout.replace(f'adamae {name}', file)


def test_shell_scripts_use_the_same_python(tmp_path):
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\necho "$0" "$@"\n')
    python.chmod(0o755)
    command = ROOT / 'projects/adamae_command.py'
    done = run_command(command, 'dist-train', 'my.py', '2', PYTHON=str(python))
    assert done.stdout.startswith(f'{python} {ROOT}/tools/_torchrun.py ')
    assert done.stdout.endswith(f'{ROOT}/tools/train.py my.py --launcher pytorch\n')


@pytest.mark.parametrize('name', ['train', 'tools/train.py', 'train.py'])
def test_a_tool_by_its_file(name):
    assert adamae_command.find_tool(name) == ROOT / 'tools/train.py'


def test_an_unknown_command(capsys):
    for name, hint in (('trian', 'did you mean train?'), ('x', 'see adamae --help')):
        with pytest.raises(SystemExit) as error:
            adamae_command.main([name])
        assert error.value.code == 2
        line = f"error: expected a command, got '{name}'; {hint}\n"
        assert capsys.readouterr().err == line


def test_command_lines_to_show(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    shown = adamae_command.command_line('data/prepare.py', 'a b')
    assert shown == "python tools/data/prepare.py 'a b'"
    monkeypatch.chdir(tmp_path)
    shown = adamae_command.command_line('train.py')
    assert shown == f'python {ROOT}/tools/train.py'
    monkeypatch.setattr(adamae_command, 'IS_INSTALLED', True)
    assert adamae_command.command_line('data/prepare.py', 1) == 'adamae prepare 1'


def test_names_of_tools(monkeypatch):
    assert adamae_command.tool_name('data/prepare.py') == 'tools/data/prepare.py'
    monkeypatch.setattr(adamae_command, 'IS_INSTALLED', True)
    assert adamae_command.tool_name('dist_train.sh') == 'adamae dist-train'
    for names in commands().values():
        for name, path in names.items():
            tool = str(path.relative_to(adamae_command.TOOLS))
            assert adamae_command.tool_name(tool) == f'adamae {name}'


def _messages(path):
    """Text of a file that is no docstring, but for those a tool prints as its help."""
    tree = ast.parse(path.read_text('utf-8'))
    docs = set()
    for node in ast.walk(tree):
        is_help = isinstance(node, ast.Module) and 'tools' in path.parts
        if hasattr(node, 'body') and isinstance(node.body, list) and not is_help:
            docs |= {id(n.value) for n in node.body if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docs:
                yield node.value


def test_no_message_names_a_file_of_a_tool():
    tools = [path for names in commands().values() for path in names.values()]
    names = '|'.join(re.escape(path.name) for path in tools)
    # Alone, it is an argument of what runs or names a tool.
    named = re.compile(rf'tools/[\w/]+\.(py|sh)|\S\s+({names})|\b({names})\s+\S')
    ours = [*ROOT.glob('projects/**/*.py'), *(p for p in tools if p.suffix == '.py')]
    found = [(p.name, s) for p in ours for s in _messages(p) if named.search(s)]
    pages = ROOT.glob('projects/adamae/reporting/templates/*')
    found += [(p.name, s[0]) for p in pages for s in named.finditer(p.read_text())]
    # Nobody sees it: what tells a page of ours from another file.
    assert found == [('report.html', 'tools/report.py')]


def test_messages_name_tools_that_exist():
    calls = re.compile(r'\b(?:tool_name|command_line)\(\s*[\'"]([^\'"]+)[\'"]')
    texts = [p.read_text('utf-8') for p in ROOT.glob('projects/**/*.py')]
    names = {name for text in texts for name in calls.findall(text)}
    assert len(names) > 10 and all((ROOT / 'tools' / name).is_file() for name in names)


def test_configs_by_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = str(ROOT / 'configs/recipes/one_gpu_pretrain.py')
    for name in (
        'recipes/one_gpu_pretrain',
        'recipes/one_gpu_pretrain.py',
        'configs/recipes/one_gpu_pretrain.py',
        'adamae::adamae/recipes/one_gpu_pretrain.py',
    ):
        assert adamae_files.find_config(name) == path
    for name in ('', 'recipes', 'nothing', 'configs/', '/', '..', 'a\0b'):
        assert adamae_files.find_config(name) == name
    os.makedirs('configs/recipes')
    own = 'configs/recipes/one_gpu_pretrain.py'
    with open(own, 'w'):
        assert adamae_files.find_config(own) == own


def test_configs_ls(capsys):
    run_tool('configs', 'ls', '*ssv2_linear')
    assert capsys.readouterr().out == 'adamae_vitb_ssv2_linear\n'
    with pytest.raises(SystemExit) as error:
        run_tool('configs', 'ls', 'nothing*')
    assert error.value.code == 2
    assert capsys.readouterr().err == "error: no config is called like 'nothing*'\n"


def test_configs_cp(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    run_tool('configs', 'cp', 'adamae_vitb_ssv2_pretrain')
    assert capsys.readouterr().out == 'wrote adamae_vitb_ssv2_pretrain.py\n'
    text = (tmp_path / 'adamae_vitb_ssv2_pretrain.py').read_text()
    assert "    'adamae::adamae/_base_/models/adamae_vitb.py',\n" in text
    for arguments, reason in (
        (['adamae_vitb_ssv2_pretrain'], 'expected a new file, got ada'),
        (['adamae_vitb_ssv2_pretrian'], 'did you mean adamae_vitb_ssv2_pretrain?'),
        (['adamae_vitb_ssv2_pretrain', 'no/such.py'], 'no/such.py'),
        (['_base_/default_runtime'], 'adamae configs ls'),
    ):
        with pytest.raises(SystemExit) as error:
            run_tool('configs', 'cp', *arguments)
        assert error.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith('error: ') and reason in line
    assert (tmp_path / 'adamae_vitb_ssv2_pretrain.py').read_text() == text


def test_messages_name_pages_that_are_there(monkeypatch):
    package = sorted(ROOT.glob('projects/**/*.py'))
    called = []
    for path in (*package, *TOOLS):
        tree = ast.parse(path.read_text('utf-8'))
        nodes = list(ast.walk(tree))
        # What a wheel does not have; docstrings of tools are their help.
        prose = [n.value for n in nodes if isinstance(n, ast.Expr)]
        texts = [n for n in nodes if isinstance(n, ast.Constant) and n not in prose]
        texts += prose[:1] if path in TOOLS else []
        for text in texts:
            found = re.search(r'docs/\w+\.md', str(getattr(text, 'value', '')))
            assert not found or path.name in OF_CHECKOUTS, (path, found)
        called += [
            [argument.value for argument in node.args]
            for node in nodes
            if isinstance(node, ast.Call)
            and getattr(node.func, 'id', '') == 'docs_page'
        ]
    assert len(called) > 10
    for page, *section in called:
        text = (ROOT / f'docs/{page}.md').read_text('utf-8')
        assert all(re.search(f'^#+ {title}$', text, re.M) for title in section), page
    assert adamae_command.docs_page('data') == 'docs/data.md'
    monkeypatch.setattr(adamae_command, 'IS_INSTALLED', True)
    name = adamae_command.docs_page('data', 'Unreadable videos')
    assert name == 'data.html of the documentation, "Unreadable videos"'


def test_titles_in_the_help_of_tools():
    titles = {
        path.read_text('utf-8').partition('\n')[0][2:]
        for path in ROOT.glob('docs/*.md')
    }
    for path in TOOLS:
        text = ' '.join((ast.get_docstring(ast.parse(path.read_text())) or '').split())
        assert set(re.findall(r'"([^"]+)" in the documentation', text)) <= titles
