"""What a study comes to: its table, its plot and the masks of its models."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from mmengine.runner import set_random_seed

from ..analysis import study
from ..apis.clips import Clip, dataset_clips
from ..apis.models import load_model
from ..apis.pictures import run_model
from ..visualization.files import save_picture
from ..visualization.picture import make_picture
from .configs import load_config
from .study_checks import StudyPlan


def report_study(
    plan: StudyPlan, results: study.Results, seed: int, out: Path, draws: bool
) -> None:
    """Write ``table.md`` and ``plot.png``, and print the table.

    Args:
        plan (StudyPlan): of the study.
        results (Results): that are known; if there are none, nothing is written.
        seed (int): whose models are drawn.
        out (Path): folder of the study.
        draws (bool): write ``masks.png``, too: what each pre-trained model sees of
            the first video that can be read.
    """
    if not any(results.values()):
        return
    text = study.table(results, plan.levels)
    notes = ''.join(f'\n- {note}' for note in plan.notes)
    (out / 'table.md').write_text(f'{text}\n' + (f'{notes}\n' if notes else ''))
    study.plot(results, out / 'plot.png', plan.levels)
    print(text)
    if draws:
        _draw_masks(plan.methods, seed, out)


def _draw_masks(methods: Sequence[study.Method], seed: int, out: Path) -> None:
    found = []
    for method in methods:
        if method.pretrains:
            arguments = dict(cfg_options={}, work_dir='', launcher='none')
            cfg = load_config(Namespace(config=str(method.config), **arguments))
            folder = out / method.name / str(seed) / 'pretrain'
            checkpoint = folder / study.final_checkpoint(cfg)
            if checkpoint.exists():
                found.append((method.title, cfg, str(checkpoint)))
    if not found:
        return
    set_random_seed(0)
    cfg = found[0][1]
    split = 'val' if cfg.get('val_dataloader') else 'train'
    clips = dataset_clips(cfg, split, 8, seed=0)
    clip = next((clip for clip in clips if isinstance(clip, Clip)), None)
    if clip:
        # One model is in memory at a time.
        known = {
            title: run_model(load_model(cfg, path), clip, seed=0)
            for title, cfg, path in found
        }
        rows = 'video', 'masked input'
        picture = make_picture(clip.packed['inputs'][0], known, clip.name, rows)
        save_picture(picture, out / 'masks.png')
        print(out / 'masks.png')
