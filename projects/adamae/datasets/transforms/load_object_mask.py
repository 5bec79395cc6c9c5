"""Where the moving object is, from the file alongside the video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform


@TRANSFORMS.register_module()
class LoadObjectMask(BaseTransform):
    """Load the object mask of the sampled frames (``tools/make_motion_dataset.py``).

    It measures what a mask sampler looks at and so belongs into pipelines that show
    whole frames: after decoding, one clip, no crop, resize or flip. Put
    ``algorithm_keys=('object_mask',)`` into ``PackActionInputs`` to hand the result on.

    Required keys: filename, frame_inds, num_clips, imgs, start_index. Added key:
    object_mask, bool, shape (T, H, W).

    Args:
        video_root (str): folder of the videos, part of every ``filename``.
        mask_root (str): folder with the masks; ``a/b.mp4`` in ``video_root`` belongs
            to ``a/b.npz`` here, which holds ``object_mask``, bool, (T, H, W).
    """

    def __init__(self, video_root: str, mask_root: str) -> None:
        self.video_root = video_root
        self.mask_root = mask_root

    def transform(self, results: dict) -> dict:
        """Load the mask.

        Raises:
            FileNotFoundError: if the video has no mask.
            ValueError: if the video is not in ``video_root``, there is more than one
                clip, frames were flipped, or they have another size or number than
                the mask.
        """
        filename = Path(results['filename'])
        if not filename.is_relative_to(self.video_root):
            raise ValueError(
                f'LoadObjectMask: expected a video in video_root={self.video_root!r}, '
                f'got {str(filename)!r}'
            )
        if results['num_clips'] != 1 or results.get('flip', False):
            raise ValueError(
                'LoadObjectMask: expected one clip and no flip, got num_clips='
                f'{results["num_clips"]}, flip={results.get("flip", False)}; use it '
                'in pipelines for validation only'
            )
        path = self.mask_root / filename.relative_to(self.video_root)
        with np.load(path.with_suffix('.npz')) as file:
            object_mask = file['object_mask']
        frames = results['frame_inds'] - results['start_index']
        shape = np.shape(results['imgs'])  # frames, height, width, channels
        if shape[1:3] != object_mask.shape[1:] or max(frames) >= len(object_mask):
            raise ValueError(
                f'LoadObjectMask: expected whole frames of a video of (T, H, W) = '
                f'{object_mask.shape}, got frames up to {max(frames)} in images of '
                f'shape {shape}; put it behind decoding, without crop or resize'
            )
        results['object_mask'] = object_mask[frames]
        return results

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(video_root={self.video_root!r}, '
            f'mask_root={self.mask_root!r})'
        )
