"""Decode the sampled frames, and as few of the others as possible."""

from __future__ import annotations

import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform


@TRANSFORMS.register_module()
class PyAVSkipDecode(BaseTransform):
    """Decode the sampled frames; goes with :class:`PyAVSkipInit`.

    Stands where ``DecordDecode`` stands. A frame that is sampled several times, by
    one clip or by several, is decoded once.

    Required keys: video_reader (becomes None), frame_inds. Added keys: imgs (list of
    uint8 arrays (H, W, 3), RGB), original_shape, img_shape.

    Args:
        mode (str): as in ``DecordDecode``, but 'accurate' only.
    """

    def __init__(self, mode: str = 'accurate') -> None:
        if mode != 'accurate':
            raise ValueError(
                f"{type(self).__name__}: expected mode='accurate', got {mode!r}; for "
                'key frames only, use DecordInit and DecordDecode'
            )

    def transform(self, results: dict) -> dict:
        """Decode.

        Raises:
            IndexError: if the video has not as many frames.
            VideoError: if a frame cannot be decoded; names the file.
        """
        reader = results['video_reader']
        results['frame_inds'] = np.ravel(results['frame_inds'])
        results['imgs'] = reader.get_frames(results['frame_inds'])
        results['video_reader'] = None
        results['original_shape'] = results['imgs'][0].shape[:2]
        results['img_shape'] = results['original_shape']
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(mode=accurate)'
