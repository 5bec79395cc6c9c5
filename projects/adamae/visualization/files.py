"""Pictures as files: PNG, GIF and MP4."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from PIL import Image

from ..utils.fileio import atomic_path
from ..video.writer import encode_video
from .picture import Picture
from .rows import BAD, DARK, GRAY, LIGHT
from .sheet import OUTLINE, color_table

#: Of moving pictures: slow, to see what the mask does.
FRAMES_PER_SECOND = 5


def save_picture(picture: Picture, path: Path) -> None:
    """Write a picture, whole or not at all.

    Args:
        picture (Picture): to be drawn.
        path (Path): ``.png`` for a sheet; ``.gif`` or ``.mp4`` for a moving picture,
            which plays :data:`FRAMES_PER_SECOND`.
    """
    with atomic_path(path) as partial:
        if path.suffix == '.mp4':
            frames = np.stack([*picture.frames()])
            partial.write_bytes(encode_video(frames, FRAMES_PER_SECOND))
        elif path.suffix == '.gif':
            _save_gif(picture, partial)
        else:
            Image.fromarray(picture.sheet()).save(partial, 'PNG')


def _save_gif(picture: Picture, path: Path) -> None:
    colors = [row.colors for line in picture.lines.values() for row in line.values()]
    first, *others = (_with_palette(frame, colors) for frame in picture.frames())
    first.save(
        path,
        'GIF',
        save_all=True,
        append_images=others,
        duration=1000 // FRAMES_PER_SECOND,
        loop=0,
    )


def _with_palette(
    frame: np.ndarray, colors: Iterable[ScalarMappable | None]
) -> Image.Image:
    """Reduce a frame to 256 colors, among them enough of each color bar.

    Numbers are read from these: colors that are rare in a frame must not be replaced by
    others that stand for another number.
    """
    fixed = [np.array([(255, 255, 255), (0, 0, 0), OUTLINE], np.uint8)]
    fixed += [np.rint(np.array([DARK, LIGHT, BAD, (GRAY,) * 3]) * 255).astype(np.uint8)]
    maps = {bar.cmap.name: bar for bar in colors if bar is not None}
    fixed += [color_table(bar, 60) for bar in maps.values()]
    kept = np.unique(np.concatenate(fixed), axis=0)
    image = Image.fromarray(frame)
    free = image.quantize(256 - len(kept)).getpalette() or []
    palette = Image.new('P', (1, 1))
    palette.putpalette([*kept.flatten().tolist(), *free])
    return image.quantize(palette=palette, dither=Image.Dither.NONE)
