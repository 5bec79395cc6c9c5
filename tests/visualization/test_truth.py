"""What is drawn is what the model made of the video, in every kind of file."""

import types

import av
import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from PIL import Image

from projects.adamae.apis import pictures
from projects.adamae.apis.clips import video_clips
from projects.adamae.models.data_preprocessors import BatchedDataPreprocessor
from projects.adamae.models.losses import AdaMAELoss, SpatiotemporalMAELoss
from projects.adamae.models.tokens import patchify, token_statistics
from projects.adamae.video.writer import encode_video
from projects.adamae.visualization import sheet
from projects.adamae.visualization.files import save_picture
from projects.adamae.visualization.neighbors import from_neighbors
from projects.adamae.visualization.rows import Row, rebuild_clip
from tests.helpers import tiny_model_cfg, tiny_spatiotemporal_cfg

GRID, SIDE = (4, 4, 4), 8
SHAPE = dict(token_shape=(2, SIDE, SIDE, 3), grid_size=GRID)
TOKENS = 64
RNG = np.random.default_rng(0)
COLORS = RNG.integers(40, 216, (TOKENS, 3))
MASK = RNG.permutation(TOKENS) >= 16
PREDICTED = RNG.integers(40, 216, (TOKENS, 3))
ERROR = RNG.permutation(TOKENS) / TOKENS * 3
PROBS = RNG.permutation(TOKENS) + 1.0


def painted(colors):
    """A frame for each time step: shape (4, 32, 32, 3)."""
    images = np.asarray(colors).reshape(*GRID, 3)
    return images.repeat(SIDE, 1).repeat(SIDE, 2).astype(np.uint8)


class KnownModel:
    """Predicts one color for each token, as an untrained or a raw-pixel model."""

    def __init__(self, norm_pix):
        self.criterion = AdaMAELoss(norm_pix=norm_pix, **SHAPE)
        self.backbone = types.SimpleNamespace(clip_size=(8, 32, 32))
        self.data_preprocessor = BatchedDataPreprocessor(format_shape='NCTHW')

    def val_step(self, data):
        sample = ActionDataSample()
        sample.set_metainfo(dict(frame_inds=np.arange(8)))
        sample.mask = torch.from_numpy(MASK)
        raw = torch.from_numpy(PREDICTED / 255).float()
        flat = raw[:, None].expand(-1, 2 * SIDE * SIDE, -1).flatten(1)
        sample.pred = (
            torch.zeros(flat.shape) if self.criterion.target.norm_pix else flat
        )
        sample.token_error = torch.from_numpy(ERROR * MASK).float()
        sample.probs = torch.from_numpy(PROBS / PROBS.sum()).float()
        return [sample]


def read_back(path):
    """The frames of a file, (T, H, W, 3)."""
    if path.suffix == '.mp4':
        with av.open(str(path)) as container:
            frames = container.decode(video=0)
            return np.stack([frame.to_ndarray(format='rgb24') for frame in frames])
    image = Image.open(path)
    frames = []
    for index in range(getattr(image, 'n_frames', 1)):
        image.seek(index)
        frames.append(np.asarray(image.convert('RGB')))
    return np.stack(frames)


def places(picture, kind):
    """Top, bottom, left and right of each image: the same, in one color each."""
    marks, lines = {}, {}
    for line, rows in picture.lines.items():
        lines[line] = {}
        for number, (name, row) in enumerate(rows.items()):
            images = np.zeros_like(row.images)
            for step, image in enumerate(images):
                image[:] = marks[name, step] = 201, 10 * number, step
            lines[line][name] = row._replace(images=images)
    marked = picture._replace(lines=lines)
    drawn = [marked.sheet()] * 4 if kind == 'png' else [*marked.frames()]
    columns = picture.columns if kind == 'png' else [*range(8)]
    found = {}
    for (name, frame), color in marks.items():
        if frame not in columns:
            continue
        place = columns.index(frame)
        y, x = np.nonzero((drawn[place] == color).all(-1))
        found[name, place] = y[0], y[-1] + 1, x[0], x[-1] + 1
    return found


def tokens_of(image):
    """Mean color of the inner half of each token, shape (16, 3)."""
    side = len(image) // 4
    cells = image.reshape(4, side, 4, side, 3)[:, side // 4 : -side // 4]
    cells = cells[:, :, :, side // 4 : -side // 4]
    return cells.mean((1, 3)).reshape(16, 3)


def values_of(colors, bar):
    """Read numbers from colors, by the colors of a bar, whose last is 0."""
    distance = np.abs(colors[:, None] - bar[None].astype(float)).sum(-1)
    return 1 - distance.argmin(1) / (len(bar) - 1)


def number_beside(frame, top, left, candidates):
    """Tell which of some numbers stands at the top of a color bar."""
    differences = []
    for text in candidates:
        canvas = sheet._Canvas.empty(40, 14)
        canvas.write((0, 0), text, sheet._NUMBER)
        expected = np.asarray(canvas.image).astype(float)
        found = frame[top : top + 14, left : left + 40]
        differences.append(np.abs(found - expected[:, : found.shape[1]]).mean())
    return candidates[int(np.argmin(differences))]


@pytest.mark.parametrize(
    ('kind', 'norm_pix'),
    [('png', True), ('gif', True), ('mp4', True), ('png', False)],
)
def test_the_picture_is_the_truth(tmp_path, kind, norm_pix):
    video = painted(COLORS).repeat(2, axis=0)
    (tmp_path / 'a.mp4').write_bytes(encode_video(video, fps=10))
    model = KnownModel(norm_pix)
    clip = video_clips(model.backbone.clip_size, [str(tmp_path / 'a.mp4')])[0]
    picture = pictures.look({'': model}, clip)
    save_picture(picture, tmp_path / f'picture.{kind}')
    frames = read_back(tmp_path / f'picture.{kind}')
    assert len(frames) == (1 if kind == 'png' else 8)
    where = places(picture, kind)
    # As it was before the video was compressed, and the picture, and 256 colors.
    close = dict(atol=16)
    expected = {
        'video': COLORS,
        'masked input': np.where(MASK[:, None], 128, COLORS),
        'prediction': COLORS,  # of zeros, with the true means put back
        'honest prediction': np.where(MASK[:, None], PREDICTED, COLORS),
    }
    if norm_pix:
        means = from_neighbors(
            torch.from_numpy(COLORS[~MASK]).float(), torch.from_numpy(MASK), GRID
        )
        expected['honest prediction'] = means.numpy()
    else:
        del expected['prediction']
        assert ('prediction', 0) not in where
    for step in range(4 if kind == 'png' else 8):
        frame = frames[0 if kind == 'png' else step]
        time = step if kind == 'png' else step // 2
        here = slice(16 * time, 16 * time + 16)

        def image(name, frame=frame, step=step):
            top, bottom, left, right = where[name, step]
            return frame[top:bottom, left:right]

        for name, colors in expected.items():
            np.testing.assert_allclose(
                tokens_of(image(name)), colors[here], err_msg=name, **close
            )
        light = tokens_of(image('mask')).mean(-1)
        assert ((light < 128) == MASK[here]).all()
        gray = np.abs(tokens_of(image('error')) - 128).max(-1) < 6
        assert (gray == ~MASK[here]).all()
        tops = dict(
            error=np.quantile(ERROR[MASK], 0.98),
            probability=PROBS.max() / PROBS.mean(),
        )
        for name, values in (('error', ERROR), ('probability', PROBS / PROBS.mean())):
            top, bottom, _, right = where[name, 3 if kind == 'png' else step]
            bar_left = right + np.argmax((frame[top + 2, right:] < 250).any(-1))
            bar = frame[top:bottom, bar_left + 4 : bar_left + 8].mean(1)
            row = picture.lines[''][name]
            cmap = sheet.color_table(row.colors, bottom - top)[::-1]
            # Its ends lie next to white, with which a video mixes colors.
            np.testing.assert_allclose(bar[4:-4], cmap[4:-4], atol=14)
            read = values_of(tokens_of(image(name)), bar) * tops[name]
            shown = MASK[here] if name == 'error' else np.full(16, True)
            wanted = values[here].clip(max=tops[name])
            np.testing.assert_allclose(
                read[shown], wanted[shown], atol=0.04 * tops[name], err_msg=name
            )
            sign = '\u2265' if name == 'error' else ''
            right_one = f'{sign}{tops[name]:.3g}'
            others = [f'{sign}{share * tops[name]:.3g}' for share in (0.7, 0.9, 1.2)]
            others.append(f'{tops[name]:.3g}' if sign else f'\u2265{right_one}')
            place = bar_left + sheet._BAR + 4
            assert number_beside(frame, top, place, [*others, right_one]) == right_one


HONEST = dict(
    adaptive=tiny_model_cfg(),
    tube=tiny_model_cfg(dict(type='TubeSamplerHead', mask_ratio=0.75)),
    raw=tiny_model_cfg(loss=dict(type='AdaMAELoss', norm_pix=False)),
    frames=tiny_spatiotemporal_cfg(),
)


@pytest.mark.parametrize('kind', HONEST)
def test_the_honest_prediction_uses_no_hidden_pixel(kind):
    """Not in any bit: other pixels under the mask, the same prediction."""
    model = MODELS.build(HONEST[kind]).eval()
    clips = torch.randint(0, 256, (1, 3, 8, 16, 16), dtype=torch.uint8)
    mask = torch.rand(1, 16).argsort() >= 4
    hidden = mask[0].reshape(4, 2, 2)
    for axis, size in enumerate((2, 8, 8)):
        hidden = hidden.repeat_interleave(size, axis)
    found = []
    for other in (clips, torch.where(hidden, 255 - clips // 2, clips)):
        data = dict(inputs=[other[None, 0]], data_samples=[ActionDataSample()])
        data = model.data_preprocessor(data, False)
        with torch.no_grad():
            sample = model.predict(**data, mask=mask)[0]
        arguments = other[0] / 255, sample.mask, sample.pred, model.criterion
        found.append([rebuild_clip(*arguments, honest=honest) for honest in (1, 0)])
    (honest, told), (honest_other, told_other) = found
    assert torch.equal(honest, honest_other)
    assert torch.equal(told, told_other) == (kind == 'raw')
    assert not torch.equal(honest, told) or kind == 'raw'


@pytest.mark.parametrize('kind', [AdaMAELoss, SpatiotemporalMAELoss])
def test_neighbors_of_a_smooth_video_tell_its_statistics(kind):
    """Where all tokens are alike, nothing is lost by not looking."""
    token = torch.rand(3, 1, SIDE, SIDE)
    clip = token.repeat(1, 8, 4, 4)
    loss = kind(**SHAPE)
    mask = torch.from_numpy(MASK)
    pred = loss.target(patchify(clip[None], SIDE, 2))[0].flatten(1)
    honest = rebuild_clip(clip, mask, pred, loss, honest=True)
    torch.testing.assert_close(honest, rebuild_clip(clip, mask, pred, loss))


def test_nearest_neighbors_count_most():
    mask = torch.ones(3, 3, 3, dtype=torch.bool)
    mask[0, 0, 0] = mask[2, 2, 2] = False
    values = from_neighbors(torch.tensor([0.0, 1.0]), mask.flatten(), (3, 3, 3))
    values = values.reshape(3, 3, 3)
    assert values[0, 0, 0] == 0 and values[2, 2, 2] == 1
    assert values[1, 1, 1] == 0.5
    assert values[2, 0, 0] < 0.1 and values[0, 2, 2] > 0.9
    alone = from_neighbors(torch.tensor([[7.0, 8.0]]), torch.arange(27) > 0, (3, 3, 3))
    assert (alone == torch.tensor([7.0, 8.0])).all()


def test_statistics_are_those_of_the_target():
    patches = torch.rand(2, 3, 16, 3)
    mean, std = token_statistics(patches)
    assert mean.shape == std.shape == (2, 3, 1, 3)
    torch.testing.assert_close(std, patches.std(2, keepdim=True) + 1e-6)


def test_rows_that_a_model_does_not_have(tmp_path):
    """A clear error where nothing is left to draw; others are drawn."""
    (tmp_path / 'a.mp4').write_bytes(encode_video(painted(COLORS), fps=10))
    raw = KnownModel(False)
    clip = video_clips(raw.backbone.clip_size, [str(tmp_path / 'a.mp4')])[0]
    with pytest.raises(ValueError, match="rows: .* got 'prediction'"):
        pictures.look({'': raw}, clip, ['prediction'])
    both = pictures.look({'raw': raw, 'other': KnownModel(True)}, clip, ['prediction'])
    assert len([*both.frames()]) == 8
    assert both.sheet().ndim == 3


def test_an_image_is_not_blurred():
    images = RNG.integers(0, 200, (2, 16, 16, 3)).astype(np.uint8)
    drawn = sheet.assemble({'video': Row(images)})
    enlarged = images[0].repeat(8, 0).repeat(8, 1)
    rows, columns = np.nonzero((drawn == enlarged[0, 0]).all(-1))
    assert any(
        np.array_equal(drawn[y : y + 128, x : x + 128], enlarged)
        for y, x in zip(rows, columns, strict=True)
    )
