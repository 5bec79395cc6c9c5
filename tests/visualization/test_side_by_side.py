"""What several models make of one video, side by side."""

import numpy as np
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

from projects.adamae.apis.clips import Clip
from projects.adamae.apis.pictures import look
from projects.adamae.visualization import sheet
from tests.helpers import tiny_model_cfg, tiny_spatiotemporal_cfg


def random_clip():
    sample = ActionDataSample()
    sample.set_metainfo(dict(frame_inds=np.arange(5, 13)))
    pixels = torch.randint(0, 100, (1, 3, 8, 16, 16), dtype=torch.uint8)
    return Clip('a/b.mp4', dict(inputs=pixels, data_samples=sample))


def test_a_row_for_each_model():
    """Visible tokens show the video, all others are gray; frames have their numbers."""
    samplers = {
        'AdaMAE (adaptive), 75%': None,
        'frame, 75%': dict(type='FrameSamplerHead', mask_ratio=0.75),
    }
    models = {k: MODELS.build(tiny_model_cfg(v)).eval() for k, v in samplers.items()}
    clip = random_clip()
    picture = look(models, clip, ('video', 'masked input'), seed=0)
    assert picture.title == 'a/b.mp4' and picture.numbers == [*range(5, 13)]
    assert picture.columns == [0, 2, 4, 6]
    assert [label.split('\n')[0] for label in picture.lines] == [*samplers]
    pixels = clip.packed['inputs'][0].permute(1, 2, 3, 0).numpy()
    for rows in picture.lines.values():
        assert (rows['video'].images == pixels).all()
        masked = rows['masked input'].images
        shown = (masked == pixels).all(-1)
        assert shown.mean() == 0.25
        assert (masked[~shown] == 128).all()
    assert shown.all((1, 2)).sum() == 2, 'a time step of the frame mask'
    assert picture.sheet().ndim == 3


def test_only_frames_that_all_models_predict():
    """SpatiotemporalMAE predicts some: no others stand above or below these."""
    models = {
        'all': MODELS.build(tiny_model_cfg()).eval(),
        'some': MODELS.build(tiny_spatiotemporal_cfg()).eval(),
    }
    clip = random_clip()
    predicted = [0, 2, 4, 7]
    pixels = clip.packed['inputs'][0, :, predicted].permute(1, 2, 3, 0).numpy()
    for names in (['all', 'some'], ['some', 'all']):
        picture = look({name: models[name] for name in names}, clip, seed=0)
        assert picture.numbers == [5, 7, 9, 12] and picture.columns == [0, 1, 2, 3]
        for rows in picture.lines.values():
            np.testing.assert_array_equal(rows['video'].images, pixels)
            assert {len(row.images) for row in rows.values()} == {4}
        assert len([*picture.frames()]) == 4
        assert picture.sheet().ndim == 3


def test_labels_have_room():
    row = sheet.Row(np.zeros((2, 8, 8, 3), np.uint8))
    short = sheet.assemble({'video': row})
    long = sheet.assemble({'video': row, 'frame difference, 87.5%': row})
    margins = [(p < 255).any((0, 2)).argmax() for p in (short, long)]
    assert min(margins) > 0 and long.shape[1] > short.shape[1]
