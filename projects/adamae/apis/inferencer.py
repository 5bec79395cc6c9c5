"""From videos to what a model says of them, on MMEngine's inferencer."""

from __future__ import annotations

import copy
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmaction.models.recognizers.base import BaseRecognizer
from mmaction.registry import INFERENCERS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from mmengine.logging import print_log

from ..checkpoints.io import read_file
from ..datasets.from_config import (
    center_clip_pipeline,
    clip_spacing,
    innermost,
    with_meta_keys,
)
from ..evaluation.ranking import activation_of, name_of, ranked_objects
from ..evaluation.rows_file import JsonFile
from ..models.mae_recognizer import MAERecognizer
from ..utils.config_text import read_config_text
from ..utils.fileio import atomic_path
from ..utils.progress import Progress
from ..utils.text import printable
from ..video.writer import encode_video
from ..visualization.overlay import class_overlay, mask_overlay
from ..visualization.rows import rebuild_clip
from .models import load_model
from .predict import find_files, names_of_classes, to_prediction, uses_half
from .videos import Outcome, Source, Videos, read_batches, run_batch

PREDICTIONS = 'predictions.json'
_META = 'frame_inds', 'avg_fps'
# Keys of a prediction that are written to JSON, as nested lists.
_JSON_KEYS = 'mask', 'probabilities', 'token_error', 'features'


@INFERENCERS.register_module()
class AdaMAEInferencer(BaseInferencer):
    """What a pre-trained model or a classifier of this project says of videos.

    Args:
        model (str | Path | dict, optional): config, or its file. Defaults to None: the
            one that MMEngine has put into the checkpoint.
        weights (str | Path): the checkpoint, of any kind that ``load_model`` takes.
        device (str, optional): Defaults to None: a GPU if there is one.
        show_progress (bool): draw a bar when called. Defaults to True.

    Attributes:
        classes (list[str] | None): names of a classifier's classes, if they are known.

    Raises:
        FileNotFoundError: if config or checkpoint do not exist.
        ValueError: if they do not belong together, or the config does not say how
            videos are read.
    """

    preprocess_kwargs = {'num_workers', 'fps', 'seconds'}
    forward_kwargs = {'features'}
    visualize_kwargs: set[str] = set()
    postprocess_kwargs = {'top'}

    def __init__(
        self,
        model: str | Path | dict | Config | None = None,
        weights: str | Path | None = None,
        device: str | None = None,
        show_progress: bool = True,
    ) -> None:
        if weights is None:
            raise ValueError('weights: expected the file of a checkpoint, got none')
        if isinstance(model, str | Path):
            if not os.path.isfile(model):
                raise FileNotFoundError(f'config not found: {model}')
            model = os.fspath(model)
        super().__init__(model, os.fspath(weights), device, 'mmaction', show_progress)
        self.classes: list[str] | None = None
        if not self.masks:
            self.classes, warning = names_of_classes(self.cfg, os.fspath(weights))
            if warning:
                print_log(printable(warning), 'current', logging.WARNING)

    @property
    def masks(self) -> bool:
        """Whether the model is a masked autoencoder, and no classifier."""
        return isinstance(self.model, MAERecognizer)

    def __call__(
        self,
        inputs: Any,
        return_datasamples: bool = False,
        batch_size: int = 1,
        out_dir: str | Path | None = None,
        return_vis: bool = False,
        **kwargs: Any,
    ) -> dict[str, list]:
        """Run the model on videos.

        All is kept until the last one is done; for many of them there is
        :meth:`iterate`. The masks of a pre-trained model are drawn: set a seed
        (``torch.manual_seed``) for the same ones again.

        Args:
            inputs (Any): path of a video, of a folder of them or of a ``.txt`` list of
                paths; frames as an array, uint8, shape (T, H, W, 3), RGB; the number of
                a camera; or a list of these.
            return_datasamples (bool): give MMAction2's ``ActionDataSample``; one with
                an ``error`` for a video that cannot be read. Defaults to False.
            batch_size (int): videos in a batch. Defaults to 1.
            out_dir (str | Path, optional): folder to write ``predictions.json`` to, and
                an overlay of each video (``0000_name.mp4``). Defaults to None.
            return_vis (bool): give the overlays. Defaults to False.
            **kwargs (Any): see :meth:`iterate`.

        Returns:
            dict[str, list]: ``predictions``, in the order of the videos, see
            :meth:`postprocess`; ``visualization``, uint8, shape (T, height, width, 3),
            RGB, or None for what is not wanted or cannot be read.

        Raises:
            FileExistsError: if ``out_dir`` has predictions already.
            FileNotFoundError: if there is no such folder or list.
            ValueError: if an input is none of these.
        """
        sources = self._inputs_to_list(inputs)
        results: dict[str, list] = {'predictions': [], 'visualization': []}
        outcomes: Iterable = self._run(sources, batch_size, **kwargs)
        with ExitStack() as stack:
            write = stack.enter_context(self._json(out_dir)).write if out_dir else None
            bar = Progress('running the model', len(sources), self.show_progress)
            outcomes = stack.enter_context(bar).track(outcomes)
            for number, (outcome, prediction) in enumerate(outcomes):
                overlay = None
                if (out_dir or return_vis) and outcome.sample is not None:
                    (overlay,) = self.visualize([outcome.name], [outcome])
                if write is not None:
                    row = self._row(prediction)
                    if overlay is not None:
                        row['overlay'] = _overlay_name(number, outcome.name)
                        self._save(
                            overlay, Path(out_dir or '', row['overlay']), outcome
                        )
                    write(row)
                results['predictions'].append(
                    _data_sample(outcome) if return_datasamples else prediction
                )
                results['visualization'].append(overlay if return_vis else None)
        return results

    def iterate(
        self, inputs: Any, batch_size: int = 1, **kwargs: Any
    ) -> Iterator[dict[str, Any]]:
        """Run the model on any number of videos; a few batches are in memory at a time.

        Args:
            inputs (Any): see :meth:`__call__`.
            batch_size (int): videos in a batch. Defaults to 1.
            **kwargs (Any): ``num_workers``, processes that read videos (0: this one);
                ``top``, classes of each video (5); ``features``, whether to encode the
                videos, too (False); ``fps``, frames per second of arrays (30);
                ``seconds`` to record from a camera (4).

        Returns:
            Iterator[dict]: prediction of each video, see :meth:`postprocess`.
        """
        outcomes = self._run(self._inputs_to_list(inputs), batch_size, **kwargs)
        return (prediction for _, prediction in outcomes)

    def _run(
        self, sources: list[Source], batch_size: int, **kwargs: Any
    ) -> Iterator[tuple[Outcome, dict[str, Any]]]:
        reading, running, _, taking = self._dispatch_kwargs(**kwargs)
        batches = self.preprocess(sources, batch_size, **reading)

        def run(batch: list) -> Iterator[tuple[Outcome, dict[str, Any]]]:
            outcomes = self.forward(batch, **running)
            predictions = self.postprocess(outcomes, [], **taking)['predictions']
            return zip(outcomes, predictions, strict=True)

        return chain.from_iterable(map(run, batches))

    def preprocess(
        self,
        inputs: list[Source],
        batch_size: int = 1,
        num_workers: int = 0,
        **options: Any,
    ) -> Iterator[list]:
        """Read videos in batches, see :func:`.videos.read_batches`."""
        return read_batches(self.pipeline(inputs, **options), batch_size, num_workers)

    def forward(self, inputs: list, features: bool = False) -> list[Outcome]:
        """Run the model on a batch, see :func:`.videos.run_batch`."""
        return run_batch(self.model, inputs, uses_half(self.cfg), features)

    def visualize(self, inputs: list, preds: Sequence[Outcome]) -> list[np.ndarray]:
        """Draw overlays of videos that were read: uint8, (T, height, width, 3), RGB."""
        return [self._draw(outcome) for outcome in preds]

    def postprocess(
        self,
        preds: Sequence[Outcome],
        visualization: list,
        return_datasamples: bool = False,
        top: int = 5,
    ) -> dict[str, list]:
        """Turn outcomes into plain values and arrays.

        Returns:
            dict[str, list]: ``predictions``, a dict for each video: ``path``, or
            ``'array 0'``, ``'camera 0'``; ``error``, why it cannot be read, or None,
            and if it can:

            - of a classifier: ``top``, the likeliest classes, each with ``label``,
              ``class`` and ``probability``; ``scores``, as a test has them, and
              ``probabilities``, float32, shape (classes,);
            - of a masked autoencoder: ``mask``, bool, True = masked, ``token_error``
              and, of learned samplers, ``probabilities``, float32, all of shape (t, h,
              w); ``clip``, what it saw, and ``reconstruction``, the same with predicted
              tokens, uint8, shape (T, H, W, 3), RGB; ``frame_inds``, the numbers of the
              frames. Where targets are normalized, the true mean and standard deviation
              of each token are put back;
            - ``features``, float32, shape (D,), if they are wanted.
        """
        if return_datasamples:
            return {
                'predictions': [_data_sample(outcome) for outcome in preds],
                'visualization': visualization,
            }
        take = self._masking if self.masks else partial(self._ranking, top)
        predictions = []
        for outcome in preds:
            found: dict[str, Any] = {'path': outcome.name}
            found['error'] = outcome.error or None
            if outcome.sample is not None:
                found |= take(outcome)
            if outcome.features is not None:
                found['features'] = outcome.features
            predictions.append(found)
        return {'predictions': predictions, 'visualization': visualization}

    def _ranking(self, top: int, outcome: Outcome) -> dict[str, Any]:
        prediction = to_prediction(outcome, activation_of(self.cfg.model.cls_head))
        assert prediction.scores is not None and prediction.probabilities is not None
        return {
            'top': ranked_objects(prediction.top(top), self.classes),
            'scores': prediction.scores.float().numpy(),
            'probabilities': prediction.probabilities.numpy(),
        }

    def _masking(self, outcome: Outcome) -> dict[str, Any]:
        clip, sample = self._clip(outcome), outcome.sample
        assert sample is not None
        grid = self.model.backbone.token_grid
        filled = rebuild_clip(clip / 255, sample.mask, sample.pred, self._criterion())
        found = {
            'clip': clip.permute(1, 2, 3, 0).numpy(),
            'reconstruction': (filled * 255).round().byte().permute(1, 2, 3, 0).numpy(),
            'frame_inds': np.ravel(sample.metainfo['frame_inds']),
            'mask': sample.mask.reshape(grid).numpy(),
            'token_error': sample.token_error.float().reshape(grid).numpy(),
        }
        if 'probs' in sample:
            found['probabilities'] = sample.probs.float().reshape(grid).numpy()
        return found

    def _clip(self, outcome: Outcome) -> torch.Tensor:
        assert outcome.packed is not None
        return self.model.data_preprocessor.swap_colors(outcome.packed['inputs'][0])

    def _criterion(self) -> Any:
        return copy.deepcopy(self.model.criterion).cpu()

    def _draw(self, outcome: Outcome) -> np.ndarray:
        assert outcome.packed is not None and outcome.sample is not None
        if self.masks:
            return mask_overlay(self._clip(outcome), outcome.sample, self._criterion())
        views = outcome.packed['inputs']
        prediction = to_prediction(outcome, activation_of(self.cfg.model.cls_head))
        lines = [
            f'{name_of(label, self.classes)} {probability:.1%}'
            for label, probability in prediction.top(3)
        ]
        shown = len(np.ravel(outcome.sample.metainfo['frame_inds']))
        return class_overlay(views, max(shown // views.shape[2], 1), lines)

    def _json(self, out_dir: str | Path) -> JsonFile:
        path = Path(out_dir, PREDICTIONS)
        if path.exists():
            raise FileExistsError(
                f'out_dir: {path} is there already; name another folder, or remove it'
            )
        return JsonFile(path, classes=self.classes)

    def _row(self, prediction: dict[str, Any]) -> dict[str, Any]:
        """Choose what is written of a prediction."""
        row = {key: prediction[key] for key in ('path', 'error')}
        if not self.masks:
            row['top'] = prediction.get('top', [])
        for key in _JSON_KEYS if self.masks else ('features',):
            if key in prediction:
                row[key] = _rounded(prediction[key].tolist())
        if 'frame_inds' in prediction:
            row['frame_inds'] = prediction['frame_inds'].tolist()
        return row

    def _save(self, overlay: np.ndarray, path: Path, outcome: Outcome) -> None:
        """Write an overlay that takes as long as what it shows."""
        assert outcome.sample is not None
        meta = outcome.sample.metainfo
        steps = np.diff(np.ravel(meta['frame_inds']))
        step = np.median(steps[steps > 0]) if (steps > 0).any() else 1
        fps = round((meta.get('avg_fps') or 30) / step)
        with atomic_path(path) as unfinished:
            unfinished.write_bytes(encode_video(overlay, int(np.clip(fps, 1, 60))))

    def _inputs_to_list(self, inputs: Any) -> list[Source]:
        """List files, arrays and cameras; see :meth:`__call__`."""
        if not isinstance(inputs, list | tuple):
            inputs = [inputs]
        sources: list[Source] = []
        for number, value in enumerate(inputs):
            if isinstance(value, str | Path):
                sources += find_files([os.fspath(value)])
            elif isinstance(value, np.ndarray):
                if value.dtype != np.uint8 or value.ndim != 4 or value.shape[3] != 3:
                    raise ValueError(
                        f'inputs[{number}]: expected frames as uint8, shape (T, H, W, '
                        f'3), RGB, got {value.dtype}, shape {value.shape}'
                    )
                if not value.size:
                    raise ValueError(
                        f'inputs[{number}]: expected frames, got none: {value.shape}'
                    )
                sources.append(value)
            elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                sources.append(value)
            else:
                raise ValueError(
                    f'inputs[{number}]: expected a path, an array of frames or the '
                    f'number of a camera, got {value!r}'
                )
        return sources

    def _init_model(
        self, cfg: Any, weights: str | None, device: str = 'cpu'
    ) -> BaseRecognizer:
        assert weights is not None
        if not cfg:
            cfg.update(_saved_config(weights)._cfg_dict)
        if not cfg.get('model'):
            raise ValueError('config: expected one with a model, got none')
        return load_model(cfg, weights).to(device)

    def _init_pipeline(self, cfg: Any) -> Callable[..., Videos]:
        """Choose how videos are read.

        A classifier reads them as in its test; a masked autoencoder takes the clip in
        the middle of the video and of its frames, spaced as in training.
        """
        if self.masks:
            size = self.model.backbone.clip_size
            pipeline = center_clip_pipeline(size, **clip_spacing(cfg))
            return partial(Videos, pipeline=with_meta_keys(pipeline, *_META))
        if not self.model.with_cls_head or not cfg.get('test_dataloader'):
            raise ValueError(
                'config: expected a classifier with model.cls_head and '
                'test_dataloader, or a masked autoencoder, got a '
                f'{type(self.model).__name__} without them'
            )
        source = innermost(cfg.test_dataloader['dataset'])
        return partial(
            Videos,
            pipeline=with_meta_keys(source['pipeline'], *_META),
            modality=source.get('modality', 'RGB'),
            start_index=source.get('start_index', 0),
        )

    def _init_visualizer(self, cfg: Any) -> None:
        """Need none: MMEngine's would write to the folder of a run."""


def _saved_config(checkpoint: str) -> Config:
    """Read the config that MMEngine has put into a checkpoint."""
    content = read_file(checkpoint)
    for keys in (('message_hub', 'runtime_info', 'cfg'), ('meta', 'cfg')):
        value = content
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str):
            return read_config_text(value)
    raise ValueError(f'{checkpoint}: holds no config: name that of its training')


def _data_sample(outcome: Outcome) -> ActionDataSample:
    if outcome.sample is not None:
        return outcome.sample
    return ActionDataSample(metainfo=dict(filename=outcome.name, error=outcome.error))


def _overlay_name(number: int, name: str) -> str:
    return f'{number:04d}_{re.sub(r"[^-.a-zA-Z0-9_]", "_", Path(name).stem)[:100]}.mp4'


def _rounded(value: Any) -> Any:
    """Keep the digits that count of floats in nested lists."""
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return float(f'{value:.6g}')
    return int(value)
