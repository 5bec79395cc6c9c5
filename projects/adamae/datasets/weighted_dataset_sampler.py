"""Several data sets in given shares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

import numpy as np
import torch
from mmaction.registry import DATA_SAMPLERS
from mmengine.dataset import ConcatDataset
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.logging import print_log
from torch import Tensor
from torch.utils.data import Sampler

# What the orders of an epoch and of a data set are told apart by.
_EPOCH, _DATASET = 0, 1


@DATA_SAMPLERS.register_module()
class WeightedDatasetSampler(Sampler):
    """Draw videos of several data sets in given shares, for training.

    An epoch has ``num_videos`` videos, and data set k gives ``weights[k]`` of each
    ``sum(weights)`` of them, rounded so that they add up: exactly as many in every
    epoch, in random order. From epoch to epoch each data set goes through all of its
    videos, in a new random order every time, before one comes again. So an epoch may
    be longer or shorter than a data set, which may be much larger than another.

    What is drawn depends on seed and epoch only: it is the same on any number of
    processes, which take turns, but for the videos that fill up the last turn, and for
    a run that was interrupted.

    Args:
        dataset (ConcatDataset): the data sets, with or without labels; a label must
            mean the same in all of them.
        weights (Sequence[float]): one per data set; their sum can be any.
        num_videos (int, optional): of an epoch, over all processes. Defaults to None:
            as many as the data sets have together.
        seed (int, optional): of the order, the same on all processes. Defaults to None:
            a random one.

    Raises:
        ValueError: if ``dataset`` is no ``ConcatDataset``, there are not as many
            weights as data sets, one is no number above 0, or a data set gives less
            than one video.
    """

    def __init__(
        self,
        dataset: ConcatDataset,
        weights: Sequence[float],
        num_videos: int | None = None,
        seed: int | None = None,
    ) -> None:
        if not isinstance(dataset, ConcatDataset):
            raise ValueError(
                'WeightedDatasetSampler: expected '
                "train_dataloader.dataset=dict(type='ConcatDataset', datasets=[...]), "
                f'got {type(dataset).__name__}'
            )
        parts = dataset.datasets
        if len(weights) != len(parts) or not all(
            isinstance(weight, int | float) and 0 < weight < inf for weight in weights
        ):
            raise ValueError(
                f'WeightedDatasetSampler.weights: expected {len(parts)} numbers '
                f'above 0, one per data set, got {list(weights)}'
            )
        self.dataset = dataset
        self.rank, self.world_size = get_dist_info()
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0
        self.sizes = [len(part) for part in parts]
        self.num_videos = sum(self.sizes) if num_videos is None else num_videos
        self.counts = _split(self.num_videos, weights)
        names = [
            part.ann_file or next(iter(part.data_prefix.values()), '') for part in parts
        ]
        for number, count in enumerate(self.counts):
            if not count or not self.sizes[number]:
                raise ValueError(
                    f'WeightedDatasetSampler.weights: {weights[number]} of '
                    f'{sum(weights):g} gives no video of {names[number]} '
                    f'({self.sizes[number]} videos) in an epoch of {self.num_videos}; '
                    'raise it, or num_videos'
                )
        shares = (
            f'{count} ({count / self.num_videos:.1%}) of the {size} of {name}, each '
            f'{count / size:.3g} times'
            for count, size, name in zip(self.counts, self.sizes, names, strict=True)
        )
        text = f'an epoch takes {self.num_videos} videos: {"; ".join(shares)}'
        print_log(f'train_dataloader.sampler: {text}', 'current')

    def __len__(self) -> int:
        """The number of samples in this rank."""
        return -(-self.num_videos // self.world_size)

    def __iter__(self) -> Iterator[int]:
        """Iterate over the indices of this rank."""
        starts = np.cumsum([0, *self.sizes]).tolist()
        drawn = [start + self._draw(k) for k, start in enumerate(starts[:-1])]
        order = _permutation(self.num_videos, self.seed, _EPOCH, self.epoch)
        indices = torch.cat(drawn)[order]
        total = len(self) * self.world_size
        indices = indices.repeat(-(-total // self.num_videos))[:total]
        return iter(indices[self.rank :: self.world_size].tolist())

    def _draw(self, number: int) -> Tensor:
        """Take the next videos of a data set, as many as an epoch has of it."""
        size, count = self.sizes[number], self.counts[number]
        first = self.epoch * count
        turns = range(first // size, (first + count - 1) // size + 1)
        orders = [
            _permutation(size, self.seed, _DATASET, number, turn) for turn in turns
        ]
        start = first - turns[0] * size
        return torch.cat(orders)[start : start + count]

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that is drawn next."""
        self.epoch = epoch


def _split(total: int, weights: Sequence[float]) -> list[int]:
    """Split a number by weights; what rounding leaves goes to the largest rests."""
    exact = np.asarray(weights, float) / sum(weights) * total
    counts = np.floor(exact).astype(int)
    # Equal rests, such as of equal weights, go to the first; not by rounding errors.
    rests = np.round(exact - counts, 6)
    counts[np.argsort(-rests, kind='stable')[: total - counts.sum()]] += 1
    return counts.tolist()


def _permutation(size: int, *numbers: int) -> Tensor:
    """Order numbers at random, as ``numbers``, which are not negative, say."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
    return torch.randperm(size, generator=generator)
