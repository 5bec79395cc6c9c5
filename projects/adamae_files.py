"""Where configs and tools lie: in a checkout, or in an installed package.

Tools use it before their arguments are parsed, so it imports nothing that takes long.
"""

from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_MIM = _ROOT / 'adamae/.mim'  # setup.py makes it, where MMEngine and mim look
#: Whether this is an installed package, without a checkout.
IS_INSTALLED = _MIM.is_dir()
#: Folder of the configs that come with the package.
CONFIGS = _MIM / 'configs/adamae' if IS_INSTALLED else _ROOT / 'configs'
#: Folder of the tools.
TOOLS = _MIM / 'tools' if IS_INSTALLED else _ROOT / 'tools'
#: What MMEngine calls ``CONFIGS`` in the ``_base_`` of any config.
SCOPE = 'adamae::adamae'


def list_models(pattern: str = '*') -> list[str]:
    """List the configs that come with the package; each has a model and its training.

    Args:
        pattern (str): shell pattern that the names match. Defaults to all.

    Returns:
        list[str]: names for ``get_config`` and ``get_model``, in order, such as
        ``'adamae_vitb_ssv2_pretrain'`` and ``'recipes/one_gpu_pretrain'``.
    """
    paths = (path.relative_to(CONFIGS) for path in CONFIGS.rglob('*.py'))
    names = (path.with_suffix('').as_posix() for path in paths)
    # What others only inherit from is in _base_, or called so.
    models = (n for n in names if not n.startswith('_base_/') and n[-5:] != '_base')
    return sorted(name for name in models if fnmatch(name, pattern))


def shipped_config(name: str) -> Path | None:
    """Find a config that comes with the package.

    Args:
        name (str): of :func:`list_models`, with or without ``.py``, and maybe below
            ``configs/`` (as in a checkout) or ``adamae::adamae/``.

    Returns:
        Path | None: its file, if there is one.
    """
    name = name.removeprefix(f'{SCOPE}/').removeprefix('configs/').removesuffix('.py')
    return CONFIGS / f'{name}.py' if name in list_models() else None


def find_config(config: str) -> str:
    """Find a config by its path, or by its name if there is no such file.

    Args:
        config (str): a path, or a name for :func:`shipped_config`.

    Returns:
        str: the path of the config of this name; what was given if there is none.
    """
    if Path(config).expanduser().is_file():
        return config
    return str(shipped_config(config) or config)


def similar_models(name: str) -> str:
    """Say which configs have names like one that does not exist."""
    near = get_close_matches(name.removesuffix('.py'), list_models(), n=1)
    return f'did you mean {near[0]}?' if near else 'see adamae configs ls'
