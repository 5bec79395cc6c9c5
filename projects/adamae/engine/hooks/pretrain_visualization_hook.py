"""Pictures of what a model that is pre-trained sees and predicts."""

from __future__ import annotations

from pathlib import Path

import torch
from mmaction.registry import HOOKS
from mmengine.dataset import pseudo_collate
from mmengine.dist import master_only
from mmengine.runner import Runner

from ...datasets.fixed_videos import FixedVideos
from ...datasets.from_config import video_name
from ...evaluation.features import ErrorsAsValues
from ...utils.randomness import seed_generators
from ...utils.wrappers import unwrap_model
from ...visualization.picture import make_picture
from .periodic import PeriodicHook
from .training_state import preserve_training_state


@HOOKS.register_module()
class PretrainVisualizationHook(PeriodicHook):
    """Draw the same videos every few epochs: what is seen, predicted and looked at.

    The sheet of ``tools/visualize.py`` goes to every backend of the visualizer, as
    MMAction2's ``VisualizationHook`` does with frames, under the name
    ``masked_video_<number>``. Masks are drawn from the same random numbers each time,
    so pictures of two epochs differ by what was learned. The first process draws, from
    clips that are read once and kept. Training goes on as if nothing had happened.
    Videos that cannot be read are left out.

    Args:
        num_videos (int): see :class:`.PeriodicHook`. Defaults to 4.
        interval (int, optional): see :class:`.PeriodicHook`. Defaults to None.
        seed (int): of the masks. Defaults to 0.
    """

    def __init__(
        self, num_videos: int = 4, interval: int | None = None, seed: int = 0
    ) -> None:
        super().__init__(num_videos, interval)
        self.seed = seed
        self._clips: list[tuple[int, str, dict]] = []

    @master_only
    def evaluate(self, runner: Runner, videos: FixedVideos, step: int) -> None:
        """Draw the videos; see :class:`.PeriodicHook`."""
        model = unwrap_model(runner.model)
        with preserve_training_state(model), torch.no_grad():
            if not self._clips:
                self._read(runner, videos)
            for number, name, packed in self._clips:
                seed_generators(self.seed, number)
                sample = model.val_step(pseudo_collate([packed]))[0]
                known = {'': (sample, model.criterion)}
                pixels = model.data_preprocessor.swap_colors(packed['inputs'][0])
                picture = make_picture(pixels, known, name)
                runner.visualizer.add_image(
                    f'masked_video_{number}', picture.sheet(), step
                )

    def _read(self, runner: Runner, videos: FixedVideos) -> None:
        source = ErrorsAsValues(videos)
        for number in range(len(videos)):
            packed = source[number]
            if isinstance(packed, Exception):
                runner.logger.warning(f'{type(self).__name__}: {packed}')
            else:
                # Folder and file: the whole path would be cut in its middle.
                path = video_name(videos.get_data_info(number))
                name = '/'.join(Path(path).parts[-2:])
                self._clips.append((number, name, packed))
