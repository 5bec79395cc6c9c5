"""A mask that follows change over time and learns nothing."""

from __future__ import annotations

from typing import Any

import torch
from mmaction.registry import MODELS
from torch import Tensor

from .token_sampler import TokenSampler, add_gumbel_noise, check_temperature


@MODELS.register_module()
class FrameDifferenceSamplerHead(TokenSampler):
    """Draw tokens in proportion to how much they differ from one time step before.

    A control for the learned sampler that costs nothing: the distance of a token from
    the one at the same position one step before, ``d = |x_t - x_(t-1)|`` (at the first
    step: from the one after), and ``P`` in proportion to ``d ** (1 / temperature)``;
    V tokens are drawn without replacement, see :func:`add_gumbel_noise`.

    Args:
        temperature (float): 1 draws in proportion to the distance; towards 0 the most
            different tokens always stay, a large value draws uniformly. Defaults
            to 1.
        **kwargs: as in :class:`TokenSampler`.

    Raises:
        ValueError: if the temperature is not positive, or the grid has only one time
            step.
    """

    def __init__(self, temperature: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_temperature(temperature)
        if self.grid_size[0] < 2:
            raise ValueError(
                f'grid_size={self.grid_size}: expected 2 time steps or more, or there '
                'is no difference between steps'
            )
        self.temperature = temperature

    @torch.no_grad()
    def score(self, tokens: Tensor) -> tuple[Tensor, None]:
        """Score by the perturbed logarithm of the distance; nothing is learned."""
        steps = tokens.float().unflatten(1, (self.grid_size[0], -1))
        distance = (steps[:, 1:] - steps[:, :-1]).norm(dim=-1)
        distance = torch.cat([distance[:, :1], distance], dim=1).flatten(1)
        # A still background has the distance 0, and its logarithm must be finite.
        logits = distance.clamp_min(1e-6).log() / self.temperature
        return add_gumbel_noise(logits), None
