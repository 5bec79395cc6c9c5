"""Videos from files, arrays and cameras: read by a pipeline, run in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from mmaction.models.recognizers.base import BaseRecognizer
from mmaction.structures import ActionDataSample
from mmaction.utils import get_str_type
from mmengine.dataset import Compose, pseudo_collate
from mmengine.runner import autocast
from torch.utils.data import DataLoader, Dataset

from ..datasets.loading import guard_loading
from ..evaluation.features import ErrorsAsValues, encode
from ..models.transformer import set_attention_kernel
from ..utils import cpu
from ..video.camera import record
from ..video.error import VideoError

#: The path of a file; frames, uint8, shape (T, H, W, 3), RGB; the number of a camera.
Source: TypeAlias = str | np.ndarray | int


class Videos(Dataset):
    """Videos that are read by a pipeline for video files.

    The steps that open a file are left out for arrays and recordings, and those that
    decode one are replaced by MMAction2's ``ArrayDecode``.

    Args:
        sources (Sequence[str | np.ndarray | int]): files, arrays, cameras.
        pipeline (Sequence[dict]): transforms.
        modality (str): of files. Defaults to ``'RGB'``.
        start_index (int): number of the first frame of a file. Defaults to 0.
        fps (float): frames per second of arrays, and of cameras that do not say.
            Defaults to 30.
        seconds (float): to record from a camera. Defaults to 4.

    Raises:
        ValueError: if the pipeline reads no video files.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        pipeline: Sequence[dict],
        modality: str = 'RGB',
        start_index: int = 0,
        fps: float = 30,
        seconds: float = 4,
    ) -> None:
        self.sources = sources
        self._file_info = {'modality': modality, 'start_index': start_index}
        self._fps = fps
        self._seconds = seconds
        kinds = [get_str_type(step['type']) for step in pipeline]
        if not any(kind.endswith('Init') for kind in kinds):
            raise ValueError(
                'pipeline: expected one for video files, which begins with '
                f'PyAVSkipInit or the like, got {" ".join(kinds)}'
            )
        self._read_file = Compose(pipeline)
        self._read_file.transforms = guard_loading(self._read_file.transforms)
        self._read_array = Compose(
            [
                dict(type='ArrayDecode') if kind.endswith('Decode') else step
                for kind, step in zip(kinds, pipeline, strict=True)
                if not kind.endswith('Init')
            ]
        )

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> Any:
        source = self.sources[index]
        info = self.get_data_info(index)
        if isinstance(source, str):
            return self._read_file(info)
        fps = self._fps
        if isinstance(source, int):
            source, fps = record(source, self._seconds, fps)
        array = source.view()
        array.flags.writeable = False  # frames are views of it
        info.update(array=array, total_frames=len(array), avg_fps=fps)
        return self._read_array(info)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Give what the pipeline starts with."""
        source = self.sources[index]
        if isinstance(source, str):
            return {'filename': source, **self._file_info}
        kind = f'camera {source}' if isinstance(source, int) else f'array {index}'
        return {'filename': kind, 'modality': 'RGB', 'start_index': 0}


class Outcome(NamedTuple):
    """A video that was read and run, or could not be read.

    Attributes:
        name (str): path of the file, or ``'array 0'``, ``'camera 0'``.
        packed (dict, optional): what the pipeline packed: ``inputs``, uint8, shape
            (views, C, T, H, W), and ``data_samples``. None if it cannot be read.
        sample (ActionDataSample, optional): what the model predicts, on the CPU.
        features (np.ndarray, optional): of the encoder, shape (D,), float32.
        error (str): why it cannot be read, with its name; ``''`` if it can.
    """

    name: str
    packed: dict[str, Any] | None = None
    sample: ActionDataSample | None = None
    features: np.ndarray | None = None
    error: str = ''


#: Name and what the pipeline packed, or why it could not.
Item: TypeAlias = tuple[str, 'dict[str, Any] | VideoError']


def read_batches(
    videos: Videos, batch_size: int, num_workers: int
) -> Iterator[list[Item]]:
    """Read videos, a few batches ahead.

    Args:
        videos (Videos): any number.
        batch_size (int): videos in a batch.
        num_workers (int): processes that read them; 0 is this one.

    Yields:
        list[Item]: name, and the packed video or the error in its place.

    Raises:
        UnreachableVideoError: if a file cannot be read for reasons that are not its
            own, such as a lost mount.
    """
    loader = DataLoader(
        ErrorsAsValues(videos),
        batch_size,
        num_workers=num_workers,
        collate_fn=list,
        generator=torch.Generator(),  # else it would draw from the global state
    )
    done = 0
    for batch in loader:
        infos = [videos.get_data_info(done + i) for i in range(len(batch))]
        done += len(batch)
        yield [(info['filename'], x) for info, x in zip(infos, batch, strict=True)]


@torch.no_grad()
def run_batch(
    model: BaseRecognizer,
    batch: Sequence[Item],
    half: bool = False,
    features: bool = False,
) -> list[Outcome]:
    """Run a model on a batch, as a test does.

    Args:
        model (BaseRecognizer): in evaluation mode.
        batch (Sequence[Item]): from :func:`read_batches`.
        half (bool): in half precision, where the device has it. Defaults to False.
        features (bool): also encode the videos, without masking any token; vectors of
            several views are averaged. Defaults to False.

    Returns:
        list[Outcome]: in the order of the batch, also of videos that cannot be read.
    """
    set_attention_kernel(model, onednn=cpu.uses_onednn())  # as in a test
    packed = [video for _, video in batch if not isinstance(video, VideoError)]
    samples: Iterator[Any] = iter(())
    vectors: Iterator[Any] = iter(())
    if packed:
        with autocast(enabled=half):
            samples = iter(model.test_step(pseudo_collate(packed)))
        if features:
            clips = model.data_preprocessor(pseudo_collate(packed))['inputs']
            clips = clips.reshape(-1, *clips.shape[-4:])
            encoded = encode(model, clips, views=len(clips) // len(packed))
            vectors = iter(encoded.cpu().numpy())
    return [
        Outcome(name, error=str(video))
        if isinstance(video, VideoError)
        else Outcome(name, video, next(samples).cpu(), next(vectors, None))
        for name, video in batch
    ]
