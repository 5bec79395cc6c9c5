"""The documentation site: built with warnings as errors, and no link leads nowhere."""

import inspect
import io
import re
import zlib
from contextlib import redirect_stderr
from html import unescape
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import mmaction.registry
import mmengine.registry
import pytest
from mmengine.registry import Registry

import projects.adamae
from tests.helpers import ROOT

build_main = pytest.importorskip('sphinx.cmd.build').build_main


class Page(HTMLParser):
    """Names of places in a page, and what it links to."""

    def __init__(self, path):
        super().__init__()
        self.places, self.links = set(), set()
        self.feed(path.read_text('utf-8'))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.places.add(attrs.get('id'))
        self.links |= {attrs[key] for key in ('href', 'src') if attrs.get(key)}


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp('site')
    # As `make docs` does it.
    options = '-q', '-W', '--keep-going'
    assert f'sphinx {" ".join(options)} docs' in (ROOT / 'Makefile').read_text()
    said = io.StringIO()
    # In this process, which has imported all of it.
    with redirect_stderr(said):
        code = build_main([*options, str(ROOT / 'docs'), str(out)])
    assert code == 0, said.getvalue()
    return out


def test_every_link_leads_somewhere(site):
    pages = {path: Page(path) for path in site.rglob('*.html')}
    assert len(pages) > 30
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve()
            target = target if parts.path else path
            if not target.is_file() or (
                parts.fragment
                and target in pages
                and unquote(parts.fragment) not in pages[target].places
            ):
                broken.append(f'{path.relative_to(site)}: {link}')
    assert not broken


def test_nothing_is_fetched_from_elsewhere(site):
    for path in site.rglob('*.html'):
        text = path.read_text('utf-8')
        assert not re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="https?:', text)


def test_the_reference_has_every_public_name(site):
    lines = (site / 'objects.inv').read_bytes().split(b'\n', 4)
    inventory = zlib.decompress(lines[4]).decode()
    known = re.findall(
        r'^\S*?([^.\s]+) py:(class|function|exception) 1 ', inventory, re.M
    )
    public = {*projects.adamae.__all__} - {'compat', 'registry'}  # modules
    assert public <= {name for name, _ in known}
    assert len(known) == len({*known})  # each in one place


def own_classes():
    """Give all classes of ours that a config can name."""
    registries = [
        value
        for module in (mmengine.registry, mmaction.registry)
        for value in vars(module).values()
        if isinstance(value, Registry)
    ]
    return {
        value
        for registry in registries
        for value in registry.module_dict.values()
        if inspect.isclass(value) and value.__module__.startswith('projects.adamae.')
    }


def test_the_reference_has_every_argument_of_a_class(site):
    text = ''.join(path.read_text('utf-8') for path in site.glob('api/*.html'))
    missing = []
    classes = own_classes()
    assert len(classes) > 50
    for cls in classes:
        # An argument that a base of ours takes is described there.
        owners = [c for c in cls.__mro__ if c.__module__.startswith('projects.')]
        names = '|'.join(c.__name__ for c in owners)
        places = re.findall(
            rf'id="[\w.]*\.({names})">(.*?)(?=id="projects)',
            text,
            re.S,
        )
        if cls.__name__ not in {name for name, _ in places}:
            missing.append(cls.__name__)
            continue
        said = ' '.join(part for _, part in places)
        init = next(c for c in cls.__mro__ if '__init__' in vars(c))
        if init in owners:
            for name, argument in [
                *inspect.signature(init.__init__).parameters.items()
            ][1:]:
                if argument.kind in (argument.VAR_KEYWORD, argument.VAR_POSITIONAL):
                    continue
                if f'<strong>{name}</strong>' not in said:
                    missing.append(f'{cls.__name__}({name})')
    # Those of MMEngine, which hands them over itself.
    assert sorted(missing) == sorted(
        f'Resumable{kind}TrainLoop({name})'
        for kind in ('Epoch', 'Iter')
        for name in ('runner', 'dataloader')
    )


def test_every_page_reads_well(site):
    descriptions = []
    for path in [*site.glob('*.html'), *site.glob('api/*.html')]:
        if path.stem in ('genindex', 'search'):
            continue
        text = path.read_text('utf-8')
        descriptions += re.findall('<meta name="description" content="(.+)">', text)
        article = re.search('<article.*?</article>', text, re.S)[0]
        levels = [int(level) for level in re.findall(r'<h(\d)', article)]
        assert levels.count(1) == 1 and levels[0] == 1, path
        assert all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False)), path
        for image in re.findall('<img[^>]*>', article):
            alt = re.search('alt="([^"]*)"', image)[1]
            assert ' ' in alt, f'{path}: {image}'
        # What is no code is no Markdown either.
        plain = re.sub(r'<(pre|code|math|dt)\b.*?</\1>', '', article, flags=re.S)
        plain = unescape(re.sub('<[^>]+>', '', plain))
        assert not re.findall(r'.*(?:\$\w|\]\(|```|\{[a-z-]+\}`).*', plain), path
    assert len(descriptions) == len({*descriptions}) > 30


def test_the_reference_has_every_tool(site):
    text = (site / 'tools.html').read_text('utf-8')
    sections = dict(re.findall(r'<h3>(tools/[\w/.]+)<(.*?)(?=<h[23]>|$)', text, re.S))
    for tool in ROOT.glob('tools/**/[!_]*.py'):
        source = tool.read_text('utf-8')
        if 'ArgumentParser(' in source:
            section = sections[str(tool.relative_to(ROOT))]
            for option in re.findall(r"add_argument\(\s*'(-[\w-]+)'", source):
                assert option in section, f'{tool}: {option}'
    assert 'id="cmdoption-tools-train.py-resume"' in text
    plain = re.sub('<[^>]+>', '', text)
    assert (
        'Installed: adamae probe' in plain and 'tools/configs.py cp [-h] name' in plain
    )
    assert 'one for each core' in text


def test_the_source_distribution_builds_the_site():
    kinds = re.search('recursive-include docs (.*)', (ROOT / 'MANIFEST.in').read_text())
    files = [p for p in (ROOT / 'docs').rglob('*.*') if '__pycache__' not in p.parts]
    assert {f'*{path.suffix}' for path in files} <= {*kinds[1].split()}
