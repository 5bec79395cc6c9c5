"""Draw the flowchart of imports as a table: a site that loads no script from elsewhere.

GitHub draws Mermaid's flowcharts itself, in a page; a browser would have to fetch it.
"""

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx


class ImportTable(Directive):
    """A row for each package, a column for each that it may import."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        lines = [line.split() for line in self.content[1:]]
        names = [line[0] for line in lines if len(line) == 1]
        arrows = {(line[0], line[2]) for line in lines if len(line) == 3}
        if not arrows or {name for arrow in arrows for name in arrow} - {*names}:
            raise self.error('expected a flowchart of names, and arrows between them')
        columns = [name for name in names if any(name == to for _, to in arrows)]

        def row(title: str, cells: list[str]) -> nodes.row:
            entries = [nodes.entry('', nodes.paragraph('', cell)) for cell in cells]
            head = nodes.entry('', nodes.paragraph('', '', nodes.literal('', title)))
            return nodes.row('', head if title else nodes.entry(), *entries)

        group = nodes.tgroup(cols=len(columns) + 1)
        group += [nodes.colspec(colwidth=1) for _ in range(len(columns) + 1)]
        group += nodes.thead('', row('', columns))
        group += nodes.tbody(
            '',
            *(
                row(name, ['●' if (name, to) in arrows else '' for to in columns])
                for name in names
            ),
        )
        return [nodes.table('', group, classes=['imports'])]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive('mermaid', ImportTable)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
