"""Every clip of a video its own crop and flip."""

from __future__ import annotations

from typing import Any

from mmaction.datasets.transforms import RandomCrop, Resize
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose


@TRANSFORMS.register_module()
class PerClip(BaseTransform):
    """Apply transforms to each clip of a decoded video separately, once or more.

    Repeated sampling: reading a video costs far more than cropping it. ``num_clips`` of
    the sampling transform gives clips at several times, ``repeats`` several samples of
    each. Outside of this transform, MMAction2 draws one crop and flip per video.

    Required keys: imgs (list of num_clips * clip_len arrays, clip after clip),
    num_clips. Modified keys: imgs and num_clips, which is multiplied by ``repeats``
    (the samples of a clip follow each other), and what the transforms modify, of which
    the last sample's stays (flip, crop_bbox, ...).

    Source: repeated sampling, arXiv:2205.09113, sec. 3.

    Args:
        transforms (list[dict]): what to apply to every sample.
        repeats (int): samples of every clip. Defaults to 1.

    Raises:
        ValueError: if ``repeats`` is below 1.
    """

    def __init__(self, transforms: list[dict], repeats: int = 1) -> None:
        if repeats < 1:
            raise ValueError(f'PerClip: expected repeats of at least 1, got {repeats}')
        self.transforms = Compose(transforms)
        self.repeats = repeats

    def transform(self, results: dict) -> dict:
        """Apply the transforms.

        Raises:
            ValueError: if the frames are not a whole number of clips, or a transform
                gives None or samples of different sizes.
        """
        imgs, clips = results['imgs'], results['num_clips']
        if len(imgs) % clips:
            raise ValueError(
                f'PerClip: expected a multiple of num_clips={clips} frames, got '
                f'{len(imgs)}'
            )
        share = self.repeats == 1 or _leaves_frames_alone(self.transforms.transforms)
        length = len(imgs) // clips
        made: list[Any] = []
        last = results
        for start in range(0, len(imgs), length):
            clip = imgs[start : start + length]
            for _ in range(self.repeats):
                frames = list(clip) if share else [img.copy() for img in clip]
                last = self.transforms({**results, 'imgs': frames, 'num_clips': 1})
                if last is None:
                    raise ValueError(
                        'PerClip: expected a sample, a transform gave none'
                    )
                made += last['imgs']
        shapes = {img.shape for img in made}
        if len(shapes) > 1:
            raise ValueError(
                'PerClip: expected samples of one size, got '
                f'{sorted(shapes)}; end its transforms with a Resize to one size'
            )
        results.update(last, imgs=made, num_clips=clips * self.repeats)
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(transforms={self.transforms}, '
            f'repeats={self.repeats})'
        )


def _leaves_frames_alone(transforms: list) -> bool:
    """Whether new frames are made before anything could write into the old ones."""
    for transform in transforms:
        if getattr(transform, 'lazy', False):
            return False
        if isinstance(transform, Resize):
            return True
        if not isinstance(transform, RandomCrop):  # the base of all crops: views
            return False
    return False
