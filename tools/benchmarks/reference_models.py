"""AdaMAE's pre-training step in plain modules: what our own is compared with.

Written from the paper (arXiv:2211.09120, sec. 3, Algorithm 2) as one would write it
first: attention that holds its N x N matrix, tokens picked by boolean masks, the
target made of all tokens, a loop over the batch in the sampling loss. It is a
yardstick of time and memory; nothing is trained with it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from projects.adamae.analysis.memory import TrainingStep


class Row(NamedTuple):
    """A row of the paper's Table 1 that gives a memory.

    Attributes:
        name (str): what is varied.
        paper (float): GB, batch 16 on one GPU, as printed.
        plain (dict): arguments of :class:`PlainMAE`.
        ours (dict): changes to ``configs/adamae_vitb_ssv2_pretrain.py``.
    """

    name: str
    paper: float
    plain: dict[str, Any]
    ours: dict[str, Any]


def _adaptive(ratio: float, visible: int, paper: float) -> Row:
    return Row(
        f'adaptive, {ratio:.0%} masked',
        paper,
        dict(visible=visible),
        {'model.sampler.mask_ratio': ratio},
    )


def _decoder(depth: int, paper: float) -> Row:
    return Row(
        f'decoder of {depth} blocks',
        paper,
        dict(visible=78, decoder_depth=depth),
        {'model.decoder.depth': depth},
    )


def _fixed(kind: str, ratio: float, visible: int, paper: float) -> Row:
    sampler = dict(type=f'{kind.title()}SamplerHead', mask_ratio=ratio)
    return Row(
        f'{kind}, {ratio:.1%} masked',
        paper,
        dict(visible=visible, sampler_depth=None),
        {'model.sampler': dict(sampler, _delete_=True)},
    )


def _sampler(name: str, paper: float, depth: int, width: int | None = None) -> Row:
    ours: dict[str, Any] = {'model.sampler.depth': depth}
    if width is not None:
        ours['model.sampler.embed_dims'] = width
    return Row(
        f'sampler {name}',
        paper,
        dict(visible=78, sampler_depth=depth, sampler_width=width),
        ours,
    )


# AdaMAE, Table 1.
TABLE1 = (
    _adaptive(0.98, 31, 14.1),
    _adaptive(0.95, 78, 14.4),
    _adaptive(0.90, 156, 15.1),
    _adaptive(0.85, 235, 15.9),
    _adaptive(0.80, 313, 16.9),
    _decoder(1, 9.2),
    _decoder(2, 11.0),
    _decoder(8, 21.3),
    _sampler('MLP', 11.8, 0),
    _sampler('1 block x 384', 14.0, 1, 384),
    _sampler('2 blocks x 384', 17.1, 2, 384),
    _fixed('frame', 0.875, 196, 12.8),
    _fixed('tube', 0.75, 392, 16.2),
    _fixed('tube', 0.9, 160, 14.7),
    _fixed('random', 0.75, 392, 16.2),
    _fixed('random', 0.9, 156, 14.7),
)


class PlainAttention(nn.Module):
    """Multi-head self-attention with its matrix of weights."""

    def __init__(self, width: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend; shape (B, N, D)."""
        b, n, d = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        weights = ((q * self.scale) @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, n, d))


class PlainBlock(nn.Module):
    """Pre-norm transformer block, dropout on what its two halves add."""

    def __init__(
        self, width: int, heads: int, bias: bool = True, drop: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = PlainAttention(width, heads, bias)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Run the block; shape (B, N, D)."""
        x = x + self.drop(self.attn(self.norm1(x)))
        return x + self.drop(self.mlp(self.norm2(x)))


def pick(x: Tensor, mask: Tensor, count: int) -> Tensor:
    """Pick tokens as ``x[mask]`` does.

    Args:
        x (Tensor): shape (B, N, D).
        mask (Tensor): bool, shape (B, N).
        count (int): how many are True in a row. Boolean indexing counts them itself;
            said here, the step can run on fake tensors.

    Returns:
        Tensor: shape (B, count, D).
    """
    b, _, d = x.shape
    rows, columns = torch.nonzero_static(mask, size=b * count).unbind(1)
    return x[rows, columns].reshape(b, count, d)


class PlainMAE(nn.Module):
    """Tokenizer, sampler, encoder, decoder and loss.

    Args:
        visible (int): V, tokens the encoder sees.
        grid (tuple[int, int, int]): tokens along time, rows, columns. Defaults to
            (8, 14, 14).
        width (int): D. Defaults to 768.
        depth (int): blocks of the encoder. Defaults to 12.
        heads (int): of the encoder. Defaults to 12.
        decoder_width (int): width of the decoder. Defaults to 384.
        decoder_depth (int): blocks of the decoder. Defaults to 4.
        decoder_heads (int): of the decoder. Defaults to 6.
        sampler_depth (int, optional): blocks of the sampler; 0 for two linear layers,
            None for a random mask. Defaults to 1.
        sampler_width (int, optional): Defaults to D.
        sampler_heads (int): of the sampler. Defaults to 8.
        patch (int): pixels along each side of a token. Defaults to 16.
        tubelet (int): frames of a token. Defaults to 2.
    """

    def __init__(
        self,
        visible: int,
        grid: tuple[int, int, int] = (8, 14, 14),
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        decoder_width: int = 384,
        decoder_depth: int = 4,
        decoder_heads: int = 6,
        sampler_depth: int | None = 1,
        sampler_width: int | None = None,
        sampler_heads: int = 8,
        patch: int = 16,
        tubelet: int = 2,
    ) -> None:
        super().__init__()
        self.visible, self.grid = visible, grid
        self.patch, self.tubelet = patch, tubelet
        self.tokens = grid[0] * grid[1] * grid[2]
        pixels = 3 * tubelet * patch**2
        size = (tubelet, patch, patch)
        self.embed = nn.Conv3d(3, width, size, stride=size)
        self.pos: Tensor
        self.register_buffer('pos', torch.zeros(1, self.tokens, width))
        self.encoder = nn.Sequential(*(PlainBlock(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.to_decoder = nn.Linear(width, decoder_width, bias=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_width))
        self.decoder_pos: Tensor
        self.register_buffer('decoder_pos', torch.zeros(1, self.tokens, decoder_width))
        self.decoder = nn.Sequential(
            *(PlainBlock(decoder_width, decoder_heads) for _ in range(decoder_depth))
        )
        self.decoder_norm = nn.LayerNorm(decoder_width)
        self.head = nn.Linear(decoder_width, pixels)
        self.scores: nn.Sequential | None = None
        if sampler_depth is not None:
            self.sampler_pos = nn.Parameter(torch.zeros(1, self.tokens, width))
            inner = sampler_width or width
            layers: list[nn.Module] = [
                PlainBlock(inner, sampler_heads, bias=False, drop=0.1)
                for _ in range(sampler_depth)
            ]
            if sampler_depth == 0 or inner != width:
                layers.insert(0, nn.Linear(width, inner))
            self.scores = nn.Sequential(*layers, nn.Linear(inner, 1))

    def draw(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Draw a mask from the tokens (B, N, D): bool (B, N), and probabilities."""
        b, n, _ = x.shape
        if self.scores is None:
            probs, weights = None, torch.ones(b, n, device=x.device)
        else:
            probs = self.scores(x + self.sampler_pos).squeeze(-1).softmax(dim=-1)
            weights = probs
        ids = torch.multinomial(weights, self.visible)
        mask = torch.ones(b, n, device=x.device, dtype=torch.bool)
        return mask.scatter(1, ids, False), probs

    def forward(
        self, clips: Tensor, mean: Tensor, std: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Compute the loss.

        Args:
            clips (Tensor): normalized, shape (B, C, T, H, W), float.
            mean (Tensor): that of the normalization, in [0, 1], shape (C, 1, 1, 1).
            std (Tensor): likewise.
            mask (Tensor, optional): bool, shape (B, N), True where masked. Defaults to
                the one that is drawn.

        Returns:
            tuple[Tensor, tuple[Tensor, ...]]: the sum of both losses, a scalar, and
            what the variables of a script hold until the end of the step.
        """
        x = self.embed(clips).flatten(2).transpose(1, 2)
        drawn, probs = self.draw(x)
        mask = drawn if mask is None else mask
        masked = self.tokens - self.visible
        x = x + self.pos.type_as(x).expand(x.shape[0], -1, -1).clone()
        latents = self.to_decoder(self.norm(self.encoder(pick(x, ~mask, self.visible))))
        pos = self.decoder_pos.type_as(latents).expand(x.shape[0], -1, -1)
        seen = latents + pick(pos, ~mask, self.visible)
        hidden = self.mask_token + pick(pos, mask, masked)
        y = self.decoder(torch.cat([seen, hidden], dim=1))
        pred = self.head(self.decoder_norm(y[:, -masked:]))
        with torch.no_grad():
            pixels = clips * std + mean
            b, (t, h, w), p, u = len(clips), self.grid, self.patch, self.tubelet
            pixels_of = pixels.reshape(b, 3, t, u, h, p, w, p)
            pixels_of = pixels_of.permute(0, 2, 4, 6, 3, 5, 7, 1)
            pixels_of = pixels_of.reshape(b, t * h * w, u * p * p, 3)
            pixels_std = pixels_of.var(dim=2, unbiased=True, keepdim=True).sqrt()
            normed = pixels_of - pixels_of.mean(dim=2, keepdim=True)
            normed = normed / (pixels_std + 1e-6)
            target = pick(normed.flatten(2), mask, masked)
        error = nn.functional.mse_loss(pred, target, reduction='none')
        loss = error.mean()
        if probs is not None:
            reward = error.detach().mean(dim=-1)
            count = torch.zeros((), device=x.device)
            for one, hit, worth in zip(probs, mask, reward, strict=True):
                chosen = pick(one[None, :, None], hit[None], masked).flatten()
                count = count - (chosen.log() * worth).mean()
            loss = loss + 1e-4 * count / x.shape[0]
        return loss, (pixels, pixels_of, normed, target, pred, error)


def plain_step(
    batch_size: int = 16, amp: str | None = 'float16', **sizes: Any
) -> TrainingStep:
    """Make the plain training step, on fake tensors or on the current device.

    Gradients are set to zero and not freed, as PyTorch did when the paper was written.

    Args:
        batch_size (int): clips. Defaults to 16.
        amp (str, optional): that of autocast, None for full precision. Defaults to
            ``'float16'``.
        **sizes: arguments of :class:`PlainMAE`.

    Returns:
        TrainingStep: with AdamW.
    """
    model = PlainMAE(**sizes).train()
    (t, h, w), p, u = model.grid, model.patch, model.tubelet
    clips = torch.zeros(batch_size, 3, t * u, h * p, w * p)
    mean, std = torch.full((3, 1, 1, 1), 0.45), torch.full((3, 1, 1, 1), 0.225)
    optimizer = torch.optim.AdamW(model.parameters(), foreach=True)
    held: list[Any] = []

    def loss() -> Tensor:
        held.clear()
        value, variables = model(clips, mean, std)
        held.append(variables)
        return value

    dtype = None if amp is None else getattr(torch, amp)
    return TrainingStep(model, optimizer, loss, dtype, keep_gradients=True)
