"""Configs and models by name."""

from __future__ import annotations

from mmaction.models.recognizers.base import BaseRecognizer
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from projects.adamae_files import find_config, list_models, similar_models

from .models import load_model

__all__ = ['get_config', 'get_model', 'list_models']


def get_config(name: str) -> Config:
    """Read a config of this package.

    Args:
        name (str): one of :func:`list_models`, or a path.

    Returns:
        Config: everything of a run.

    Raises:
        FileNotFoundError: if there is no such config.
    """
    try:
        return Config.fromfile(find_config(name))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'expected a config or the path of one, got {name!r}; '
            f'{similar_models(name)}'
        ) from error


def get_model(name: str | Config, pretrained: str | None = None) -> BaseRecognizer:
    """Build the model of a config.

    There are no weights to download: train some, or convert those of the authors
    (docs/checkpoints.md).

    Args:
        name (str | Config): one of :func:`list_models`, a path, or a config.
        pretrained (str, optional): checkpoint of this model. Defaults to None: the
            weights that training starts with.

    Returns:
        BaseRecognizer: on the CPU; in evaluation mode if it is pretrained.

    Raises:
        FileNotFoundError: if there is no such config or checkpoint.
        ValueError: if the checkpoint is not one of this model.
    """
    cfg = get_config(name) if isinstance(name, str) else name
    if pretrained is not None:
        return load_model(cfg, pretrained)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model
