"""A few seconds from a camera."""

from __future__ import annotations

import cv2
import numpy as np

from .error import VideoError

# Frames per second that a driver may mean; some say 0, or a number of ticks.
_RATES = 1, 240


def record(camera: int, seconds: float, fps: float) -> tuple[np.ndarray, float]:
    """Record from a camera that OpenCV finds.

    Args:
        camera (int): its number; 0 is the first.
        seconds (float): how long.
        fps (float): frames per second, if the camera does not say.

    Returns:
        tuple[np.ndarray, float]: frames, uint8, shape (T, H, W, 3), RGB; how many make
        a second.

    Raises:
        VideoError: if there is no such camera, or it stops early.
    """
    capture = cv2.VideoCapture(camera)
    try:
        if not capture.isOpened():
            raise VideoError(
                f'camera {camera}: expected one that OpenCV can open, found none'
            )
        rate = capture.get(cv2.CAP_PROP_FPS)
        fps = rate if _RATES[0] <= rate <= _RATES[1] else fps
        count = max(round(seconds * fps), 1)
        frames: list[np.ndarray] = []
        while len(frames) < count:
            is_read, frame = capture.read()
            if not is_read:
                raise VideoError(
                    f'camera {camera}: expected {count} frames, got {len(frames)}'
                )
            frames.append(frame[..., ::-1])
        return np.stack(frames), fps
    finally:
        capture.release()
