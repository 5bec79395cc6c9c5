"""The running cell of VideoMAE V2."""

from __future__ import annotations

import torch
from mmaction.registry import MODELS
from torch import Tensor

from .token_subset import TokenSubset


def probabilities_by_phase(phases: Tensor, count: int, num_phases: int) -> Tensor:
    """Compute each token's probability to be chosen, over uniform offsets.

    Args:
        phases (Tensor): of the masked tokens, int64, shape (B, M), in [0, C).
        count (int): K.
        num_phases (int): C.

    Returns:
        Tensor: in (0, 1], their sum is K, shape (B, M), float32.
    """
    steps = torch.arange(num_phases, device=phases.device)
    sizes = (phases.unsqueeze(-1) == steps).sum(dim=1)
    # (B, offset, rank): tokens in the phase that has this rank at this offset.
    sizes = sizes[:, (steps[:, None] + steps) % num_phases]
    room = count - (sizes.cumsum(dim=-1) - sizes)
    by_rank = (room / sizes.clamp_min(1)).clamp(0, 1)
    # (B, offset, phase), then the mean over offsets.
    by_phase = by_rank[:, steps[:, None], (steps - steps[:, None]) % num_phases].mean(1)
    return by_phase.gather(1, phases)


@MODELS.register_module()
class RunningCellSubset(TokenSubset):
    """Choose by a pattern of small cells that runs on from step to step.

    VideoMAE V2 (arXiv:2303.16727, sec. 3.2): the same positions of every 2 x 2 cell are
    chosen, and with every time step the choice moves on by one position, so that a few
    steps cover all of them. Here it starts at a random position in each clip; how many
    masked tokens a pattern hits differs from clip to clip, and exactly K are predicted:
    positions of the cell are taken in turn, the last one in part, at random. The
    probability of a token then depends on the mask: it is computed, and its inverse is
    the weight. Where masked tokens are spread evenly over the positions, all weights
    are 1 / K.

    Args:
        cell_size (tuple[int, int]): rows and columns of a cell. Defaults to (2, 2).
        keep_ratio (float): see :class:`TokenSubset`. Defaults to 0.5.
        grid_size (tuple[int, int, int]): see :class:`TokenSubset`.

    Raises:
        ValueError: if the ratio is outside (0, 1], or a cell has no rows or columns.
    """

    phases: Tensor

    def __init__(
        self,
        cell_size: tuple[int, int] = (2, 2),
        keep_ratio: float = 0.5,
        grid_size: tuple[int, int, int] = (8, 14, 14),
    ) -> None:
        super().__init__(keep_ratio, grid_size)
        if len(cell_size) != 2 or min(cell_size) < 1:
            raise ValueError(
                'cell_size: expected rows and columns, 1 or more of each, got '
                f'{cell_size}'
            )
        high, wide = cell_size
        self.num_phases = high * wide
        steps, rows, columns = (torch.arange(size) for size in grid_size)
        position = rows[:, None] % high * wide + columns % wide
        phases = (position - steps[:, None, None]) % self.num_phases
        self.register_buffer('phases', phases.flatten(), persistent=False)

    def forward(
        self, masked_ids: Tensor, log_probs: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Choose; see :meth:`TokenSubset.forward`."""
        batch, masked = masked_ids.shape
        count, device = self.count(masked), masked_ids.device
        phases = self.phases[masked_ids]
        # The tokens whose phases come first after a random one; of the last, some.
        offsets = torch.randint(self.num_phases, (batch, 1), device=device)
        noise = torch.rand(masked_ids.shape, device=device)
        ranks = (phases - offsets) % self.num_phases + noise
        chosen = ranks.topk(count, dim=1, largest=False, sorted=False).indices
        probs = probabilities_by_phase(phases, count, self.num_phases)
        weights = 1 / (masked * probs.gather(1, chosen))
        return masked_ids.gather(1, chosen), weights
