"""The documentation site: built with warnings as errors, and no link leads nowhere."""

import io
import re
import zlib
from contextlib import redirect_stderr
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest

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


def test_the_reference_has_every_tool(site):
    text = (site / 'tools.html').read_text('utf-8')
    for tool in ROOT.glob('tools/**/[!_]*.py'):
        if 'ArgumentParser(' in tool.read_text('utf-8'):
            assert f'<h3>{tool.relative_to(ROOT)}<' in text
    assert 'id="cmdoption-tools-train.py-resume"' in text
    plain = re.sub('<[^>]+>', '', text)
    assert (
        'Installed: adamae probe' in plain and 'tools/configs.py cp [-h] name' in plain
    )
    assert 'one for each core' in text
