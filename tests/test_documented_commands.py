"""Commands of README and docs: tools exist, take these arguments, files are there."""

import re
import shlex
from functools import cache
from itertools import chain

import pytest
from mmengine.config import Config

from projects.adamae_command import find_tool
from projects.adamae_files import find_config, shipped_config
from tests.helpers import ROOT, load_tool

PAGES = [
    *(ROOT / name for name in ('README.md', 'CONTRIBUTING.md')),
    *sorted((ROOT / 'docs').rglob('*.md')),
]
# What the reader makes by a command of the page before, or has.
MADE = re.compile(
    r'configs/(pets|toss|mine|NAME)_(pretrain|finetune|probe)\.py|tools/NAME\.py'
)
# Settings that configs may have and most do not.
ABSENT = {'load_from', 'compile', 'subset', 'runner_type', 'strategy', 'loss_scale'}
# Commands of other packages.
OTHERS = {
    'pip',
    'source',
    'export',
    'tensorboard',
    'docker',
    'pre-commit',
    'mkdir',
    'cp',
}


def text_of(page):
    return page.read_text('utf-8')


def blocks_and_words(text):
    """Split the code of a page: its blocks, and what is marked within lines."""
    block = r'^ *```.*?^ *```'
    words = re.findall('`([^`]+)`', re.sub(block, '', text, flags=re.M | re.S))
    return re.findall(block, text, re.M | re.S), words


def commands_of(text):
    """Lines of the blocks of commands, without comments."""
    for block in re.findall(r'^ *```(?:bash|shell)\n(.*?)^ *```', text, re.M | re.S):
        yield from filter(None, map(str.strip, block.replace('\\\n', ' ').splitlines()))


def mentions(text):
    """Tools that are named with options within a line, as ``tools/a.py --b``."""
    tool = r'tools/(?!test_)[a-z_/]+\.(?:py|sh)|adamae [a-z][a-z-]*(?![/\w])'
    for code in blocks_and_words(text)[1]:
        for name, rest in re.findall(rf'(?<![\w/])({tool})(.*)', code, re.S):
            yield name.split(), re.findall(r'(?<!\S)\[?(--[a-z][\w-]+)', rest)


def expand(text):
    """Write out ``{a,b}``."""
    found = re.search(r'\{([^{}]*,[^{}]*)\}', text)
    if not found:
        return [text]
    before, after = text[: found.start()], text[found.end() :]
    return [
        whole for part in found[1].split(',') for whole in expand(before + part + after)
    ]


def split(command):
    """Split a command into its program and its arguments."""
    words = shlex.split(command, comments=True)
    while words and (words[0] == 'python' or re.match(r'[A-Z_]+=', words[0])):
        words.pop(0)
    return words


def tool_and_arguments(words):
    """Name the tool in Python that a command ends up in, and what it is given."""
    program, *rest = words
    if program == 'adamae':
        found = find_tool(rest[0])
        assert found, f'no such command: {rest[0]}'
        program, rest = str(found.relative_to(ROOT)), rest[1:]
    program = re.sub(r'^.*?(?=tools/)', '', program)
    assert (ROOT / program).is_file(), f'no such tool: {program}'
    name, _, kind = program.removeprefix('tools/').rpartition('.')
    if kind == 'py':
        return name, rest
    launcher, _, name = name.partition('_')
    if launcher == 'slurm':
        return name, rest[2:]  # partition, name of the job
    number = 2 if name == 'test' else 1
    assert rest[number].isdigit() or rest[number].isupper(), 'number of processes'
    return name, rest[:number] + rest[number + 1 :]


@cache
def config(path):
    return Config.fromfile(ROOT / path)


def check_options(args):
    """Options of the command line are settings that the config has."""
    path = find_config(getattr(args, 'config', None) or '')
    if not (ROOT / path).is_file():
        return
    for key in args.cfg_options:
        parent, _, last = key.rpartition('.')
        value = config(path)
        if last != '_delete_':
            parent = key if '.' not in key else parent
        for part in filter(None, parent.split('.')):
            value = value[int(part)] if isinstance(value, list) else value.get(part)
            known = value is not None or part in ABSENT
            assert known, f'{key}: not in {path}'


def check(command):
    words = split(command)
    if not words or words[0] in OTHERS:
        return
    if words[0] == 'make':
        makefile = text_of(ROOT / 'Makefile')
        targets = [word for word in words[1:] if '=' not in word]
        variables = [word.partition('=')[0] for word in words[1:] if '=' in word]
        assert all(re.search(rf'^{t}:', makefile, re.M) for t in targets)
        assert all(f'$({v})' in makefile for v in variables)
        return
    if words[0] == 'mim':
        assert words[1] in ('search', 'train', 'test') and words[2] == 'adamae'
        assert all(map(shipped_config, words[3:4]))
        return
    name, arguments = tool_and_arguments(words)
    args = load_tool(name).parse_args(arguments)
    if getattr(args, 'cfg_options', None):
        check_options(args)


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands(page, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    failed = []
    for command in commands_of(text_of(page)):
        for whole in expand(command):
            try:
                check(whole)
            except (AssertionError, SystemExit) as error:
                failed.append(f'{whole}: {error} {capsys.readouterr().err[-200:]}')
    assert not failed


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_options_in_the_text(page, capsys):
    for tool, options in mentions(text_of(page)):
        name, _ = tool_and_arguments([*tool, 'CONFIG', 'CHECKPOINT', 'GPUS'])
        if options:
            with pytest.raises(SystemExit):
                load_tool(name).parse_args(['--help'])
            known = capsys.readouterr().out
            assert not [o for o in options if f'{o} ' not in known], tool


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files(page):
    """Configs, tools, tests and pages that the text names are there."""
    folders = 'configs|tools|tests|docs|projects|requirements'
    pattern = rf'(?<![\w/.-])(?!tools/test_)(?:{folders})/[\w{{}},./*-]*[\w*}}]'
    named = [
        path
        for code in chain(*blocks_and_words(text_of(page)))
        for path in re.findall(pattern, code)
    ]
    missing = [
        path
        for written in named
        for path in expand(written.replace(',...', ''))
        if not MADE.fullmatch(path) and not [*ROOT.glob(path)]
    ]
    assert not missing


def test_every_tool_is_in_some_page():
    everything = '\n'.join(map(text_of, [*PAGES, ROOT / 'Makefile']))
    tools = ROOT.glob('tools/**/[!_]*.py')
    assert not [
        tool.name
        for tool in tools
        if 'ArgumentParser(' in text_of(tool) and tool.name not in everything
    ]
