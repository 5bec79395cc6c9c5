"""Names in docstrings: without the module they are in, and each described once."""

from __future__ import annotations

import sys
from functools import cache

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode


@cache
def names() -> set[str]:
    """Collect the names of the package, each alone and with what it is in."""
    found = set()
    for module in [m for n, m in sys.modules.items() if n.startswith('projects.')]:
        folder = module.__name__.rpartition('.')[2]
        for name, value in vars(module).items():
            found |= {name, f'{folder}.{name}'}
            if isinstance(value, type):
                parts = dir(value)
                found |= {*parts, *(f'{name}.{part}' for part in parts)}
    return found


def find(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """Link to the one object whose last names these are, if it is in the reference.

    What exists and is not there is written without a link; what does not exist is left
    to Sphinx, which warns.
    """
    if node.get('refdomain') != 'py':
        return None
    target = node['reftarget']
    # A class is documented where it is exported, and not where it is written.
    last = target.rpartition('.')[2] if target.startswith('projects.') else target
    places = [
        (name, place)
        for name, place in env.domains['py'].objects.items()
        if f'.{name}'.endswith(f'.{last}') and not place.aliased
    ]
    if len(places) == 1:
        ((full, place),) = places
        return make_refnode(
            app.builder, node['refdoc'], place.docname, place.node_id, content, full
        )
    return content if last in names() else None


def skip(
    app: Sphinx, kind: str, name: str, obj: object, skipped: bool, options: object
) -> bool | None:
    """Leave out the fields of named tuples, which the docstring of the class has."""
    return True if type(obj).__name__ == '_tuplegetter' else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect it."""
    app.connect('autodoc-skip-member', skip)
    app.connect('missing-reference', find)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
