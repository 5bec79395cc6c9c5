"""Which curves stand together on the page, and what they mean."""

from __future__ import annotations

import re
from typing import NamedTuple

from markupsafe import Markup

from .bands import Reference, compare
from .charts import draw_chart, number
from .curves import Curve, Curves

# Headings, with the beginnings of the names below them.
_GROUPS = {
    'Training': ('loss', 'grad_norm', 'top1_acc', 'top5_acc'),
    'Validation': ('acc/', 'masking/', 'knn/'),
    'Token sampler': (
        'sampler_entropy',
        *('health/entropy', 'health/effective', 'health/top5', 'health/error'),
        'health/probability',
    ),
    'Features': ('health/rankme', 'health/knn'),
    'Schedule': ('lr', 'base_lr'),
    'Speed and memory': ('time', 'data_time', 'memory'),
    'Others': ('',),
}
# What a name means.
_MEANING = {
    'loss_reconstruction': 'mean squared error of the masked tokens; with normalized '
    'targets a constant prediction has 1',
    'loss_sampling': "the sampler's loss, weight applied; grows as the sampler becomes "
    'sure of itself',
    'loss_cls': 'cross-entropy of the classes',
    'loss': 'sum of all losses',
    'top1_acc': 'accuracy in the batches of the training',
    'top5_acc': 'the same with the likeliest five classes',
    'grad_norm': 'norm of the gradients before clipping',
    'sampler_entropy': 'entropy of the token probabilities over that of equal ones: 1 '
    'prefers nothing, near 0 always takes the same few',
    'health/entropy': 'the same, of one batch',
    'health/effective_tokens': 'so many equally likely tokens have the same entropy; '
    'below the number drawn, the sampler has collapsed',
    'health/top5_share': 'share of the probability in the most probable 5% of tokens',
    'health/error_correlation': 'rank correlation of probability and error: does the '
    'sampler look where the error is large?',
    'health/probability_time': 'probability of each time step; 1: as the average one',
    'health/probability_distance': 'probability by distance from the center (0) to the '
    'edge (3) of the frame; 1: as the average place',
    'health/rankme': 'how many directions the features use; falls where they collapse',
    'health/rankme_layer': 'the same after some blocks of the encoder',
    'health/knn_top1': 'k-NN accuracy of 128 videos: coarse, 4 to 6 points either way',
    'masking/enrichment': 'share of the sampled tokens on the object, over the share '
    'of all tokens there; 1: as random sampling',
    'masking/reconstruction': 'error of the rebuilt tokens of held-out videos',
    'masking/prob_mass_object': 'probability on the object, over that of equal ones',
    'masking/error_object': 'error of the tokens on the object',
    'masking/error_background': 'error of the other tokens',
    'acc/top1': 'share of the videos whose likeliest class is right',
    'acc/top5': 'share of the videos with the right class among the likeliest five',
    'acc/mean1': 'top-1 accuracy, averaged over classes',
    'lr': 'learning rate of the first parameter group',
    'base_lr': 'learning rate without the decay by layers',
    'data_time': 'seconds a step waits for its batch',
    'time': 'seconds a step takes, with its wait for the batch',
    'memory': 'MiB of GPU memory, the largest so far',
}
# Curves of one meaning, drawn together.
_NUMBERED = re.compile(r'(.*_(?:time|distance|layer))_(\d+)')
_SAME_AS = {'health/entropy': 'sampler_entropy', 'base_lr': 'lr'}


class Panel(NamedTuple):
    """A chart and what is said of it.

    Attributes:
        title (str): names of the curves.
        meaning (str): in a few words; '' if unknown.
        last (str): the last value.
        svg (Markup): the chart.
        legend (list[str]): of several lines.
        verdict (str): how the curve lies to the band of healthy runs; '' without.
        is_outside (bool): whether many of its points lie outside that.
        note (str): what cannot be drawn.
    """

    title: str
    meaning: str
    last: str
    svg: Markup
    legend: list[str]
    verdict: str
    is_outside: bool
    note: str


def make_panels(curves: Curves, reference: Reference | None) -> dict[str, list[Panel]]:
    """Draw all curves of a run.

    Args:
        curves (Curves): of the run.
        reference (Reference, optional): bands of healthy ones.

    Returns:
        dict[str, list[Panel]]: by heading; none is empty.
    """
    together: dict[str, dict[str, Curve]] = {}
    for name, curve in curves.by_name.items():
        same = curves.by_name.get(_SAME_AS.get(name, ''))
        if same and (name == 'health/entropy' or same.points == curve.points):
            continue
        match = _NUMBERED.fullmatch(name)
        title = match[1] if match else name
        together.setdefault(title, {})[match[2] if match else name] = curve
    groups: dict[str, list[Panel]] = {heading: [] for heading in _GROUPS}
    for title, lines in together.items():
        heading = next(h for h, names in _GROUPS.items() if title.startswith(names))
        groups[heading].append(_panel(title, lines, curves.resumed_at, reference))
    return {heading: panels for heading, panels in groups.items() if panels}


def _panel(
    title: str,
    lines: dict[str, Curve],
    resumed_at: list[int],
    reference: Reference | None,
) -> Panel:
    curve = next(iter(lines.values()))
    is_one = len(lines) == 1
    band = reference.bands.get(title) if reference and is_one else None
    verdict, is_outside = '', False
    if band:
        inside, total = compare(curve, band)
        is_outside = 2 * inside < total
        verdict = f'{inside} of {total} points in the band' if total else ''
    lost = sum(len(c.points) - len(c.finite) for c in lines.values())
    note = f'{lost} values are NaN or infinite and not drawn' if lost else ''
    numbered = {int(k): c for k, c in lines.items()} if not is_one else {}
    ordered = {str(k): numbered[k] for k in sorted(numbered)} or lines
    return Panel(
        title,
        _MEANING.get(title, ''),
        number(curve.points[-1][1]) if is_one else '',
        draw_chart(title, ordered, band, resumed_at),
        [] if is_one else [*ordered],
        verdict,
        is_outside,
        note,
    )
