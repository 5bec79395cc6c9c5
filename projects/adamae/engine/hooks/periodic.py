"""Evaluations a number of times in a run."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from ...datasets.fixed_videos import FixedVideos
from ...models.mae_recognizer import MAERecognizer
from ...utils.wrappers import unwrap_model

_TIMES = 10


class PeriodicHook(Hook):
    """Look at a few fixed videos every few epochs of a pre-training, and at its end.

    Loops by iteration count iterations instead. Does nothing, with a line in the log,
    where the data of the config cannot be read apart from the training, and where
    weights are sharded; nothing at all where no masked autoencoder is trained.

    Args:
        num_videos (int): how many; see :class:`.FixedVideos`.
        interval (int, optional): epochs from one evaluation to the next. Defaults to
            None: a tenth of the run. -1 is never.
    """

    def __init__(self, num_videos: int, interval: int | None = None) -> None:
        self.num_videos = num_videos
        self.interval = interval
        self.videos: FixedVideos | None = None

    def before_train(self, runner: Runner) -> None:
        """Choose the videos."""
        self.videos = None
        model = unwrap_model(runner.model)
        if not isinstance(model, MAERecognizer):
            return
        name = type(self).__name__
        if any(hasattr(parameter, 'to_local') for parameter in model.parameters()):
            runner.logger.info(f'{name} is off: it needs whole weights')
            return
        size = model.backbone.clip_size
        try:
            self.videos = FixedVideos(runner.cfg, self.num_videos, size)
        except ValueError as error:
            runner.logger.info(f'{name} is off: {error}')

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Evaluate in a loop by iteration."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._evaluate_if_due(runner, runner.iter + 1, runner.max_iters)

    def after_train_epoch(self, runner: Runner) -> None:
        """Evaluate in a loop by epoch."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._evaluate_if_due(runner, runner.epoch + 1, runner.max_epochs)

    def _evaluate_if_due(self, runner: Runner, done: int, length: int) -> None:
        interval = self.interval
        if interval is None:
            interval = max(1, length // _TIMES)
        due = interval > 0 and (done % interval == 0 or done == length)
        if due and self.videos:
            self.evaluate(runner, self.videos, done)

    @abstractmethod
    def evaluate(self, runner: Runner, videos: FixedVideos, step: int) -> None:
        """Evaluate, and leave the training as it is.

        Args:
            runner (Runner): of the training.
            videos (FixedVideos): the videos, at least one.
            step (int): epochs (iterations) that have been trained.
        """
