"""Build the parts of a model so that they fit together."""

from __future__ import annotations

from typing import Any

from mmaction.registry import MODELS
from mmaction.utils import ConfigType


def build_part(cfg: ConfigType, **sizes: Any) -> Any:
    """Build a part, a module, with sizes that follow from other parts.

    Raises:
        ValueError: if the config has no type, one of the sizes, which could only
            contradict, or an option that the part does not know.
    """
    if 'type' not in cfg:
        raise ValueError(
            f'expected a type in a part of the model, got {dict(cfg)}; options alone '
            'change a part only where the base config has one'
        )
    for name in sizes.keys() & cfg.keys():
        raise ValueError(
            f'{name}: expected {sizes[name]}, as follows from the rest of the model, '
            f'got {cfg[name]} for {cfg["type"]}; leave it out'
        )
    try:
        return MODELS.build({**sizes, **cfg})
    except TypeError as error:
        if 'unexpected keyword argument' not in str(error):
            raise
        raise ValueError(
            f'{cfg["type"]}: {error}; if it belongs to what the base config has in '
            'this place, add _delete_=True to your dict'
        ) from error
