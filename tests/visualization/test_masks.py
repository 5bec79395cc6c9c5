"""What several strategies see of one video, side by side."""

import numpy as np
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

from projects.adamae.apis import pictures
from projects.adamae.visualization import sheet
from tests.helpers import tiny_model_cfg


def test_a_row_for_each_model(monkeypatch):
    """Visible tokens show the video, all others are gray; frames have their numbers."""
    drawn = []
    original = pictures.assemble
    monkeypatch.setattr(
        pictures,
        'assemble',
        lambda *arguments: drawn.append(arguments) or original(*arguments),
    )
    samplers = {
        'AdaMAE (adaptive), 75%': None,
        'frame, 75%': dict(type='FrameSamplerHead', mask_ratio=0.75),
    }
    models = (
        (name, MODELS.build(tiny_model_cfg(sampler)).eval())
        for name, sampler in samplers.items()
    )
    sample = ActionDataSample()
    sample.set_metainfo(dict(frame_inds=np.arange(5, 13)))
    clip = torch.randint(0, 100, (1, 3, 8, 16, 16), dtype=torch.uint8)
    packed = dict(inputs=clip, data_samples=sample)
    picture = pictures.draw_masks(models, pictures.Clip('a/b.mp4', packed))
    assert picture.dtype == np.uint8 and picture.ndim == 3
    rows, title, frames = drawn[0]
    assert title.startswith('a/b.mp4') and frames == [5, 7, 9, 11]
    assert [*rows] == ['video', *samplers]
    video = rows['video'].images
    assert (video == clip[0, :, ::2].permute(1, 2, 3, 0).numpy()).all()
    for name in samplers:
        shown = (rows[name].images == video).all(-1)
        assert shown.mean() == 0.25
        assert (rows[name].images[~shown] == 128).all()
    frame = (rows['frame, 75%'].images == video).all((1, 2, 3))
    assert frame.sum() == 1


def test_labels_have_room():
    row = sheet.Row(np.zeros((2, 8, 8, 3), np.uint8))
    short = sheet.assemble({'video': row})
    long = sheet.assemble({'video': row, 'frame difference, 87.5%': row})
    margins = [(p < 255).any((0, 2)).argmax() for p in (short, long)]
    assert min(margins) > 0 and long.shape[1] > short.shape[1]
