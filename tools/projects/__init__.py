"""What ``python tools/NAME.py`` takes for ``projects``: the package of this checkout.

Python looks first in the folder of a script. So the tools are never those of one
checkout and the package that of another, need no installation, and find it where a
folder ``projects`` of somebody else, with an ``__init__.py``, would hide it.
"""

from pathlib import Path
from pkgutil import extend_path

_HOME = next(
    folder / 'projects'
    for folder in Path(__file__).resolve().parents
    if (folder / 'projects/adamae').is_dir()
)
# And the others of this namespace, such as projects of MMAction2.
__path__ = [str(_HOME), *extend_path([], __name__)]
