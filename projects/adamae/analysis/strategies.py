"""Masking strategies by name: the sampler, the published ratio, the config."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from .study import Method


class Published(NamedTuple):
    """A strategy as its authors use it.

    Attributes:
        title (str): in tables and plots.
        sampler (str): registered class.
        mask_ratio (float): share of masked tokens.
        source (str): where the ratio comes from.
        control_of (str): strategy whose ratio it takes over where a config sets that.
    """

    title: str
    sampler: str
    mask_ratio: float
    source: str
    control_of: str = ''


STRATEGIES = {
    'adaptive': Published(
        'AdaMAE (adaptive)', 'AdaptiveSamplerHead', 0.95, 'as AdaMAE publishes it'
    ),
    'random': Published(
        'random', 'RandomSamplerHead', 0.9, 'as SpatiotemporalMAE publishes it'
    ),
    'tube': Published('tube', 'TubeSamplerHead', 0.9, 'as VideoMAE publishes it'),
    'frame': Published(
        'frame', 'FrameSamplerHead', 0.875, "as in AdaMAE's comparison, Table 1"
    ),
    'frame_difference': Published(
        'frame difference',
        'FrameDifferenceSamplerHead',
        0.95,
        'that of the adaptive sampler, for which it is a control',
        'adaptive',
    ),
}


def percent(ratio: float) -> str:
    """Write a share without needless digits: 0.875 is 87.5%."""
    return f'{100 * ratio:.4g}%'


class Strategy(NamedTuple):
    """A masking strategy with its ratio.

    Attributes:
        name (str): one of :data:`STRATEGIES`.
        mask_ratio (float): share of masked tokens.
        source (str): where the ratio comes from.
        is_own (bool): whether the sampler is that of the config.
    """

    name: str
    mask_ratio: float
    source: str
    is_own: bool

    @property
    def label(self) -> str:
        """Name for people."""
        return f'{STRATEGIES[self.name].title}, {percent(self.mask_ratio)}'

    @property
    def sampler(self) -> dict[str, Any]:
        """What replaces ``model.sampler`` of a config."""
        ratio = dict(mask_ratio=self.mask_ratio)
        if self.is_own:
            return ratio
        return dict(_delete_=True, type=STRATEGIES[self.name].sampler, **ratio)


def read_strategy(text: str, sampler: Any) -> Strategy:
    """Read ``NAME`` or ``NAME@RATIO``.

    Without a ratio, the sampler of the config keeps its own, a control takes that over,
    and the others have the published one.

    Args:
        text (str): from a command line.
        sampler (dict): ``model.sampler`` of the config to be compared.

    Returns:
        Strategy: with its ratio.

    Raises:
        ValueError: if there is no such strategy, or the ratio is none.
    """
    name, at, ratio = text.partition('@')
    if name not in STRATEGIES:
        raise ValueError(
            f'--samplers: expected some of {", ".join(STRATEGIES)}, each perhaps with '
            f'a ratio, such as tube@0.9, got {text!r}'
        )
    published = STRATEGIES[name]
    kind = sampler.get('type')
    own = kind if isinstance(kind, str) else kind.__name__
    is_own = published.sampler == own
    if at:
        try:
            value = float(ratio)
        except ValueError:
            value = 0.0
        if not 0 < value < 1:
            raise ValueError(
                f'--samplers {text}: expected a share of masked tokens between 0 and '
                f'1 after the @, such as {name}@{published.mask_ratio}, got {ratio!r}'
            )
        return Strategy(name, value, 'as asked for', is_own)
    if is_own and 'mask_ratio' in sampler:
        return Strategy(name, sampler['mask_ratio'], 'as the config says', True)
    other = STRATEGIES.get(published.control_of)
    ratio_of_config = sampler.get('mask_ratio', published.mask_ratio)
    value = ratio_of_config if other and other.sampler == own else published.mask_ratio
    return Strategy(name, value, published.source, is_own)


def derive(strategy: Strategy, config: Path, folder: Path) -> tuple[Method, str]:
    """Make a config that is another one with this strategy, and nothing else.

    Args:
        strategy (Strategy): how to mask.
        config (Path): of pre-training.
        folder (Path): of the new config.

    Returns:
        tuple[Method, str]: to pre-train with it, and the content of its config.
    """
    name = f'{strategy.name}_{strategy.mask_ratio:g}'
    settings = ', '.join(f'{k}={v!r}' for k, v in strategy.sampler.items())
    text = (
        f'_base_ = {str(config.resolve())!r}\n\n'
        f'model = dict(sampler=dict({settings}))\n'
    )
    return Method(name, folder / f'{name}.py', label=strategy.label), text
