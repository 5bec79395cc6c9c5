"""What search engines and messengers show of a page: its title and first paragraph."""

from html import escape
from textwrap import shorten

from docutils import nodes
from sphinx.application import Sphinx


def describe(
    app: Sphinx,
    page: str,
    template: str,
    context: dict[str, str],
    tree: nodes.document | None,
) -> None:
    """Add a description, and the same in the words of OpenGraph."""
    if tree is None:  # the index, the search
        return
    first = next(tree.findall(nodes.paragraph), nodes.paragraph())
    title = next(tree.findall(nodes.title)).astext()
    text = shorten(first.astext(), 200, placeholder=' ...') or title
    lines = [f'<meta name="description" content="{escape(text)}">']
    facts = {
        'title': title,
        'description': text,
        'type': 'website' if page == app.config.root_doc else 'article',
        'site_name': app.config.project,
    }
    for name, value in facts.items():
        lines.append(f'<meta property="og:{name}" content="{escape(value)}">')
    context['metatags'] = context.get('metatags', '') + '\n'.join(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect it."""
    app.connect('html-page-context', describe)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
