"""Evaluations every few epochs of a run, or every few iterations."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from ...datasets.fixed_videos import FixedVideos
from ...models.mae_recognizer import MAERecognizer
from ...utils.wrappers import unwrap_model

# An evaluation and four pictures take seconds, 5000 steps of a recipe most of an hour.
_TIMES = 10
_APART = 5000  # iterations


class EvaluationHook(Hook):
    """Evaluate every few epochs of a training, and at its end.

    Loops by iteration count iterations instead.
    """

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Evaluate in a loop by iteration."""
        if not counts_epochs(runner):
            self._evaluate_if_due(runner, runner.iter + 1, runner.max_iters)

    def after_train_epoch(self, runner: Runner) -> None:
        """Evaluate in a loop by epoch."""
        if counts_epochs(runner):
            self._evaluate_if_due(runner, runner.epoch + 1, runner.max_epochs)

    def _evaluate_if_due(self, runner: Runner, done: int, length: int) -> None:
        every = self._every(runner)
        if done == length or (every > 0 and done % every == 0):
            self._evaluate(runner, done)

    @abstractmethod
    def _every(self, runner: Runner) -> int:
        """Give the epochs (iterations) from one evaluation to the next.

        Below 1: only at the end.
        """

    @abstractmethod
    def _evaluate(self, runner: Runner, done: int) -> None:
        """Evaluate what so many epochs (iterations) have trained."""

    def _log(self, runner: Runner, name: str, done: int, text: str) -> None:
        unit = 'Epoch' if counts_epochs(runner) else 'Iter'
        runner.logger.info(f'{unit}({name}) [{done}]  {text}')


def counts_epochs(runner: Runner) -> bool:
    """Whether a training is one by epoch, and not by iteration."""
    return isinstance(runner.train_loop, EpochBasedTrainLoop)


class PeriodicHook(EvaluationHook):
    """Look at a few fixed videos every few epochs of a pre-training, and at its end.

    Loops by iteration count iterations instead. Does nothing, with a line in the log,
    where the data of the config cannot be read apart from the training, and where
    weights are sharded; nothing at all where no masked autoencoder is trained.

    Args:
        num_videos (int): how many; see :class:`.FixedVideos`.
        interval (int, optional): epochs from one evaluation to the next. Defaults to
            None: ten in a run, but at least 5000 iterations apart, and none in a run
            that is shorter than that. -1 is never.
    """

    def __init__(self, num_videos: int, interval: int | None = None) -> None:
        self.num_videos = num_videos
        self.interval = interval
        self.videos: FixedVideos | None = None

    def before_train(self, runner: Runner) -> None:
        """Choose the videos."""
        self.videos = None
        model = unwrap_model(runner.model)
        if not isinstance(model, MAERecognizer) or self._every(runner) < 1:
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

    def _evaluate(self, runner: Runner, done: int) -> None:
        if self.videos:
            self.evaluate(runner, self.videos, done)

    def _every(self, runner: Runner) -> int:
        if self.interval is not None:
            return self.interval
        iterations = runner.max_iters
        if iterations < _APART:
            return -1
        length = runner.max_epochs if counts_epochs(runner) else iterations
        apart = max(_APART, iterations // _TIMES)
        return -(-apart * length // iterations)  # rounded up

    @abstractmethod
    def evaluate(self, runner: Runner, videos: FixedVideos, step: int) -> None:
        """Evaluate, and leave the training as it is.

        Args:
            runner (Runner): of the training.
            videos (FixedVideos): the videos, at least one.
            step (int): epochs (iterations) that have been trained.
        """
