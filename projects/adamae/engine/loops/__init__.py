"""Training loops that can be interrupted anywhere."""

from .resumable_epoch_train_loop import ResumableEpochTrainLoop
from .resumable_iter_train_loop import ResumableIterTrainLoop

__all__ = ['ResumableEpochTrainLoop', 'ResumableIterTrainLoop']
