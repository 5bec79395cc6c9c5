"""Evaluate the encoder while it is pre-trained."""

from __future__ import annotations

import torch
from mmaction.registry import DATASETS, HOOKS
from mmengine.runner import Runner

from ...datasets.from_config import names_and_labels
from ...evaluation.features import extract
from ...evaluation.knn import KnnSettingsError, check_settings, knn_accuracy
from ...utils.wrappers import unwrap_model
from .periodic import EvaluationHook, counts_epochs
from .training_state import preserve_training_state


@HOOKS.register_module()
class KnnHook(EvaluationHook):
    """Classify videos by their nearest neighbors before training and every few epochs.

    Before, because that reads every video once: what cannot be read is found then, and
    the encoder one starts with is what to compare with. Logs ``knn/top1`` and
    ``knn/top5``, in [0, 1]. Labels are used for that only. In a distributed run every
    process encodes its share of the videos. Training goes on as if nothing had
    happened: modes, random numbers and loaders stay as they are.

    Args:
        train_dataset (dict): labeled dataset to find the neighbors in, with a
            pipeline that draws nothing at random.
        val_dataset (dict): dataset to classify, with the same pipeline.
        interval (int): epochs, or in a loop by iteration iterations, from one
            evaluation to the next; the last is always followed by one. Defaults to 10.
        k (int): number of neighbors. Defaults to 20.
        temperature (float): of their votes. Defaults to 0.07.
        batch_size (int): videos per batch. Defaults to 32.
        num_workers (int): processes that read videos. Defaults to 2.

    Raises:
        KnnSettingsError: before training starts, if there are fewer than ``k`` videos,
            or the temperature is not positive.
        VideoError: then, if a video cannot be read.
    """

    def __init__(
        self,
        train_dataset: dict,
        val_dataset: dict,
        interval: int = 10,
        k: int = 20,
        temperature: float = 0.07,
        batch_size: int = 32,
        num_workers: int = 2,
    ) -> None:
        self.dataset_cfgs = (train_dataset, val_dataset)
        self.interval = interval
        self.k = k
        self.temperature = temperature
        self.batch_size = batch_size
        self.num_workers = num_workers

    def before_train(self, runner: Runner) -> None:
        """Build the datasets and evaluate: what is wrong is found now, not in hours."""
        self.datasets = [
            DATASETS.build({**cfg, 'test_mode': True}) for cfg in self.dataset_cfgs
        ]
        self.labels = [
            torch.from_numpy(names_and_labels(dataset)[1]) for dataset in self.datasets
        ]
        try:
            check_settings([self.k], self.temperature, len(self.datasets[0]))
        except KnnSettingsError as error:
            raise KnnSettingsError(f'custom_hooks: KnnHook.{error}') from None
        self._evaluate(runner, runner.epoch if counts_epochs(runner) else runner.iter)

    def _every(self, runner: Runner) -> int:
        return self.interval

    def _evaluate(self, runner: Runner, done: int) -> None:
        model = unwrap_model(runner.model)
        device = next(model.parameters()).device
        with preserve_training_state(model):
            bank, queries = (
                extract(model, dataset, self.batch_size, self.num_workers).to(device)
                for dataset in self.datasets
            )
        bank_labels, labels = (labels.to(device) for labels in self.labels)
        top1, top5 = knn_accuracy(
            bank, bank_labels, queries, labels, [self.k], self.temperature
        )[self.k]
        scalars = {'knn/top1': top1, 'knn/top5': top5}
        runner.message_hub.update_scalars(scalars)
        runner.visualizer.add_scalars(scalars, step=done)
        values = '  '.join(f'{name}: {value:.4f}' for name, value in scalars.items())
        self._log(runner, 'knn', done, values)
