"""Models in files for programs without this project: ONNX and ``torch.export``."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmaction.models import Recognizer3D
from mmaction.models.recognizers.base import BaseRecognizer
from mmengine.config import Config
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ..datasets.fixed_videos import FixedVideos
from ..datasets.from_config import center_clip_pipeline, clip_spacing, innermost
from ..evaluation.features import ErrorsAsValues, encode
from ..models.mae_recognizer import MAERecognizer
from ..models.transformer import set_attention_kernel
from ..utils.fileio import atomic_path
from .predict import names_of_classes
from .videos import Videos

SUFFIXES = '.onnx', '.pt2'
#: How far a file may be from its model, as a share of the largest output.
TOLERANCE = 1e-4
#: The file inside of a ``.pt2`` file that holds what ``describe`` and ``export`` say.
METADATA = 'metadata.json'
_ONNX_PACKAGES = 'onnx', 'onnxruntime', 'onnxscript'
_PROTOBUF_LIMIT = 2**31  # bytes of an ONNX file
_RANDOM_BATCHES = 1, 3
_REAL_VIDEOS = 2


def check_target(path: str) -> None:
    """Check that a model can be exported to a file of this name.

    Raises:
        ValueError: if it ends in no known suffix, something is there already, or
            packages that write ONNX are not installed.
    """
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise ValueError(
            f'--out: expected a file that ends in {" or ".join(SUFFIXES)}, got {path!r}'
        )
    if Path(path).exists():
        raise ValueError(
            f'--out: {path} is there already; name another file, or remove it'
        )
    missing = [name for name in _ONNX_PACKAGES if find_spec(name) is None]
    if suffix == '.onnx' and missing:
        raise ValueError(
            f'--out: a file for ONNX needs what is not installed here: pip install '
            f'{" ".join(missing)}; or name a .pt2 file'
        )


class ClipModel(nn.Module):
    """What a file computes: clips in, scores or features out.

    Scores are those of the head before any softmax, of each clip; features are the mean
    over all tokens, as of ``evaluation.features.encode``.

    Args:
        model (BaseRecognizer): a classifier (``Recognizer3D``) or a masked autoencoder
            with a ``MaskedVisionTransformer``.
        uint8 (bool): take pixels as they come from a pipeline and normalize them.
            Defaults to False: take normalized clips, float32.

    Attributes:
        output (str): ``'scores'`` or ``'features'``.

    Raises:
        ValueError: if the model is of another kind.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: BaseRecognizer, uint8: bool = False) -> None:
        super().__init__()
        classifies = isinstance(model, Recognizer3D) and model.with_cls_head
        if model.with_neck or not (classifies or isinstance(model, MAERecognizer)):
            raise ValueError(
                'model: expected a Recognizer3D with a cls_head and no neck, or a '
                f'MAERecognizer, got a {type(model).__name__}'
            )
        self.backbone = model.backbone
        self.head = model.cls_head if classifies else None
        self.output = 'scores' if classifies else 'features'
        self.uint8 = uint8
        preprocessor = model.data_preprocessor
        self.swaps_colors = bool(preprocessor.to_rgb)
        # Without them, a preprocessor leaves pixels as they are.
        self.register_buffer('mean', getattr(preprocessor, 'mean', torch.zeros(1)))
        self.register_buffer('std', getattr(preprocessor, 'std', torch.ones(1)))
        # Chosen for this machine otherwise; a file may go to any.
        set_attention_kernel(self, onednn=False)
        self.eval()

    def forward(self, clips: Tensor) -> Tensor:
        """Compute scores (B, classes) or features (B, D) of clips (B, C, T, H, W)."""
        if self.uint8:
            clips = clips.flip(1) if self.swaps_colors else clips
            clips = (clips.float() - self.mean) / self.std
        features = self.backbone.pool(self.backbone.encode(self.backbone.embed(clips)))
        return features if self.head is None else self.head(features)

    @property
    def clip_shape(self) -> tuple[int, ...]:
        """C, T, H, W of a clip."""
        return (self.backbone.in_channels, *self.backbone.clip_size)


@torch.no_grad()
def to_program(module: ClipModel) -> ExportedProgram:
    """Trace a model for any number of clips, with ``torch.export``."""
    dtype = torch.uint8 if module.uint8 else torch.float32
    # Of one clip, or none, a batch would be taken for a constant.
    example = torch.zeros(2, *module.clip_shape, dtype=dtype)
    shapes = {'clips': {0: Dim('batch')}}
    return torch.export.export(module, (example,), dynamic_shapes=shapes, strict=False)


def to_onnx(program: ExportedProgram, output: str) -> Any:
    """Translate a traced model.

    Args:
        program (ExportedProgram): from :func:`to_program`.
        output (str): name of what it computes; clips are called ``'clips'``.

    Returns:
        onnx.ModelProto: the model with its weights.

    Raises:
        ValueError: if these are more than a file of ONNX holds.
    """
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    if size >= _PROTOBUF_LIMIT:
        raise ValueError(
            f'--out: a file for ONNX holds less than 2 GiB, the weights are '
            f'{size / 2**30:.1f} GiB; name a .pt2 file'
        )
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of the exporter, about itself
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=['clips'],
            output_names=[output],
            verbose=False,
        )
    assert exported is not None
    return exported.model_proto


def run_onnx(content: bytes) -> Callable[[Tensor], Tensor]:
    """Load a model of ONNX into onnxruntime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(
        content, options, providers=['CPUExecutionProvider']
    )

    def run(clips: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {'clips': clips.numpy()})[0])

    return run


def run_program(program: ExportedProgram) -> Callable[[Tensor], Tensor]:
    """Write a traced model, read it again, and give what that computes."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    return torch.export.load(buffer).module()


def read_clips(
    cfg: Config, clip_size: tuple[int, int, int], files: Sequence[str] = ()
) -> Tensor:
    """Read clips to compare a file with its model on.

    Args:
        cfg (Config): of the model; its validation or training videos are read if no
            others are named.
        clip_size (tuple[int, int, int]): frames, height and width.
        files (Sequence[str]): videos, of which the clip in the middle is taken.
            Defaults to none.

    Returns:
        Tensor: one clip of each video, uint8, shape (V, C, T, H, W).

    Raises:
        ValueError: if there are no videos, or one cannot be read.
    """
    try:
        videos: Any = (
            Videos(files, center_clip_pipeline(clip_size))
            if files
            else FixedVideos(cfg, _REAL_VIDEOS, clip_size)
        )
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(
            'expected videos to compare the file with its model on, got none from the '
            f'config ({error}); name one or more with --video'
        ) from error
    clips = []
    for packed in map(ErrorsAsValues(videos).__getitem__, range(len(videos))):
        if isinstance(packed, Exception):
            raise ValueError(f'{packed}; name others with --video') from packed
        clips.append(packed['inputs'][0])
    return torch.stack(clips)


@torch.no_grad()
def largest_difference(
    run: Callable[[Tensor], Tensor], module: ClipModel, model: Any, clips: Tensor
) -> float:
    """Compare what a file computes with the model it was made of.

    Args:
        run (Callable): takes what ``module`` takes.
        module (ClipModel): what was exported.
        model (BaseRecognizer): in evaluation mode; it computes as in a test.
        clips (Tensor): uint8, shape (V, C, T, H, W); random ones are added, as batches
            of other sizes.

    Returns:
        float: the largest difference, as a share of the largest output of its batch;
        infinite if an output is not finite.
    """
    generator = torch.Generator().manual_seed(0)
    batches = [
        torch.randint(
            256, (size, *module.clip_shape), dtype=torch.uint8, generator=generator
        )
        for size in _RANDOM_BATCHES
    ]
    worst = 0.0
    for batch in [*batches, clips]:
        data = dict(inputs=[*batch[:, None]], data_samples=None)
        inputs = model.data_preprocessor(data)['inputs']
        inputs = inputs.reshape(-1, *inputs.shape[-4:])
        if module.head is None:
            expected = encode(model, inputs)
        else:
            expected = model(inputs[:, None], mode='tensor', stage='head')
        found = run(batch if module.uint8 else inputs.contiguous())
        if found.shape != expected.shape or not found.isfinite().all():
            return float('inf')
        scale = expected.abs().max().clamp(min=torch.finfo().tiny)
        worst = max(worst, float((found - expected).abs().max() / scale))
    return worst


def describe(
    cfg: Config, module: ClipModel, checkpoint: str
) -> tuple[dict[str, str], str | None]:
    """Say what one has to know to use a file without this project.

    Args:
        cfg (Config): of the model.
        module (ClipModel): what is exported.
        checkpoint (str): file of its weights, which may name the classes.

    Returns:
        tuple[dict[str, str], str | None]: texts; lists and dicts are JSON. A warning,
        where names of classes contradict each other.

    Raises:
        FileNotFoundError: if there is no file of the classes' names.
        ValueError: if names in it are empty or occur twice.
    """
    shape = ', '.join(map(str, module.clip_shape))
    pixels = f'{"BGR" if module.swaps_colors else "RGB"}, 0 to 255'
    kind = f'uint8, {pixels}'
    if not module.uint8:
        kind = 'float32, RGB, (pixel - mean) / std of pixels from 0 to 255'
    info = {
        'producer': 'AdaMAE for MMAction2',
        'checkpoint': Path(checkpoint).name,
        'clips': f'(batch, {shape}): channels, frames, height, width; {kind}',
        'mean': json.dumps(module.mean.flatten().tolist()),
        'std': json.dumps(module.std.flatten().tolist()),
    }
    if module.head is None:
        info['features'] = f'(batch, {module.backbone.embed_dims}), float32'
        if cfg.get('train_dataloader'):
            size = module.backbone.clip_size
            steps = center_clip_pipeline(size, **clip_spacing(cfg))
            info['pipeline'] = json.dumps(steps)
        return info, None
    head: Any = module.head
    info['scores'] = f'(batch, {head.num_classes}), float32, before softmax'
    info['average_clips'] = str(head.average_clips)
    if cfg.get('test_dataloader'):
        source = innermost(cfg.test_dataloader['dataset'])
        info['pipeline'] = json.dumps(source['pipeline'], default=str)
    names, warning = names_of_classes(cfg, checkpoint)
    if names:
        info['classes'] = json.dumps(names, ensure_ascii=False)
    return info, warning


def export(
    model: BaseRecognizer,
    path: str | Path,
    clips: Tensor,
    uint8: bool = False,
    info: Mapping[str, str] = {},
) -> float:
    """Write a model to a file, if that computes what the model does.

    Args:
        model (BaseRecognizer): from ``load_model``; on the CPU.
        path (str | Path): ends in ``.onnx`` or ``.pt2``; written whole or not at all.
        clips (Tensor): real ones, from :func:`read_clips`, to compare on.
        uint8 (bool): see :class:`ClipModel`. Defaults to False.
        info (Mapping[str, str]): goes into the metadata of the file, with the result of
            the comparison. Defaults to nothing.

    Returns:
        float: see :func:`largest_difference`.

    Raises:
        ValueError: if that is more than :data:`TOLERANCE`, or the model is none that
            can be exported.
    """
    path, module = Path(path), ClipModel(model, uint8)
    program = to_program(module)
    proto = to_onnx(program, module.output) if path.suffix == '.onnx' else None
    run = run_onnx(proto.SerializeToString()) if proto else run_program(program)
    difference = largest_difference(run, module, model, clips)
    if not difference <= TOLERANCE:
        raise ValueError(
            f'{path}: not written, because it would compute something else: outputs '
            f'differ by up to {difference:.1e} of the largest one, expected at most '
            f'{TOLERANCE:.0e} (PyTorch {torch.__version__}); please report this'
        )
    info = {
        **info,
        'largest_difference': f'{difference:.1e}',
        'largest_difference_allowed': f'{TOLERANCE:.1e}',
        'compared_on': f'{sum(_RANDOM_BATCHES)} random and {len(clips)} real clips',
        'torch': torch.__version__,
    }
    with atomic_path(path) as partial, open(partial, 'wb') as file:
        if proto is None:
            extra = {METADATA: json.dumps(info, ensure_ascii=False, indent=2)}
            torch.export.save(program, file, extra_files=extra)
        else:
            for key, value in info.items():
                proto.metadata_props.add(key=key, value=value)
            file.write(proto.SerializeToString())
    return difference
