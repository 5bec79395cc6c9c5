"""Pictures of what a masked autoencoder sees, predicts and looks at."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from mmaction.registry import DATASETS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from torch import Tensor

from . import features
from .losses import AdaMAELoss
from .recognizer import MAERecognizer
from .tokens import patchify, unpatchify

GREY = 0.5
DARK, LIGHT = (0.16, 0.18, 0.22), (0.94, 0.94, 0.94)
OUTLINE = '#ff3b30'


class Row(NamedTuple):
    """One row of a picture.

    Attributes:
        images (np.ndarray): uint8, shape (t, H, W, 3), RGB, an image a time step.
        note (str): stands below the name of the row.
        colours (ScalarMappable, optional): what the colours mean, for a colour bar.
        outlined (bool): whether the object may be outlined on it.
    """

    images: np.ndarray
    note: str = ''
    colours: ScalarMappable | None = None
    outlined: bool = False


def rebuild_clip(
    clip: Tensor, mask: Tensor, pred: Tensor, criterion: AdaMAELoss
) -> Tensor:
    """Fill the masked tokens of a clip with their predictions.

    Args:
        clip (Tensor): pixels in [0, 1], shape (C, T, H, W), float.
        mask (Tensor): bool, shape (N,), True = masked.
        pred (Tensor): predictions, shape (N, P), float.
        criterion (AdaMAELoss): knows how to turn a prediction into pixels. Where
            targets are normalised, the true mean and deviation are put back.

    Returns:
        Tensor: pixels in [0, 1], shape (C, T, H, W). Visible tokens are untouched.
    """
    tubelet_size, patch_size = criterion.token_shape[:2]
    patches = patchify(clip[None], patch_size, tubelet_size)
    filled = criterion.to_pixels(pred[None], patches).clamp(0, 1)
    filled = torch.where(mask[None, :, None, None], filled, patches)
    _, t, h, w = clip.shape
    grid = (t // tubelet_size, h // patch_size, w // patch_size)
    return unpatchify(filled, grid, patch_size, tubelet_size)[0]


def token_images(
    values: Tensor, frame_size: tuple[int, int], patch_size: int
) -> Tensor:
    """Paint every token with its value.

    Args:
        values (Tensor): one a token, shape (N,).
        frame_size (tuple[int, int]): height and width in pixels.
        patch_size (int): pixels along each side of a token.

    Returns:
        Tensor: shape (t, H, W), an image a time step.
    """
    h, w = (size // patch_size for size in frame_size)
    images = values.reshape(-1, h, w)
    return images.repeat_interleave(patch_size, 1).repeat_interleave(patch_size, 2)


def prediction_rows(
    clip: Tensor, sample: ActionDataSample, criterion: AdaMAELoss
) -> dict[str, Row]:
    """Turn a prediction into rows of images, one image a time step of tokens.

    It shows the first frame of the step, or the one that a model predicts which does
    not predict them all (``criterion.frames``).

    Args:
        clip (Tensor): pixels in [0, 1], shape (C, T, H, W), float.
        sample (ActionDataSample): what ``MAERecognizer`` predicted for it: ``mask``,
            ``pred``, ``token_error`` and, of a learnt sampler, ``probs``.
        criterion (AdaMAELoss): see :func:`rebuild_clip`.

    Returns:
        dict[str, Row]: ``video``, ``masked input``, ``prediction``, ``error``,
        ``probability`` (learnt samplers only) and ``mask``.
    """
    mask, error = sample.mask, sample.token_error.float()
    size = (clip.shape[-2], clip.shape[-1])

    def painted(values: Tensor) -> np.ndarray:
        return token_images(values, size, criterion.token_shape[1]).numpy()

    hidden = painted(mask)[..., None]
    frames = list(criterion.frames)
    video = clip[:, frames].permute(1, 2, 3, 0).numpy()
    whole = rebuild_clip(clip, mask, sample.pred, criterion)
    rebuilt = whole[:, frames].permute(1, 2, 3, 0).numpy()
    # A few hopeless tokens must not turn all others black.
    errors = _colours('magma', error[mask].quantile(0.98))
    error_images = _paint(errors, painted(error))

    rows = {
        'video': Row(_uint8(video)),
        'masked input': Row(_uint8(np.where(hidden, GREY, video))),
        # Even a model that knows nothing looks good with the true means put back.
        'prediction': Row(_uint8(rebuilt), '(true mean, std)' * criterion.norm_pix),
        'error': Row(
            _uint8(np.where(hidden, error_images, GREY)),
            '(grey: visible)',
            errors,
            True,
        ),
    }
    if 'probs' in sample:
        relative = sample.probs.float() * len(mask)
        probs = _colours('viridis', relative.max())
        images = _paint(probs, painted(relative))
        rows['probability'] = Row(_uint8(images), '(1: uniform)', probs, True)
    images = np.where(hidden, DARK, LIGHT)
    rows['mask'] = Row(_uint8(images), '(light: visible)', outlined=True)
    return rows


def _colours(cmap: str, top: Tensor) -> ScalarMappable:
    norm = mpl.colors.Normalize(0, max(float(top), 1e-6))
    return ScalarMappable(norm, mpl.colormaps[cmap])


def _paint(colours: ScalarMappable, values: np.ndarray) -> np.ndarray:
    # to_rgba would take three time steps for an image.
    return np.asarray(colours.cmap(colours.norm(values)))[..., :3]


def _uint8(images: np.ndarray) -> np.ndarray:
    return np.rint(images.clip(0, 1) * 255).astype(np.uint8)


def assemble(
    rows: dict[str, Row],
    title: str = '',
    frames: Sequence[int] | None = None,
    outline: np.ndarray | None = None,
) -> np.ndarray:
    """Put rows together to one labelled picture.

    Args:
        rows (dict[str, Row]): name and images of every row, see
            :func:`prediction_rows`; all with the same number of images.
        title (str): headline. Defaults to none.
        frames (Sequence[int], optional): number of the frame in each column. Defaults
            to 0, 1, 2 and so on.
        outline (np.ndarray, optional): bool, shape (t, H, W): an object to outline.

    Returns:
        np.ndarray: uint8, shape (height, width, 3), RGB.
    """
    count, height, width = next(iter(rows.values())).images.shape[:3]
    gap = max(1, width // 24)
    tile = 0.95  # inches
    left, right, top, bottom = 1.5, 0.75, 0.68, 0.1
    row_height = tile * height / width + 0.1
    size = (left + count * tile + right, top + len(rows) * row_height + bottom)
    figure = Figure(figsize=size, dpi=110, facecolor='white')
    canvas = FigureCanvasAgg(figure)
    inch = np.array([size[0], size[1], size[0], size[1]])
    for number, (name, row) in enumerate(rows.items()):
        y = size[1] - top - (number + 1) * row_height + 0.05
        box = np.array([left, y, count * tile, row_height - 0.1])
        axes = figure.add_axes(tuple(box / inch))
        strip = _strip(row.images, gap, 255)
        # Pixels of small videos stay squares; large ones are smoothed when shrunk.
        small = width < tile * figure.dpi
        axes.imshow(strip, interpolation='nearest' if small else 'auto', aspect='auto')
        axes.set_axis_off()
        axes.text(
            -0.1 / (count * tile),
            0.5,
            f'{name}\n{row.note}'.strip(),
            transform=axes.transAxes,
            ha='right',
            va='center',
        )
        if number == 0:
            for column in range(count):
                x = column * (width + gap) + (width - 1) / 2
                heading = f'frame {frames[column] if frames else column}'
                axes.text(x, -0.08 * height, heading, ha='center')
        if row.colours is not None:
            box = np.array([left + count * tile + 0.1, y, 0.12, row_height - 0.1])
            bar = figure.add_axes(tuple(box / inch))
            figure.colorbar(row.colours, cax=bar).ax.tick_params(labelsize=8)
        if row.outlined and outline is not None and outline.any():
            ring = _strip(outline[..., None].astype(float), gap, 0)[..., 0]
            axes.contour(ring, [0.5], colors=OUTLINE, linewidths=1.1)
    figure.text(left / size[0], 1 - 0.3 / size[1], title, fontsize=12, weight='bold')
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _strip(images: np.ndarray, gap: int, fill: float) -> np.ndarray:
    """Place images side by side, (t, H, W, C) -> (H, t * (W + gap) - gap, C)."""
    padding = [(0, 0), (0, 0), (0, gap), (0, 0)]
    padded = np.pad(images, padding, constant_values=fill)
    return np.concatenate(list(padded), axis=1)[:, :-gap]


def draw_prediction(
    model: MAERecognizer, clip: Tensor, sample: ActionDataSample, name: str = ''
) -> np.ndarray:
    """Draw what a model predicted for a clip.

    Args:
        model (MAERecognizer): gives the kind of target.
        clip (Tensor): pixels, shape (C, T, H, W), uint8.
        sample (ActionDataSample): its prediction; an ``object_mask`` in it is outlined.
        name (str): for the headline. Defaults to none.

    Returns:
        np.ndarray: uint8, shape (height, width, 3), RGB.
    """
    sample = sample.cpu()
    criterion = copy.deepcopy(model.criterion).cpu()
    rows = prediction_rows(clip.float() / 255, sample, criterion)
    title = (
        f'{name}   {sample.mask.float().mean():.0%} masked, '
        f'error {sample.token_error[sample.mask].mean():.3f}'
    )
    outline = None
    if 'object_mask' in sample:
        outline = np.asarray(sample.object_mask)[list(criterion.frames)]
    return assemble(rows, title.strip(), criterion.frames, outline)


def load_model(cfg: Config, checkpoint: str) -> MAERecognizer:
    """Build the model of a config and load all of its weights.

    Args:
        cfg (Config): a pre-training config.
        checkpoint (str): file of that config's training.

    Returns:
        MAERecognizer: in evaluation mode, on the CPU.

    Raises:
        ValueError: if the checkpoint is not one of this model.
    """
    model = features.load_model(cfg, checkpoint)
    if not isinstance(model, MAERecognizer):
        raise ValueError(
            'expected the config of a MAERecognizer (pre-training), got '
            f'{type(model).__name__}'
        )
    return model


class Clip(NamedTuple):
    """A clip to look at.

    Attributes:
        name (str): of its video: folder and file.
        packed (dict): what a pipeline packed: ``inputs``, uint8 (clips, C, T, H, W),
            and ``data_samples``.
    """

    name: str
    packed: dict[str, Any]


def dataset_clips(cfg: Config, split: str, num: int, seed: int) -> list[Clip]:
    """Take some clips of a config's data set, by its own pipeline.

    Args:
        cfg (Config): has ``<split>_dataloader``.
        split (str): ``'train'``, ``'val'`` or ``'test'``.
        num (int): how many; at most all.
        seed (int): of the choice.

    Returns:
        list[Clip]: in the order of the data set.

    Raises:
        ValueError: if the config has no such data set.
    """
    loader = cfg.get(f'{split}_dataloader')
    if loader is None:
        raise ValueError(
            f'the config has no {split}_dataloader: choose another --split or --video'
        )
    dataset = DATASETS.build(loader.dataset)
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(dataset), min(num, len(dataset)), replace=False)
    return [
        Clip(_short(dataset.get_data_info(i)['filename']), _first(dataset[i]))
        for i in sorted(chosen.tolist())
    ]


def _first(packed: Any) -> Any:
    """Choose one of a list of clips, which repeated sampling gives."""
    return packed[0] if isinstance(packed, list) else packed


def _short(filename: str) -> str:
    return '/'.join(Path(filename).parts[-2:])


def video_clips(
    model: MAERecognizer, files: list[str], frame_interval: int = 1
) -> list[Clip]:
    """Take the clip in the middle of video files, cut to the size of a model.

    Args:
        model (MAERecognizer): decides size and length.
        files (list[str]): videos of any size.
        frame_interval (int): frames from one frame of the clip to the next.

    Returns:
        list[Clip]: one a file.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    pipeline = Compose(features.middle_clip(model.backbone, frame_interval))
    missing = [file for file in files if not Path(file).is_file()]
    if missing:
        raise FileNotFoundError(f'no such video: {", ".join(missing)}')
    return [
        Clip(_short(f), pipeline(dict(filename=f, start_index=0, modality='RGB')))
        for f in files
    ]


@torch.no_grad()
def draw_clip(model: MAERecognizer, clip: Clip) -> np.ndarray:
    """Run a model on a clip and draw the outcome.

    Args:
        model (MAERecognizer): in evaluation mode.
        clip (Clip): from :func:`dataset_clips` or :func:`video_clips`; if there are
            several clips of the video in it, the first is drawn.

    Returns:
        np.ndarray: uint8, shape (height, width, 3), RGB.
    """
    sample = model.val_step(pseudo_collate([clip.packed]))[0]
    return draw_prediction(model, clip.packed['inputs'][0], sample, clip.name)
