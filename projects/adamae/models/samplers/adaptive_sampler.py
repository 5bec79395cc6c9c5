"""The learned sampler of AdaMAE."""

from __future__ import annotations

from math import log

import torch
from mmaction.registry import MODELS
from mmaction.utils import ConfigType
from mmengine.model import Sequential
from torch import Tensor, nn

from ..transformer import TransformerBlock
from .token_sampler import TokenSampler, add_gumbel_noise, check_temperature


def log_distribution(
    logits: Tensor, temperature: float = 1.0, mix_uniform: float = 0.0
) -> Tensor:
    """Turn logits into the log of a categorical distribution.

    ``P = (1 - mix_uniform) * softmax(logits / temperature) + mix_uniform / N``; the log
    of the sum is taken of logs, so that it is finite where the softmax underflows.

    Args:
        logits (Tensor): shape (B, N), float; computed in float32.
        temperature (float): larger than 0. Defaults to 1.
        mix_uniform (float): share of the uniform distribution, in [0, 1). Defaults to
            0.

    Returns:
        Tensor: shape (B, N), float32.
    """
    # In half precision a softmax over 1568 tokens underflows: its log is -inf.
    logits = logits.float()
    if temperature != 1:
        logits = logits / temperature
    log_probs = logits.log_softmax(dim=-1)
    if mix_uniform:
        floor = torch.full_like(log_probs, log(mix_uniform / logits.shape[-1]))
        log_probs = torch.logaddexp(log_probs + log(1 - mix_uniform), floor)
    return log_probs


@MODELS.register_module()
class AdaptiveSamplerHead(TokenSampler):
    """Draw tokens from a learned categorical distribution (AdaMAE, sec. 3.1, eq. 1).

    ``P = softmax(Linear(Z))`` with ``Z = MHA(X)``, where MHA is one whole pre-norm
    transformer block without qkv bias. The V visible tokens are drawn from P without
    replacement, see :func:`add_gumbel_noise`.

    Args:
        mask_ratio (float): share of masked tokens. Defaults to 0.95.
        grid_size (tuple[int, int, int]): tokens along time, rows, columns. Defaults
            to (8, 14, 14).
        in_channels (int): D, width of the tokens. Defaults to 768.
        embed_dims (int, optional): width of the sampler; if it is not D, a linear
            layer maps the tokens first. Defaults to D.
        depth (int): transformer blocks; 0 gives the paper's "MLP" sampler,
            ``Linear(D, D), Linear(D, 1)``. Defaults to 1.
        num_heads (int): attention heads. Defaults to 8.
        mlp_ratio (float): hidden width of a block's MLP over its width. Defaults to 4.
        drop_rate (float): dropout on the outputs of attention and MLP. With 0, the
            last block's MLP and the head are fused, which saves a quarter of the
            sampler's arithmetic. Defaults to 0.1.
        detach_tokens (bool): keep the gradient of the sampling loss from the
            tokenizer, which is the strict reading of sec. 3.3. Defaults to False, as
            in the paper's Algorithm 2.
        temperature (float): the logits are divided by it: above 1 the distribution
            is flatter, below 1 sharper. Defaults to 1.
        mix_uniform (float): share of the uniform distribution in P (epsilon), in
            [0, 1). Defaults to 0.
        norm_cfg (dict): normalization layer. Defaults to LayerNorm with eps 1e-5.
        with_cp (bool): activation checkpointing in the blocks. Defaults to False.
        init_cfg (dict): initialization. Defaults to Xavier uniform.

    Raises:
        ValueError: if the ratio is outside (0, 1) or leaves no visible or no masked
            token, if ``num_heads`` does not divide the width, the temperature is not
            positive or ``mix_uniform`` outside [0, 1).
    """

    def __init__(
        self,
        mask_ratio: float = 0.95,
        grid_size: tuple[int, int, int] = (8, 14, 14),
        in_channels: int = 768,
        embed_dims: int | None = None,
        depth: int = 1,
        num_heads: int = 8,
        mlp_ratio: float = 4.0,
        drop_rate: float = 0.1,
        detach_tokens: bool = False,
        temperature: float = 1.0,
        mix_uniform: float = 0.0,
        norm_cfg: ConfigType = dict(type='LN', eps=1e-5),
        with_cp: bool = False,
        init_cfg: ConfigType = dict(
            type='Xavier', layer='Linear', distribution='uniform'
        ),
    ) -> None:
        super().__init__(mask_ratio, grid_size, in_channels, init_cfg=init_cfg)
        check_temperature(temperature)
        if not 0 <= mix_uniform < 1:
            raise ValueError(
                f'mix_uniform: expected a share in [0, 1), got {mix_uniform}'
            )
        self.temperature = temperature
        self.mix_uniform = mix_uniform
        width = embed_dims or in_channels
        self.detach_tokens = detach_tokens
        self.pos_embed = nn.Parameter(torch.zeros(1, self.num_tokens, in_channels))
        maps_tokens = depth == 0 or width != in_channels
        self.proj = nn.Linear(in_channels, width) if maps_tokens else nn.Identity()
        self.blocks = Sequential(
            *[
                TransformerBlock(
                    width,
                    num_heads,
                    with_cp=with_cp,
                    mlp_ratio=mlp_ratio,
                    qkv_bias=False,
                    norm_cfg=norm_cfg,
                )
                for _ in range(depth)
            ]
        )
        for block in self.blocks:
            # MMCV's FFN would also drop hidden units; the published block does not.
            block.drop_path = nn.Dropout(drop_rate)
        self.head = nn.Linear(width, 1)
        self.fuses_head = depth > 0 and self.blocks[-1].can_fuse_head

    def score(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Score tokens by perturbed log-probabilities.

        Args:
            tokens (Tensor): shape (B, N, D), float.

        Returns:
            tuple[Tensor, Tensor]: perturbed log-probabilities, without gradient, and
            log-probabilities, float32, (B, N).
        """
        if self.detach_tokens:
            tokens = tokens.detach()
        logits = self._logits(self.proj(tokens + self.pos_embed)).squeeze(-1)
        log_probs = log_distribution(logits, self.temperature, self.mix_uniform)
        return add_gumbel_noise(log_probs.detach()), log_probs

    def _logits(self, x: Tensor) -> Tensor:
        if not self.fuses_head:
            return self.head(self.blocks(x))
        *blocks, last = self.blocks
        for block in blocks:
            x = block(x)
        return last(x, head=self.head)
