"""What MMEngine calls before it builds a model of ``adamae``."""

from mmengine.registry import init_default_scope as _init_default_scope


def register_all_modules(init_default_scope: bool = True) -> None:
    """Register all components: importing ``adamae`` has done that.

    Args:
        init_default_scope (bool): also look in ``adamae`` first for what is built.
            Defaults to True.
    """
    if init_default_scope:
        _init_default_scope('adamae')
