"""Bands in which the curves of healthy runs lie, by recipe.

``bands.json`` is written by ``tools/benchmarks/reference_bands.py`` from finished runs:

- ``bands``: ``{family: {scalar: [[x, low, high], ...]}}``, x in the unit of the curve;
- ``families``: for each family, how it was measured (``how``, ``runs``), and the
  settings of the config that tell its runs from others (``is``) or that matter for the
  curves (``settings``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from mmengine.config import Config

from ..analysis.comparison import Difference, differences
from ..utils.config_text import find_setting
from ..utils.fileio import atomic_path
from .curves import Curve
from .work_folder import read_run

FILE = Path(__file__).with_name('bands.json')
#: x, lowest and highest value.
Band: TypeAlias = list[list[float]]

# What a recipe is: other models have other curves, whatever else is the same.
IDENTITY = (
    'model.type',
    'model.backbone.type',
    'model.backbone.img_size',
    'model.backbone.patch_size',
    'model.backbone.tubelet_size',
    'model.backbone.num_frames',
    'model.backbone.embed_dims',
    'model.backbone.depth',
    'model.decoder.embed_dims',
    'model.decoder.depth',
    'model.cls_head.type',
    'model.cls_head.num_classes',
)
# What may be set otherwise, and moves curves.
SETTINGS = (
    'model.sampler.type',
    'model.sampler.mask_ratio',
    'model.loss.type',
    'model.loss.norm_pix',
    'model.loss.sampling_weight',
    'model.data_preprocessor.mean',
    'model.data_preprocessor.std',
    'model.data_preprocessor.to_rgb',
    'train_dataloader.batch_size',
    'optim_wrapper.type',
    'optim_wrapper.accumulative_counts',
    'optim_wrapper.optimizer',
    'param_scheduler',
    'train_cfg.max_epochs',
)
# Of the machine, or set by the schedule.
_NO_BAND = 'time', 'data_time', 'memory', 'lr', 'base_lr'
# A window of so many points beside each, and room of this share of the band's height on
# either side: a few runs do not show how far healthy ones may be apart.
_BESIDE, _ROOM = 1, 0.5


class Reference(NamedTuple):
    """Bands of the recipe family that a run belongs to.

    Attributes:
        family (str): its name.
        how (str): command and machine of the measurement.
        runs (int): that were measured.
        bands (dict[str, Band]): by name of the scalar.
        differs (list[Difference]): settings of the run that are others than in those
            runs; the old value is theirs.
    """

    family: str
    how: str
    runs: int
    bands: dict[str, Band]
    differs: list[Difference]


def find_reference(cfg: Config, file: Path = FILE) -> Reference | None:
    """Find the bands for a run.

    Args:
        cfg (Config): of the run.
        file (Path): of the bands.

    Returns:
        Reference | None: None if no runs of its kind were measured.
    """
    content = json.loads(file.read_text('utf-8'))
    here = settings_of(cfg, IDENTITY)
    matching = [
        Reference(
            name,
            family['how'],
            family['runs'],
            content['bands'][name],
            [*differences(family['settings'], settings_of(cfg, SETTINGS))],
        )
        for name, family in content['families'].items()
        if family['is'] == here
    ]
    # Of two recipes for one model the one that is more like the run's.
    return min(matching, key=lambda r: len(r.differs)) if matching else None


def settings_of(cfg: Config, keys: Sequence[str]) -> dict[str, Any]:
    """Take some settings out of a config, as JSON has them; None where there is none.

    Args:
        cfg (Config): of a run.
        keys (Sequence[str]): with dots.
    """
    content = cfg.to_dict()
    found = {key: find_setting(content, key) for key in keys}
    return json.loads(json.dumps(found, default=str))


def measure_band(curves: Sequence[Curve]) -> Band:
    """Make a band of the same curve of several runs.

    At every x that all have: the lowest and highest of the runs there and one point
    beside, and half of that height more on either side.

    Args:
        curves (Sequence[Curve]): of at least two runs.

    Returns:
        Band: empty if no x is in all of them.
    """
    values = [dict(curve.finite) for curve in curves]
    shared = sorted(set.intersection(*(set(points) for points in values)))
    band = []
    for i, x in enumerate(shared):
        near = shared[max(0, i - _BESIDE) : i + _BESIDE + 1]
        found = [points[z] for points in values for z in near]
        room = _ROOM * (max(found) - min(found))
        band.append([x, *(_rounded(v) for v in (min(found) - room, max(found) + room))])
    return band


def compare(curve: Curve, band: Band) -> tuple[int, int]:
    """Count the points of a curve that lie in a band.

    Args:
        curve (Curve): of a run.
        band (Band): for it.

    Returns:
        tuple[int, int]: points inside, and points between the ends of the band. A value
        that is not finite is outside.
    """
    inside = total = 0
    for x, y in curve.points:
        for (left, *low), (right, *high) in zip(band, band[1:], strict=False):
            if left <= x <= right:
                share = (x - left) / (right - left)
                bottom, top = (
                    a + share * (b - a) for a, b in zip(low, high, strict=True)
                )
                total += 1
                inside += bottom <= y <= top
                break
    return inside, total


def _rounded(value: float) -> float:
    return float(f'{value:.5g}')


def add_family(
    file: Path, family: str, work_dirs: Sequence[Path], how: str
) -> list[str]:
    """Measure the bands of a family, and write them to a file of bands.

    Args:
        file (Path): of bands; made if it is not there.
        family (str): name of the recipe.
        work_dirs (Sequence[Path]): of at least two healthy runs of it.
        how (str): command and machine of these runs.

    Returns:
        list[str]: names of the scalars.

    Raises:
        ValueError: if the runs do not share model and settings.
        FileNotFoundError: if a folder holds no run.
    """
    if len(work_dirs) < 2:
        raise ValueError('expected at least two runs of a recipe, got one')
    runs = [read_run(folder) for folder in work_dirs]
    for run in runs:
        if run.config is None or not run.curves.by_name:
            raise ValueError(f'{run.folder}: expected a run with config and curves')
    first, *others = (
        (settings_of(cfg, IDENTITY), settings_of(cfg, SETTINGS))
        for run in runs
        if (cfg := run.config) is not None
    )
    for folder, other in zip(work_dirs[1:], others, strict=True):
        for a, b in zip(first, other, strict=True):
            for key, there, here in differences(a, b):
                raise ValueError(
                    f'{folder}: expected a run as that in {work_dirs[0]}, got another '
                    f'{key}: {here} instead of {there}'
                )
    shared = [
        name
        for name in runs[0].curves.by_name
        if name not in _NO_BAND and all(name in r.curves.by_name for r in runs)
    ]
    measured = {
        name: measure_band([run.curves.by_name[name] for run in runs])
        for name in shared
    }
    content: dict[str, Any] = {'families': {}, 'bands': {}}
    if file.exists():
        content = json.loads(file.read_text('utf-8'))
    content['families'][family] = dict(
        how=how, runs=len(runs), **{'is': first[0]}, settings=first[1]
    )
    content['bands'][family] = {name: band for name, band in measured.items() if band}
    with atomic_path(file) as unfinished:
        unfinished.write_text(_lines(content), 'utf-8')
    return [*content['bands'][family]]


def _lines(content: dict[str, Any]) -> str:
    """Write a scalar in each line: readable, and small in a diff."""
    families = ',\n'.join(
        f'  {json.dumps(name)}: {json.dumps(value)}'
        for name, value in content['families'].items()
    )
    bands = ',\n'.join(
        f'  {json.dumps(family)}: {{\n'
        + ',\n'.join(f'   {json.dumps(k)}: {json.dumps(v)}' for k, v in scalars.items())
        + '\n  }'
        for family, scalars in content['bands'].items()
    )
    return f'{{\n "families": {{\n{families}\n }},\n "bands": {{\n{bands}\n }}\n}}\n'
