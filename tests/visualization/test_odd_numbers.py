"""Numbers that are none, and names that no terminal should see."""

import io
import warnings

import numpy as np
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from PIL import Image

from projects.adamae.apis.clips import Clip
from projects.adamae.apis.pictures import look
from projects.adamae.visualization.files import save_picture
from projects.adamae.visualization.picture import make_picture
from projects.adamae.visualization.rows import BAD, prediction_rows
from tests.helpers import tiny_model_cfg
from tests.visualization.test_pictures import toy_loss, toy_prediction

WRONG = tuple(round(255 * part) for part in BAD)


def odd_prediction():
    """Token 5 of 12 is wrong in all that a model says: step 0, the lower right one."""
    clip, sample = toy_prediction()
    for name in ('pred', 'token_error', 'probs'):
        sample.get(name)[5] = torch.nan
    sample.token_error[7] = torch.inf
    return clip, sample


def test_a_token_that_is_no_number_leaves_the_others_their_colors():
    clip, sample = odd_prediction()
    with warnings.catch_warnings():
        warnings.simplefilter('error', RuntimeWarning)
        rows = prediction_rows(clip, sample, toy_loss())
    good = prediction_rows(*toy_prediction(), toy_loss())
    for name in ('prediction', 'honest prediction', 'error', 'probability'):
        assert (rows[name].images[0, 8:, 16:] == WRONG).all(), name
        assert 'NaN' in rows[name].note and 'NaN' not in good[name].note
        rest = (rows[name].images != WRONG).any(-1)
        rest[0, 8:, 16:] = True
        assert rest.all(), name
    assert (
        rows['probability'].colors.get_clim() == good['probability'].colors.get_clim()
    )
    assert (rows['error'].images[1, :8, 8:16] == rows['error'].images[1, 8:, 16:]).all()
    assert np.isfinite(rows['error'].colors.get_clim()).all()
    for name in ('video', 'masked input', 'mask'):
        assert (rows[name].images == good[name].images).all()


def test_it_keeps_its_color_in_a_moving_picture(tmp_path):
    clip, sample = odd_prediction()
    pixels = (255 * clip).byte()
    picture = make_picture(pixels, {'': (sample, toy_loss())}, 'a\nb\x1b.mp4')
    assert picture.title.startswith(r'a\nb\x1b.mp4')
    save_picture(picture, tmp_path / 'a.gif')
    content = io.BytesIO((tmp_path / 'a.gif').read_bytes())
    frame = np.asarray(Image.open(content).convert('RGB'))
    assert (frame == WRONG).all(-1).any()


def test_colors_are_in_the_order_of_the_model():
    """A model that swaps red and blue of what it gets: both sides of a picture do."""
    torch.manual_seed(0)
    cfg = tiny_model_cfg()
    cfg['data_preprocessor']['to_rgb'] = True
    model = MODELS.build(cfg).eval()
    cfg['data_preprocessor']['to_rgb'] = False
    plain = MODELS.build(cfg).eval()
    plain.load_state_dict(model.state_dict())
    bgr = torch.randint(0, 256, (1, 3, 8, 16, 16), dtype=torch.uint8)

    def drawn(model, inputs):
        packed = dict(inputs=inputs, data_samples=ActionDataSample())
        return look({'': model}, Clip('a', packed), seed=0).sheet()

    assert (drawn(model, bgr) == drawn(plain, bgr.flip(1))).all()
