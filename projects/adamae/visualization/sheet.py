"""Labeled rows of images: on one sheet, or one time step after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil

import cv2
import numpy as np
from matplotlib.cm import ScalarMappable
from PIL import Image, ImageDraw

from ..utils.fonts import default_font, drawable
from .rows import Row

OUTLINE = (255, 59, 48)

# Pixels. Images are repeated to be at least that wide on a sheet, and while playing.
_WIDTH, _PLAYING_WIDTH = 120, 224
_GAP = 6
_BAR = 12
_TITLE, _TEXT, _NUMBER = 18, 14, 12  # sizes of letters
# Images next to each other in a moving picture of one model.
_COLUMNS = 4


class _Canvas:
    """A white picture to write on; everything lies on whole pixels."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self._draw = ImageDraw.Draw(image)

    @classmethod
    def empty(cls, width: int, height: int) -> _Canvas:
        return cls(Image.new('RGB', (width, height), 'white'))

    def write(
        self,
        place: tuple[float, float],
        text: str,
        size: int = _TEXT,
        anchor: str = 'la',
        weight: str = 'normal',
    ) -> None:
        """Write lines; ``anchor`` as in Pillow, which says what is at the place."""
        lines = drawable_lines(text, weight)
        align = {'l': 'left', 'm': 'center', 'r': 'right'}[anchor[0]]
        font = default_font(size, weight)
        if len(lines) > 1:
            anchor = f'{anchor[0]}{"a" if anchor[1] in "at" else anchor[1]}'
        self._draw.text(
            place, '\n'.join(lines), 'black', font, anchor, spacing=4, align=align
        )

    def paste(self, pixels: np.ndarray, left: int, top: int) -> None:
        self.image.paste(Image.fromarray(pixels), (left, top))

    def color_bar(
        self, colors: ScalarMappable, left: int, top: int, height: int
    ) -> None:
        """Draw what colors mean: the number at the top, its half, and 0."""
        low, high = colors.get_clim()
        bar = color_table(colors, height)[::-1, None].repeat(_BAR, axis=1)
        self.paste(bar, left, top)
        values = colors.get_array()
        more = '\u2265' if values is not None and values.max() > high else ''
        for share, anchor in ((0, 'la'), (0.5, 'lm'), (1, 'ld')):
            value = high + share * (low - high)
            place = (left + _BAR + 4, top + share * height)
            self.write(place, f'{more * (not share)}{value:.3g}', _NUMBER, anchor)


def color_table(colors: ScalarMappable, count: int) -> np.ndarray:
    """Give the colors of evenly spread values, the lowest first: uint8, (count, 3)."""
    values = np.linspace(*colors.get_clim(), count)
    shares = np.asarray(colors.cmap(colors.norm(values)))[:, :3]
    return np.rint(shares * 255).astype(np.uint8)


def drawable_lines(text: str, weight: str = 'normal') -> list[str]:
    """Give the lines of a text as :func:`.drawable` makes them."""
    return [drawable(line, weight) for line in text.split('\n')]


def _text_width(text: str, size: int = _TEXT, weight: str = 'normal') -> int:
    font = default_font(size, weight)
    return ceil(max(font.getlength(line) for line in drawable_lines(text, weight)))


def _enlarged(row: Row, scale: int, outline: np.ndarray | None) -> np.ndarray:
    """Repeat the pixels of a row's images, and outline an object on them."""
    images = row.images.repeat(scale, axis=1).repeat(scale, axis=2)
    if row.outlined and outline is not None:
        for image, mask in zip(images, outline, strict=True):
            inside = np.uint8(mask).repeat(scale, axis=0).repeat(scale, axis=1)
            # Outside the image there is none of it: the outline is closed there.
            core = cv2.erode(
                inside, np.ones((5, 5)), borderType=cv2.BORDER_CONSTANT, borderValue=0
            )
            image[(inside > core)] = OUTLINE
    return images


def assemble(
    rows: Mapping[str, Row],
    title: str = '',
    frames: Sequence[int] | None = None,
    outline: np.ndarray | None = None,
) -> np.ndarray:
    """Put rows together to one labeled picture.

    Every pixel of an image becomes a square of pixels of the picture, in its color.

    Args:
        rows (Mapping[str, Row]): name and images of every row, see
            :func:`prediction_rows`; all with the same number of images.
        title (str): headline. Defaults to none.
        frames (Sequence[int], optional): number of the frame in each column. Defaults
            to 0, 1, 2 and so on.
        outline (np.ndarray, optional): bool, shape (t, H, W): an object to outline.

    Returns:
        np.ndarray: uint8, shape (height, width, 3), RGB.
    """
    count, height, width = next(iter(rows.values())).images.shape[:3]
    scale = ceil(_WIDTH / width)
    height, width = height * scale, width * scale
    labels = {
        name: f'{name}\n{_wrapped(row.note)}'.strip() for name, row in rows.items()
    }
    left = max(_text_width(label) for label in labels.values()) + 3 * _GAP
    top = _TITLE + _TEXT + 5 * _GAP
    right = left + count * (width + _GAP)
    bars = 9 * _NUMBER if any(row.colors for row in rows.values()) else _GAP
    headline = left + _text_width(title, _TITLE, 'bold') + _GAP
    canvas = _Canvas.empty(
        max(right + bars, headline), top + len(rows) * (height + _GAP) + _GAP
    )
    canvas.write((left, 2 * _GAP), title, _TITLE, weight='bold')
    for column in range(count):
        middle = left + column * (width + _GAP) + width / 2
        text = f'frame {frames[column] if frames else column}'
        canvas.write((middle, top - _GAP), text, anchor='md')
    for (name, row), y in zip(
        rows.items(), range(top, canvas.image.height, height + _GAP), strict=False
    ):
        canvas.write((left - 2 * _GAP, y + height / 2), labels[name], anchor='rm')
        for column, image in enumerate(_enlarged(row, scale, outline)):
            canvas.paste(image, left + column * (width + _GAP), y)
        if row.colors is not None:
            canvas.color_bar(row.colors, right + _GAP, y, height)
    return np.asarray(canvas.image)


def _wrapped(note: str) -> str:
    """Break a note that would push the images away."""
    return note.replace(' of ', '\nof ')


def play(
    lines: Mapping[str, Mapping[str, Row]],
    title: str = '',
    frames: Sequence[int] | None = None,
    outline: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Put rows next to each other, for a moving picture.

    Args:
        lines (Mapping[str, Mapping[str, Row]]): rows of each model, see
            :func:`assemble`, by its name, which stands left of them.
        title (str): headline. Defaults to none.
        frames (Sequence[int], optional): number of each frame. Defaults to 0, 1, 2 ...
        outline (np.ndarray, optional): bool, shape (t, H, W): an object to outline.

    Yields:
        np.ndarray: a frame, uint8, shape (height, width, 3), RGB, both even.
    """
    parts = [(name, [*rows.items()]) for name, rows in lines.items() if rows]
    if len(parts) == 1 and len(parts[0][1]) > _COLUMNS:
        name, rows = parts[0]
        columns = ceil(len(rows) / ceil(len(rows) / _COLUMNS))
        starts = range(0, len(rows), columns)
        parts = [(name, rows[start : start + columns]) for start in starts]
    count, height, width = parts[0][1][0][1].images.shape[:3]
    scale = ceil(_PLAYING_WIDTH / width)
    height, width = height * scale, width * scale
    left = max(_text_width(name) for name, _ in parts) + 2 * _GAP
    top = _TITLE + 4 * _GAP
    caption = 2 * (_TEXT + 4) + _GAP
    step = width + _BAR + 4 * _NUMBER + _GAP, height + caption + 2 * _GAP
    number = f'frame {max(frames) if frames else count}'
    headline = (
        left + _text_width(title, _TITLE, 'bold') + _text_width(number) + 4 * _GAP
    )
    size = (
        max(left + max(len(rows) for _, rows in parts) * step[0], headline),
        top + len(parts) * step[1],
    )
    canvas = _Canvas.empty(*(2 * ceil(length / 2) for length in size))
    canvas.write((left, _GAP), title, _TITLE, weight='bold')
    places = []
    for line, (name, rows) in enumerate(parts):
        y = top + line * step[1] + caption
        canvas.write((left - _GAP, y + height / 2), name, anchor='rm')
        for column, (label, row) in enumerate(rows):
            x = left + column * step[0]
            canvas.write((x, y - _GAP), f'{label}\n{row.note}'.strip(), anchor='ld')
            if row.colors is not None:
                canvas.color_bar(row.colors, x + width + 4, y, height)
            places.append((_enlarged(row, scale, outline), x, y))
    corner = canvas.image.width - _GAP, _GAP
    for index in range(count):
        frame = _Canvas(canvas.image.copy())
        frame.write(corner, f'frame {frames[index] if frames else index}', anchor='ra')
        for images, x, y in places:
            frame.paste(images[index], x, y)
        yield np.asarray(frame.image)
