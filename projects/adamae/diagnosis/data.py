"""What the data lists and some of the videos of a run say."""

from __future__ import annotations

import contextlib
import copy
import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmaction.registry import DATASETS
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch import Tensor

from projects.adamae_command import tool_name

from ..datasets.class_names import class_names, file_beside_list
from ..datasets.from_config import iter_datasets, iter_split_datasets, video_name
from ..datasets.preparers.duplicates import find_duplicates
from ..datasets.preparers.survey import survey_videos
from ..utils.environment import usable_cores
from ..video.error import VideoError
from ..video.reader import VideoReader
from .finding import Examination, describe_error
from .work_folder import WorkFolder

NUM_VIDEOS = 48  # that are opened
NUM_CLIPS = 24  # that are decoded as in training

# How these were measured: docs/doctor.md.
_LISTED_AGAIN = 0.2  # of the lines of a list
_SAME = 0.2  # of different files
_STATIC = 0.2
_STANDING = 0.25  # of the steps from one frame of a clip to the next
_OF_FOLDER = 0.5  # of the videos of a folder, with its most frequent label
_SWAPPED = -0.5  # correlation of red minus blue
_MEAN, _STD = 3.0, (0.1, 4.0)  # of normalized pixels
_GRAY = 3.0  # gray levels, of red minus blue


@dataclass
class Sample:
    """Some training videos, read as the run reads them.

    Attributes:
        infos (list[dict]): what the datasets say of each.
        batches (list[dict]): of one video each, as the data loader gives them.
    """

    infos: list[dict[str, Any]]
    batches: list[dict[str, Any]]


def validation_labels(run: WorkFolder) -> list[int] | None:
    """Read the labels of the held-out videos; None if these have none, or several."""
    with _quiet():
        labels = [
            info.get('label')
            for _, part in iter_split_datasets(run.cfg, ['val'])
            for info in _infos(_build(run, part))
        ]
    known = [label for label in labels if isinstance(label, int)]
    return known if known and len(known) == len(labels) else None


def examine_data(run: WorkFolder, found: Examination) -> Sample | None:
    """Look at the training list and at some of its videos.

    Returns:
        Sample, optional: what was read; None if the data are not there.
    """
    key = 'train_dataloader.dataset'
    try:
        with _quiet():
            datasets = [
                _build(run, part)
                for _, part in iter_datasets(run.cfg.train_dataloader['dataset'])
            ]
            infos = [info for dataset in datasets for info in _infos(dataset)]
        if not infos:
            raise ValueError('it lists nothing')
    except Exception as error:  # whatever its own classes say
        found.unknown.append(
            f'the videos: {key} cannot be read from {os.getcwd()}: '
            f'{describe_error(error)}'
        )
        return None
    names = [video_name(info) for info in infos]
    labels = [info.get('label') for info in infos]
    _examine_names(names, labels, _class_names(run), found)
    files = [info['filename'] for info in infos if 'filename' in info]
    looked_at = _examine_files(_spread([*dict.fromkeys(files)], NUM_VIDEOS), found)
    numbers = [(dataset, i) for dataset in datasets for i in range(len(dataset))]
    places = dict(zip(names, numbers, strict=True))
    different = _spread(looked_at or [*places], NUM_CLIPS)
    return _examine_clips([places[name] for name in different], found)


def _build(run: WorkFolder, part: Any) -> Any:
    init_default_scope(run.cfg.get('default_scope', 'mmaction'))
    return DATASETS.build(copy.deepcopy(part))


def _infos(dataset: Any) -> list[dict[str, Any]]:
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def _class_names(run: WorkFolder) -> set[str]:
    """Read the names of classes as folders are named; none where nothing says them."""
    names = set()
    for key, part in iter_split_datasets(run.cfg, ['train']):
        file = file_beside_list(part)
        if file:
            part = {
                **part,
                'metainfo': {'classes': file, **(part.get('metainfo') or {})},
            }
        with contextlib.suppress(OSError, ValueError):  # other tools tell of it
            names |= {_plain(name) for name in class_names(part, key) or ()}
    return names


def _plain(name: str) -> str:
    return ''.join(c for c in name.casefold() if c.isalnum())


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    """Choose some, spread evenly."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def _examine_names(
    names: Sequence[str],
    labels: Sequence[Any],
    classes: set[str],
    found: Examination,
) -> None:
    counts = Counter(names)
    again = found.measured['listed_again'] = 1 - len(counts) / len(names)
    if again > _LISTED_AGAIN:
        name, most = counts.most_common(1)[0]
        found.add(
            'the same videos are listed many times',
            f'{len(names)} lines name {len(counts)} files, {again:.0%} of the lines a '
            f'file that another one names (at most {_LISTED_AGAIN:.0%}); {name}: '
            f'{most} times',
            'list every video once in train_dataloader.dataset.ann_file; for more '
            'epochs, set train_cfg.max_epochs',
        )
    if any(not isinstance(label, int) or label < 0 for label in labels):
        return
    folders: dict[str, Counter] = {}
    for name, label in {*zip(names, labels, strict=True)}:
        folders.setdefault(os.path.dirname(name), Counter())[label] += 1
    number = len({*labels})
    # A folder for each class, or nearly: then a folder tells the label.
    if number < 2 or not number / 2 <= len(folders) <= 2 * number:
        return
    # Folders of other names, such as one for each camera, say nothing of labels.
    if classes and not any(_plain(os.path.basename(f)) in classes for f in folders):
        return
    fits = sum(max(c.values()) for c in folders.values()) / len({*names})
    found.measured['labels_of_folders'] = fits
    if fits < _OF_FOLDER:
        found.add(
            'the labels do not fit the folders of the videos: are they shuffled?',
            f'{len(folders)} folders and {number} labels, and only {fits:.0%} of the '
            'videos have the most frequent label of their folder (at least '
            f'{_OF_FOLDER:.0%})',
            'write train_dataloader.dataset.ann_file anew, see '
            f'{tool_name("data/prepare.py")}',
        )


def _examine_files(names: Sequence[str], found: Examination) -> list[str]:
    """Look for videos that stand still or show the same; gives those that differ."""
    files = [name for name in names if Path(name).is_file()]
    if len(files) < len(names):
        found.unknown.append(
            f'{len(names) - len(files)} of {len(names)} videos: no such files, such as '
            f'{next(n for n in names if n not in files)}'
        )
    if not files:
        return []
    with _quiet():
        facts, problems = survey_videos(files, workers=usable_cores(), remember=False)
    if problems:
        name, (kind, detail) = next(iter(problems.items()))
        found.unknown.append(
            f'{len(problems)} of {len(files)} videos cannot be read, such as {name}: '
            f'{kind}: {detail}; {tool_name("data/check_videos.py")} looks at all'
        )
    known = [*facts.values()]
    if len(known) < 2:
        return [*facts]
    static = sum(f.static or f.black for f in known) / len(known)
    found.measured['static'] = static
    if static > _STATIC:
        name = next(n for n, f in facts.items() if f.static or f.black)
        found.add(
            'videos are static',
            f'in {static:.0%} of {len(known)} videos nothing moves (at most '
            f'{_STATIC:.0%}), such as {name}',
            'leave them out of train_dataloader.dataset.ann_file; '
            f'{tool_name("new_dataset.py")} names them',
        )
    groups = find_duplicates(
        [f.seconds for f in known], np.stack([f.decode_pictures() for f in known])
    )
    again = {i for group in groups for i in group[1:]}
    same = found.measured['same'] = len(again) / len(known)
    if same > _SAME:
        a, b = [*facts][groups[0][0]], [*facts][groups[0][1]]
        found.add(
            'many videos show the same',
            f'{same:.0%} of {len(known)} files show what another one does (at most '
            f'{_SAME:.0%}), such as {a} and {b}',
            'list one of each in train_dataloader.dataset.ann_file; '
            f'{tool_name("new_dataset.py")} names them',
        )
    return [name for i, name in enumerate(facts) if i not in again]


def _examine_clips(
    places: Sequence[tuple[Any, int]], found: Examination
) -> Sample | None:
    """Decode clips as in training; look at which frames they have."""
    infos, batches, standing, errors = [], [], [], []
    for dataset, index in places:
        info = dataset.get_data_info(index)
        try:
            standing += _standing(dataset, copy.deepcopy(info))
            packed = dataset.pipeline(copy.deepcopy(info))
        except Exception as error:  # a transform of the user's own
            errors.append(describe_error(error))
            continue
        infos.append(info)
        batches.append(pseudo_collate([packed]))
    if standing:
        share = found.measured['standing'] = float(np.mean([s for s, _ in standing]))
        if share > _STANDING:
            found.add(
                'the stride is too long for the videos',
                f'in clips of {len(standing)} videos, {share:.0%} of the frames come '
                f'after one that is not before them (at most {_STANDING:.0%}): the '
                'videos end before the clips do',
                'set a smaller frame_interval in train_dataloader.dataset.pipeline; '
                f'{max(1, int(np.median([n for _, n in standing])))} is the largest '
                'that fits half of them',
            )
    if not batches:
        found.unknown.append(f'the clips: none can be decoded: {errors[0]}')
        return None
    return Sample(infos, batches)


def _standing(dataset: Any, info: dict[str, Any]) -> list[tuple[float, float]]:
    """Give the share of steps to no later frame, and the largest stride that fits."""
    results: Any = info
    for transform in dataset.pipeline.transforms:
        results = transform(results)
        if not isinstance(results, dict) or 'frame_inds' in results:
            break
    if not isinstance(results, dict) or results.get('clip_len', 1) < 2:
        return []
    length = results['clip_len']
    frames = np.asarray(results['frame_inds']).reshape(-1, length)
    share = float((np.diff(frames, axis=1) <= 0).mean())
    return [(share, (results.get('total_frames', 0) - 1) / (length - 1))]


def examine_pixels(sample: Sample, preprocessor: Any, found: Examination) -> None:
    """Look at what the model gets: the scale of its numbers, and red and blue.

    Args:
        sample (Sample): of training.
        preprocessor (ActionDataPreprocessor): of the model.
        found (Examination): is added to.
    """
    clips = [*normalized(sample, preprocessor)]
    shape = (3, -1)
    rows = torch.stack(
        [
            torch.stack(
                [
                    c.transpose(0, 1).reshape(shape).mean(1),
                    c.transpose(0, 1).reshape(shape).square().mean(1),
                ]
            )
            for c in clips
        ]
    )
    mean = rows[:, 0].mean(0)
    std = (rows[:, 1].mean(0) - mean.square()).clamp_min(0).sqrt()
    found.measured['pixel_mean'] = mean.abs().max().item()
    found.measured['pixel_std'] = std.min().item()
    found.measured['pixel_std_max'] = std.max().item()
    low, high = _STD
    if mean.abs().max() > _MEAN or std.min() < low or std.max() > high:
        shown = [', '.join(f'{v:.3g}' for v in x.tolist()) for x in (mean, std)]
        found.add(
            'mean or std of the pixels is wrong',
            f'normalized pixels have mean {shown[0]} and deviation {shown[1]}; about 0 '
            f'and 1 is expected (at most {_MEAN:g}; {low:g} to {high:g})',
            '--cfg-options '
            "'model.data_preprocessor.mean=[123.675,116.28,103.53]' "
            "'model.data_preprocessor.std=[58.395,57.12,57.375]', which are on the "
            'scale 0 to 255',
        )
    truth = [_red_minus_blue(info) for info in sample.infos]
    scale = preprocessor.std.flatten(), preprocessor.mean.flatten()
    seen = [
        float(color[0] - color[2])
        for color in (row * scale[0] + scale[1] for row in rows[:, 0])
    ]
    pairs = np.array(
        [(t, s) for t, s in zip(truth, seen, strict=True) if t is not None]
    )
    size = np.sqrt((pairs**2).mean(0)) if len(pairs) > 3 else np.zeros(2)
    if size.min() < _GRAY:
        found.unknown.append('RGB or BGR: the videos have too little color')
        return
    likeness = found.measured['red_and_blue'] = float(
        (pairs[:, 0] * pairs[:, 1]).mean() / size.prod()
    )
    if likeness < _SWAPPED:
        found.add(
            'the model gets BGR in the place of RGB',
            f'red minus blue of {len(pairs)} videos, and of what the model gets of '
            f'them, have a correlation of {likeness:.2f} (1 is expected, at least '
            f'{_SWAPPED})',
            '--cfg-options model.data_preprocessor.to_rgb=False, or take the '
            'SwapRedBlue too many out of train_dataloader.dataset.pipeline',
        )


def normalized(sample: Sample, preprocessor: Any) -> Iterator[Tensor]:
    """Give the clips of each video, (B, 3, T, H, W), as the model gets them."""
    for batch in sample.batches:
        clips = preprocessor(copy.deepcopy(batch), False)['inputs']
        yield clips.reshape(-1, *clips.shape[-4:])


def _red_minus_blue(info: dict[str, Any]) -> float | None:
    """Measure it in the middle of a video, on the scale 0 to 255."""
    try:
        reader = VideoReader(info['filename'])
        picture = reader.get_thumbnails([len(reader) // 2], 16)[2][0]
    except (KeyError, OSError, VideoError):
        return None
    red, _, blue = picture.reshape(-1, 3).mean(0)
    return float(red - blue)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars and logs of datasets from the terminal."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
