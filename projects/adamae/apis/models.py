"""Models for inference."""

from __future__ import annotations

from typing import Any

from mmaction.models.recognizers.base import BaseRecognizer
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..checkpoints import adapt_checkpoint
from ..checkpoints.io import read_file
from ..models.backbones import MaskedVisionTransformer


def load_model(
    cfg: Config, checkpoint: str, model_type: type[Any] = BaseRecognizer
) -> BaseRecognizer:
    """Build the model of a config and load all of its weights.

    Args:
        cfg (Config): of pre-training (``MAERecognizer``) or of a classifier
            (``Recognizer3D``).
        checkpoint (str): file of that config's training.
        model_type (type): class that the model has to be of. Defaults to any.

    Returns:
        BaseRecognizer: in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the checkpoint is not one of this model, the model is no
            ``model_type``, or its backbone is no ``MaskedVisionTransformer``.
    """
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    model = MODELS.build(cfg.model)
    if not isinstance(model, model_type):
        raise ValueError(
            f'model: expected a config of a {model_type.__name__}, got one of a '
            f'{type(model).__name__}'
        )
    if not isinstance(model.backbone, MaskedVisionTransformer):
        raise ValueError(
            'model.backbone: expected a MaskedVisionTransformer, got '
            f"{type(model.backbone).__name__}; checkpoints of MMAction2's "
            'VisionTransformer load into it as they are, change the type'
        )
    weights = adapt_checkpoint(read_file(checkpoint), model, 'test', checkpoint)
    model.load_state_dict(weights)
    return model.eval()
