"""The old name of visualize.py, for one more release."""

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from projects.adamae_process import ends_in_one_line

TOOL = Path(__file__).with_name('visualize.py')


def main(argv: Sequence[str] | None = None) -> None:
    """Say the new name, and run that."""
    print(f'warning: {__file__} is now {TOOL.name}; use that name', file=sys.stderr)
    runpy.run_path(str(TOOL))['main'](argv)


if __name__ == '__main__':
    with ends_in_one_line():
        main()
