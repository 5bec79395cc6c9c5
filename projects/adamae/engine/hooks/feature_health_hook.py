"""Whether the features of an encoder that is pre-trained are rich."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from mmaction.registry import HOOKS
from mmengine.dist import all_gather, get_world_size
from mmengine.runner import Runner
from torch import Tensor, nn

from ...analysis.health import rankme
from ...datasets.fixed_videos import FixedVideos
from ...datasets.from_config import names_and_labels
from ...evaluation.features import iter_features
from ...evaluation.knn import knn_accuracy
from ...models.mae_recognizer import MAERecognizer
from ...utils.wrappers import unwrap_model
from .periodic import PeriodicHook
from .training_state import preserve_training_state

_NEIGHBORS = 20


@HOOKS.register_module()
class FeatureHealthHook(PeriodicHook):
    """Log RankMe of the encoder's features, and a small k-NN if there are labels.

    A few fixed videos are encoded without a mask; the vector of a video is the mean
    over its tokens. In a distributed run each process encodes its share. Names are in
    docs/training.md, "Is the run healthy?". The k-NN classifies every second video of
    each class by the others, where two or more of a class are among those; to measure
    it on a whole dataset, there is :class:`.KnnHook`. Training goes on as if nothing
    had happened. Videos that cannot be read are left out.

    Args:
        layers (Sequence[int], optional): blocks of the encoder, the first is 1.
            Defaults to None: at a quarter, half and three quarters of its depth.
        num_videos (int): see :class:`.PeriodicHook`. Defaults to 128.
        interval (int, optional): see :class:`.PeriodicHook`. Defaults to None.
        batch_size (int): videos per batch. Defaults to 16.
        num_workers (int): processes that read videos. Defaults to 2.

    Raises:
        ValueError: before training starts, if the encoder has no such block.
    """

    def __init__(
        self,
        layers: Sequence[int] | None = None,
        num_videos: int = 128,
        interval: int | None = None,
        batch_size: int = 16,
        num_workers: int = 2,
    ) -> None:
        super().__init__(num_videos, interval)
        self.layers = layers
        self.batch_size = batch_size
        self.num_workers = num_workers

    def before_train(self, runner: Runner) -> None:
        """Choose the videos and the blocks."""
        super().before_train(runner)
        if self.videos is None:
            return
        depth = len(unwrap_model(runner.model).backbone.blocks)
        layers = self.layers
        if layers is None:
            layers = sorted({max(1, depth * part // 4) for part in (1, 2, 3)})
        if bad := [layer for layer in layers if not 1 <= layer <= depth]:
            raise ValueError(
                f'{type(self).__name__}: layers: expected numbers of blocks from 1 to '
                f'{depth}, got {bad[0]}'
            )
        self._layers = layers
        self._told = False
        self._labels = torch.from_numpy(names_and_labels(self.videos)[1])

    def evaluate(self, runner: Runner, videos: FixedVideos, step: int) -> None:
        """Encode the videos and log; see :class:`.PeriodicHook`."""
        model = unwrap_model(runner.model)
        with preserve_training_state(model):
            vectors, read = self._extract(model, videos)
        lost = len(read) - int(read.sum())
        if lost and not self._told:
            self._told = True
            runner.logger.warning(
                f'{type(self).__name__}: {lost} of {len(read)} videos cannot be read; '
                'they are left out'
            )
        if not read.any():
            return
        scalars = {f'health/{k}': rankme(v[read]) for k, v in vectors.items()}
        scalars |= _knn(vectors['rankme'][read], self._labels[read])
        runner.visualizer.add_scalars(scalars, step=step)
        texts = (f'{name}: {value:.4g}' for name, value in scalars.items())
        self._log(runner, 'health', step, '  '.join(texts))

    def _extract(
        self, model: MAERecognizer, videos: FixedVideos
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Give vectors (V, D), the same on all processes, and which could be read."""
        errors: dict[int, str] = {}
        with _block_outputs(model.backbone.blocks, self._layers) as outputs:
            batches = [
                *iter_features(
                    model, videos, self.batch_size, self.num_workers, errors=errors
                )
            ]
        # As many on each process: the last ones begin again with the first.
        share = -(-len(videos) // get_world_size())
        read = torch.tensor([i not in errors for i in range(share)])
        width = model.backbone.embed_dims
        found = {'rankme': batches} | {
            f'rankme_layer_{layer}': rows for layer, rows in outputs.items()
        }
        vectors = {}
        for name, rows in found.items():
            own = torch.zeros(share, width)
            if rows:  # several clips of a video are averaged
                own[read] = torch.cat(rows).reshape(int(read.sum()), -1, width).mean(1)
            vectors[name] = _gather(own, len(videos))
        return vectors, _gather(read.float(), len(videos)) > 0


def _gather(share: Tensor, length: int) -> Tensor:
    """Put the shares of all processes in the order of the videos."""
    return torch.stack(all_gather(share), dim=1).flatten(0, 1)[:length]


@contextmanager
def _block_outputs(
    blocks: nn.Sequential, layers: Sequence[int]
) -> Iterator[dict[int, list[Tensor]]]:
    """Keep the mean over the tokens of what blocks give, batch by batch."""
    outputs: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    handles = [
        blocks[layer - 1].register_forward_hook(
            lambda _, __, x, rows=rows: rows.append(x.float().mean(1).cpu())
        )
        for layer, rows in outputs.items()
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _knn(vectors: Tensor, labels: Tensor) -> dict[str, float]:
    """Classify every second video of each class by the others, if that means much."""
    if labels.ndim > 1 or (labels < 0).any() or len(labels) < 2:
        return {}
    order = labels.argsort(stable=True)
    bank, queries = order[::2], order[1::2]
    classes = len(labels[bank].unique())
    if classes < 2 or len(labels[bank]) < 2 * classes:
        return {}
    k = min(_NEIGHBORS, len(labels[bank]))
    top1, _ = knn_accuracy(
        vectors[bank], labels[bank], vectors[queries], labels[queries], [k]
    )[k]
    return {'health/knn_top1': top1}
