"""Pictures as text, small enough for a page that holds all it needs."""

from __future__ import annotations

import base64
import io
from typing import NamedTuple

import numpy as np
from PIL import Image

# Share of width and height, and quality of WebP (None: lossless), tried in this order
# until a picture is small enough.
_TRIES = ((1.0, None), (1.0, 85), (0.75, 80), (0.5, 75), (0.35, 70), (0.25, 60))
_SMALLEST = 48  # pixels: below that nothing is to be seen
_LARGEST = 16383  # pixels along a side: of a WebP


class Encoded(NamedTuple):
    """A picture on a page.

    Attributes:
        uri (str): the picture itself, as a ``data:`` URI.
        width (int): of the original, in pixels.
        height (int): of the original.
        scale (float): below 1 if it was made smaller.
    """

    uri: str
    width: int
    height: int
    scale: float


def encode(picture: Image.Image | np.ndarray, limit: int) -> Encoded | None:
    """Write a picture as text.

    Args:
        picture (Image | np.ndarray): RGB; an array is uint8, shape (height, width, 3).
        limit (int): characters of the text, at most.

    Returns:
        Encoded | None: None if it would have to be too small to be seen.
    """
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    picture = picture.convert('RGB')
    for scale, quality in _TRIES:
        width, height = (max(1, round(side * scale)) for side in picture.size)
        if max(width, height) > _LARGEST:
            continue
        if scale < 1 and width < _SMALLEST:
            break
        small = picture
        if scale < 1:
            small = picture.resize((width, height), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        how = {'lossless': True} if quality is None else {'quality': quality}
        small.save(file, 'webp', method=4, **how)
        text = base64.b64encode(file.getbuffer()).decode()
        uri = f'data:image/webp;base64,{text}'
        if len(uri) <= limit:
            return Encoded(uri, *picture.size, scale)
    return None
