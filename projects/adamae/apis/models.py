"""Models for inference."""

from __future__ import annotations

from mmaction.models.recognizers.base import BaseRecognizer
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..checkpoints import adapt_checkpoint
from ..checkpoints.io import read_file
from ..models.backbones import MaskedVisionTransformer


def load_model(cfg: Config, checkpoint: str) -> BaseRecognizer:
    """Build the model of a config and load all of its weights.

    Args:
        cfg (Config): of pre-training (``MAERecognizer``) or of a classifier
            (``Recognizer3D``).
        checkpoint (str): file of that config's training.

    Returns:
        BaseRecognizer: in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the checkpoint is not one of this model, or its backbone is no
            ``MaskedVisionTransformer``.
    """
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    model = MODELS.build(cfg.model)
    if not isinstance(model.backbone, MaskedVisionTransformer):
        raise ValueError(
            'model.backbone: expected a MaskedVisionTransformer, got '
            f"{type(model.backbone).__name__}; checkpoints of MMAction2's "
            'VisionTransformer load into it as they are, change the type'
        )
    weights = adapt_checkpoint(read_file(checkpoint), model, 'test', checkpoint)
    model.load_state_dict(weights)
    return model.eval()
