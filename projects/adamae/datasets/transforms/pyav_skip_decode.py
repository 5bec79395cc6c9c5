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

    Required keys: video_reader, frame_inds. Added keys: imgs (list of uint8 arrays
    (H, W, 3), RGB), original_shape, img_shape. ``video_reader`` becomes None.
    """

    def transform(self, results: dict) -> dict:
        """Decode.

        Args:
            results (dict): of a pipeline, after sampling.

        Returns:
            dict: the same, with the frames.

        Raises:
            IndexError: if the video has not as many frames.
            OSError: if a frame cannot be decoded; names the file.
        """
        reader = results['video_reader']
        results['frame_inds'] = np.ravel(results['frame_inds'])
        results['imgs'] = reader.get_frames(results['frame_inds'])
        reader.close()
        results['video_reader'] = None
        results['original_shape'] = results['imgs'][0].shape[:2]
        results['img_shape'] = results['original_shape']
        return results

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}()'
