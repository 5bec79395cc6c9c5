"""Pages that are made when the site is built: tools, configs, changelog."""

from __future__ import annotations

import os
import re
import runpy
import sys
from argparse import Action, ArgumentParser, _SubParsersAction
from pathlib import Path
from subprocess import check_output
from textwrap import dedent
from unittest.mock import patch

from sphinx.application import Sphinx

from projects.adamae_command import commands

ROOT = Path(__file__).resolve().parents[2]
# On GitHub these pages say where the text is; here they are the text.
WHOLE = {'changelog': 'CHANGELOG.md', 'contributing': 'CONTRIBUTING.md'}
# What a link to a folder leads to, as a site has no folders.
FOLDERS = {
    'tools': 'tools.md',
    'configs': 'configs.md',
    'tests': 'contributing.md',
    'projects/adamae': 'api/index.md',
}


class Found(Exception):
    """Ends a tool as soon as its parser is complete."""


class Cores(int):
    """A default that depends on the machine that builds the site."""

    def __str__(self) -> str:
        """Say what the number means."""
        return 'one for each core'


def parser_of(tool: Path) -> ArgumentParser:
    """Let a tool make its parser; what it imports after that is not imported."""

    def found(parser: ArgumentParser, *args: object, **kwargs: object) -> None:
        raise Found(parser)

    name = str(tool.relative_to(ROOT))
    with (
        patch.object(ArgumentParser, 'parse_args', found),
        patch.object(sys, 'argv', [name]),
        patch.object(sys, 'path', [str(tool.parent), *sys.path]),
        patch.object(os, 'cpu_count', lambda: Cores(1)),
        patch.dict(os.environ, COLUMNS='88'),
    ):
        try:
            runpy.run_path(name if Path(name).exists() else str(tool))['main']([])
        except Found as stop:
            parser: ArgumentParser = stop.args[0]
            parser.prog = name
            parser.usage = parser.format_usage().removeprefix('usage: ').strip()
            return parser
    raise ValueError(f'{name}: expected a tool that parses its arguments in main')


def escape(text: str) -> str:
    """Keep Markdown from reading the text of a help message as its own."""
    return re.sub(r'([\\`*_{}\[\]<>#|~$])', r'\\\1', text)


def paragraphs(description: str) -> str:
    """Turn the docstring of a tool into Markdown; what is indented is a command."""
    parts = []
    for part in dedent(description).strip().split('\n\n'):
        code = part.startswith('    ')
        parts.append(f'```text\n{dedent(part)}\n```' if code else escape(part))
    return '\n\n'.join(parts)


def installed_name(tool: Path) -> list[str]:
    """Say what the command of an installed package calls a tool, if it has it."""
    names = {
        path: name for group in commands().values() for name, path in group.items()
    }
    return [f'Installed: `adamae {names[tool]}`'] if tool in names else []


def describe(tool: Path) -> str:
    """Write the section of a tool in Python."""
    parser = parser_of(tool)
    name = parser.prog
    formatter = parser._get_formatter()

    def option(action: Action) -> str:
        words = formatter._format_action_invocation(action)
        text = formatter._expand_help(action) if action.help else ''
        return f'```{{option}} {words}\n{escape(text)}\n```'

    actions = [
        a for a in parser._actions if a.dest != 'help' and a.help != '==SUPPRESS=='
    ]
    parts = [
        f'### {name}',
        *installed_name(tool),
        paragraphs(parser.description or ''),
        f'```text\n{parser.usage}\n```',
        f'```{{program}} {name}\n```',
    ]
    for action in actions:
        if isinstance(action, _SubParsersAction):  # such as ls and cp of configs
            for word, sub in action.choices.items():
                sub.prog = f'{name} {word}'
                with patch.dict(os.environ, COLUMNS='88'):
                    parts.append(f'```text\n{sub.format_help().strip()}\n```')
        else:
            parts.append(option(action))
    return '\n\n'.join(parts)


def describe_launcher(script: Path) -> str:
    """Write the section of a shell script: its first comment, and what it says."""
    what = re.findall(r'^# (.*)', script.read_text('utf-8'), re.M)[0]
    usage = check_output(['bash', str(script), '--help'], text=True).strip()
    name = script.relative_to(ROOT)
    parts = [
        f'### {name}',
        *installed_name(script),
        escape(what),
        f'```text\n{usage}\n```',
    ]
    return '\n\n'.join(parts)


def tools() -> str:
    """Write the reference of all tools, by folder."""
    own, old = sorted(ROOT.glob('tools/[!_]*.py')), 'visualise.py'
    launchers = sorted(ROOT.glob('tools/[!_]*.sh'))
    sections = [
        ('Tools', [describe(tool) for tool in own if tool.name != old]),
        ('Launchers', map(describe_launcher, launchers)),
        ('Data', map(describe, sorted(ROOT.glob('tools/data/*.py')))),
        (
            'Benchmarks',
            [
                describe(tool)
                for tool in sorted(ROOT.glob('tools/benchmarks/*.py'))
                if 'ArgumentParser(' in tool.read_text('utf-8')
            ],
        ),
    ]
    return '\n\n'.join(
        '\n\n'.join([f'## {title}', *texts]) for title, texts in sections
    )


def configs() -> str:
    """List all configs with the comment that each begins with, or its bases."""
    lines = []
    for folder in ('', 'recipes/', 'ablations/', 'demo/'):
        lines += [f'\n## configs/{folder}\n', '| config | what |', '| --- | --- |']
        for path in sorted(ROOT.glob(f'configs/{folder}*.py')):
            text = path.read_text('utf-8')
            comment = re.match(r'(?:#.*\n)*', text)[0]
            what = ' '.join(comment.replace('#', '').split())
            # Without one, what it is made of says enough.
            bases = re.search(r'_base_ = (\[.*?\]|.*)', text, re.S)[1]
            what = what or ', '.join(re.findall(r"([\w./]+\.py)'", bases))
            lines.append(f'| `{path.relative_to(ROOT)}` | {escape(what)} |')
    return '\n'.join(lines)


def read_source(app: Sphinx, page: str, content: list[str]) -> None:
    """Change the text of a page before it is parsed."""
    text = content[0]
    if page in WHOLE:
        text = (ROOT / WHOLE[page]).read_text('utf-8')
        text = text.replace('](docs/', '](').replace('](LICENSE)', '](../LICENSE)')
        app.env.note_dependency(str(ROOT / WHOLE[page]))
    elif page == 'tools':
        text += tools()
    elif page == 'configs':
        text += configs()
    text = re.sub(
        rf'\]\(\.\./({"|".join(FOLDERS)})\)', lambda m: f']({FOLDERS[m[1]]})', text
    )
    # A file's name says little here: without a text, MyST takes the title.
    content[0] = re.sub(r'\[(?:docs/)?[\w/]+\.md\](?=\([\w/]+\.md[#)])', '[]', text)


def always_made(app: Sphinx, env: object, *changed: set[str]) -> list[str]:
    """Name the pages whose text does not come from their file alone."""
    return ['tools', 'configs']


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect it."""
    app.connect('source-read', read_source)
    app.connect('env-get-outdated', always_made)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
