"""MMAction2's own tools, on configs and checkpoints of this project."""

from __future__ import annotations

import os
import runpy
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any
from unittest import mock

import mmaction
import numpy as np
import torch
from mmengine.analysis import complexity_analysis
from mmengine.analysis.jit_handles import get_shape
from mmengine.config import Config

from projects.adamae_files import find_config

from ..utils.fileio import atomic_path
from ..video.writer import encode_video
from ..visualization.grad_cam import TokenGradCAM
from .errors import did_you_mean
from .model_sizes import follow_model

FOLDERS = 'analysis_tools', 'deployment', 'misc', 'visualizations'
# What a tool imports and MMAction2 does not require.
_PACKAGES = {'analyze_logs': 'seaborn'}


def find_tools() -> dict[str, Path]:
    """List the tools that MMAction2's package brings along: by name, the script."""
    root = Path(mmaction.__file__).parent / '.mim/tools'
    if not root.is_dir():  # a source checkout
        root = Path(mmaction.__file__).parents[1] / 'tools'
    scripts = (path for name in FOLDERS for path in sorted((root / name).glob('*.py')))
    return {path.stem: path for path in scripts}


def run_mm_tool(name: str, arguments: Sequence[str]) -> None:
    """Run a tool of MMAction2 in this process.

    Importing this package has made MMAction2 import, and has registered the parts of
    our models. In addition pipelines follow the sizes of the model, ``get_flops``
    counts fused attention, ``vis_cam`` takes the layers of transformers,
    ``clip_feature_extraction`` heeds ``--video-root`` for the
    datasets of this project, ``analyze_logs`` reads what MMEngine writes, and videos
    are written where moviepy 1 is missing.

    Args:
        name (str): of the script, without ``.py``.
        arguments (Sequence[str]): of its command line; the first one may be the name of
            a config that comes with the package.

    Raises:
        ValueError: if there is no such tool, or a package that it needs is missing.
    """
    tools = find_tools()
    if name not in tools:
        raise ValueError(
            f'TOOL: expected one of {", ".join(tools)}, got {name!r}'
            f'{did_you_mean(name, list(tools))}'
        )
    package = _PACKAGES.get(name)
    if package and find_spec(package) is None:
        raise ValueError(
            f'{name}: this tool of MMAction2 needs {package}, which is not installed: '
            f'pip install {package}'
        )
    arguments = [*map(find_config, arguments[:1]), *arguments[1:]]
    if name == 'vis_cam' and not _given(arguments, '--device'):
        arguments += ['--device', 'cuda:0' if torch.cuda.is_available() else 'cpu']
    if name == 'clip_feature_extraction':
        arguments = _root_as_option(arguments)
    with ExitStack() as stack:
        patch = mock.patch.object
        stack.enter_context(patch(sys, 'argv', [name, *arguments]))
        stack.enter_context(patch(mmaction.utils, 'GradCAM', TokenGradCAM))
        stack.enter_context(patch(Config, 'fromfile', _followed(Config.fromfile)))
        merged = _merged(Config.merge_from_dict)
        stack.enter_context(patch(Config, 'merge_from_dict', merged))
        counted = {'aten::scaled_dot_product_attention': _attention_multiply_adds}
        stack.enter_context(
            mock.patch.dict(complexity_analysis._DEFAULT_SUPPORTED_FLOP_OPS, counted)
        )
        stack.enter_context(_video_writer())
        if name != 'analyze_logs':
            runpy.run_path(str(tools[name]), run_name='__main__')
        else:
            script = runpy.run_path(str(tools[name]))
            functions = script['main'].__globals__
            functions['load_json_logs'] = _as_of_mmcv(functions['load_json_logs'])
            script['main']()


def _followed(read: Callable[..., Config]) -> Callable[..., Config]:
    def fromfile(*args: Any, **kwargs: Any) -> Config:
        cfg = read(*args, **kwargs)
        follow_model(cfg)
        return cfg

    return fromfile


def _merged(merge: Callable[..., None]) -> Callable[..., None]:
    def merge_from_dict(cfg: Config, *args: Any, **kwargs: Any) -> None:
        merge(cfg, *args, **kwargs)
        follow_model(cfg)

    return merge_from_dict


def _given(arguments: Sequence[str], option: str) -> bool:
    return any(a == option or a.startswith(f'{option}=') for a in arguments)


def _root_as_option(arguments: Sequence[str]) -> list[str]:
    """Turn ``--video-root``, which holds for ``VideoDataset`` only, into an option."""
    left, root = [], None
    words = iter(arguments)
    for word in words:
        if word == '--video-root':
            root = next(words, None)
        elif word.startswith('--video-root='):
            root = word.partition('=')[2]
        else:
            left.append(word)
    if root is None:
        return list(arguments)
    option = f'test_dataloader.dataset.data_prefix.video={root}'
    if '--cfg-options' in left:
        left.insert(left.index('--cfg-options') + 1, option)
        return left
    return [*left, '--cfg-options', option]


def _as_of_mmcv(load: Callable[[list[str]], list[dict]]) -> Callable[..., list[dict]]:
    """Let a tool read logs of MMEngine that expects those of MMCV.

    They had a mode in every line and counted the iterations of an epoch.
    """

    def load_json_logs(paths: list[str]) -> list[dict]:
        logs = load(paths)
        for log in logs:
            done = 0
            for epoch in sorted(log):
                lines = log[epoch]
                last = lines['iter'][-1]
                lines['iter'] = [number - done for number in lines['iter']]
                lines['mode'] = ['train'] * len(lines['iter'])
                done = last
        return logs

    return load_json_logs


def _attention_multiply_adds(inputs: list[Any], outputs: list[Any]) -> int:
    """Count the two products of ``scaled_dot_product_attention``."""
    query, key, value = (get_shape(tensor) for tensor in inputs[:3])
    assert query and key and value
    return prod(query) * key[-2] + prod(query[:-1]) * key[-2] * value[-1]


class _ImageSequenceClip:
    """What MMAction2 needs of moviepy 1's class of this name."""

    def __init__(self, frames: Sequence[np.ndarray], fps: float) -> None:
        video = np.stack([np.ascontiguousarray(frame) for frame in frames])
        # H.264 wants whole blocks of colors.
        odd = [(0, size % 2) for size in video.shape[1:3]]
        self._frames = np.pad(video, [(0, 0), *odd, (0, 0)], mode='edge')
        self._fps = fps

    def write_videofile(self, path: str, **kwargs: Any) -> None:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with atomic_path(path) as partial:
            partial.write_bytes(encode_video(self._frames, round(self._fps)))

    def write_gif(self, path: str, **kwargs: Any) -> None:
        from PIL import Image

        first, *others = map(Image.fromarray, self._frames)
        with atomic_path(path) as partial:
            first.save(
                partial,
                'GIF',
                save_all=True,
                append_images=others,
                duration=1000 / self._fps,
                loop=0,
            )


@contextmanager
def _video_writer() -> Iterator[None]:
    """Stand in for ``moviepy.editor``, which moviepy 2 no longer has."""
    names = 'moviepy', 'moviepy.editor'
    before = {name: sys.modules.get(name) for name in names}
    if find_spec(names[0]) is not None and find_spec(names[1]) is not None:
        yield
        return
    modules = {name: types.ModuleType(name) for name in names}
    vars(modules[names[1]])['ImageSequenceClip'] = _ImageSequenceClip
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
