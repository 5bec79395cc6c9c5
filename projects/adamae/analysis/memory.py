"""Peak GPU memory of a training step, predicted without a GPU.

The step runs on fake tensors, which have a shape, a dtype and a lifetime but no
memory. Every storage is followed from the operator that makes it to the moment it is
freed, as PyTorch's caching allocator would count it (``max_memory_allocated``).
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from inspect import signature
from typing import Any, NamedTuple

import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.autograd.graph import _engine_run_backward
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_iter

from ..datasets.from_config import clips_per_video
from ..utils import cpu
from .flops import without_weights

# CUDA's allocator hands out multiples of this many bytes.
BLOCK = 512
# What a byte is held for. "temporary" is what the backward pass and the optimizer
# make on their way, recomputed activations included.
KINDS = (
    'weights',
    'optimizer state',
    'inputs',
    'gradients',
    'activations',
    'temporary',
)
# Half-precision operands that autocast on CUDA turns to float32 and autocast on the
# CPU leaves alone (PyTorch, "CUDA Ops that can autocast to float32").
_FLOAT32_ON_CUDA = frozenset(
    'layer_norm group_norm norm exp log log1p pow square rsqrt reciprocal sum prod '
    'cumsum mse_loss l1_loss smooth_l1_loss nll_loss cross_entropy kl_div softplus'
    .split()
)  # fmt: skip


class Peak(NamedTuple):
    """Memory at the moment of a step that holds most.

    Attributes:
        total (int): bytes.
        parts (dict[str, int]): bytes by what they are held for, see ``KINDS``.
        moment (str): the operator that made the last of them, and its pass.
    """

    total: int
    parts: dict[str, int]
    moment: str


class TrainingStep:
    """What a step of training is made of; one with real tensors is run, too.

    Args:
        model (nn.Module): in training mode.
        optimizer (Optimizer): of its parameters.
        loss (Callable[[], Tensor]): the forward pass, a scalar.
        amp (torch.dtype, optional): that of autocast. Defaults to None, no autocast.
        keep_gradients (bool): whether gradients are there during the forward pass:
            with gradient accumulation, where they are freed only before the backward
            pass, or as views of ``DistributedDataParallel``'s buckets, which are never
            freed. Defaults to False.
        buckets (bool): whether there is a second copy of the gradients all the time,
            as in ``DistributedDataParallel`` without such views. Defaults to False.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        loss: Callable[[], Tensor],
        amp: torch.dtype | None = None,
        keep_gradients: bool = False,
        buckets: bool = False,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loss = loss
        self.amp = amp
        self.keep_gradients = keep_gradients
        trained = (p for p in model.parameters() if p.requires_grad)
        self.buckets = [torch.empty_like(p) for p in trained] if buckets else []

    def warm_up(self) -> None:
        """Make the optimizer's state, as the first step of a run does."""
        for group in self.optimizer.param_groups:
            for param in group['params']:
                if param.requires_grad:
                    param.grad = torch.zeros_like(param)
        self.optimizer.step()
        if not self.keep_gradients:
            self.optimizer.zero_grad(set_to_none=True)

    def run(self, enter: Callable[[str], None] = lambda kind: None) -> None:
        """Run forward pass, backward pass and optimizer.

        Args:
            enter (Callable[[str], None]): told what the storages of the coming pass
                are held for.
        """
        enter('activations')
        param = next(self.model.parameters())
        cast: Any = nullcontext()
        if self.amp is not None:
            cast = torch.autocast(param.device.type, dtype=self.amp)
        with cast:
            loss = self.loss()
        enter('temporary')
        loss.backward()
        del loss
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


class StorageTracker(TorchDispatchMode):
    """Count the bytes of all tensors that operators make, while they live.

    Attributes:
        kind (str): what new storages are held for.
        live (Counter): bytes alive by kind.
        peak (Peak): the largest total since :meth:`restart`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kind = 'weights'
        self.live: Counter[str] = Counter()
        self._kinds: dict[int, str] = {}
        self.restart()

    def restart(self) -> None:
        """Forget the peak, not what is alive."""
        self.peak = Peak(0, {}, 'start')
        self._compare('start')

    def enter(self, kind: str) -> None:
        """Say what storages made from now on are held for."""
        self.kind = kind

    def add(self, tensors: Iterable[Any], kind: str | None = None) -> None:
        """Count tensors; a storage that is known is counted once.

        Args:
            tensors (Iterable): what is not a tensor is skipped.
            kind (str, optional): moves their storages to another kind.
        """
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                continue
            storage = tensor.untyped_storage()
            key = id(storage)  # as long as it lives
            size = -(-storage.nbytes() // BLOCK) * BLOCK
            known = self._kinds.get(key)
            if known is None:
                weakref.finalize(storage, self._forget, key, size)
            elif kind is not None:
                self.live[known] -= size
            else:
                continue
            self._kinds[key] = kind or self.kind
            self.live[self._kinds[key]] += size

    def _forget(self, key: int, size: int) -> None:
        self.live[self._kinds.pop(key)] -= size

    def _compare(self, name: str, extra: int = 0) -> None:
        total = sum(self.live.values()) + extra
        if total > self.peak.total:
            parts = {kind: self.live[kind] for kind in KINDS}
            parts['temporary'] += extra
            self.peak = Peak(total, parts, f'{name} ({self.kind})')

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.add(tree_iter(out))
        self._compare(str(func), _workspace(func, args))
        return out


def _workspace(func: Any, args: Any) -> int:
    """Bytes an operator needs inside: FlashAttention-2 sums dQ up in float32."""
    if func is torch.ops.aten._scaled_dot_product_flash_attention_backward.default:
        query: Tensor = args[1]
        return 4 * query.numel() + 4 * query[..., 0].numel()
    return 0


class _CudaRules(TorchFunctionMode):
    """Let the CPU, on which fake tensors live, choose kernels and dtypes as CUDA does.

    Autocast itself is PyTorch's, for the CPU; here is what differs.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, '__name__', '')
        if func is Tensor.backward:
            # Inside of it this mode would be off, also for recomputed activations.
            loss = args[0]
            with self:
                return _engine_run_backward(
                    (loss,),
                    (torch.ones_like(loss),),
                    False,
                    False,
                    (),
                    allow_unreachable=True,
                    accumulate_grad=True,
                )
        if name == 'scaled_dot_product_attention':
            return _flash_attention(*args, **kwargs)
        if name == 'dropout' and func is not torch.dropout:
            return _dropout(*args, **kwargs)
        if name == 'item' and not torch.is_grad_enabled():
            return 1.0  # an optimizer asks how many steps it has made
        if torch.is_autocast_enabled('cpu'):
            if name in ('softmax', 'log_softmax'):
                return _softmax(name, *args, **kwargs)
            if name in _FLOAT32_ON_CUDA:
                args = [
                    a.float() if isinstance(a, Tensor) and _is_half(a) else a
                    for a in args
                ]
        return func(*args, **kwargs)


def _is_half(x: Tensor) -> bool:
    return x.dtype in (torch.float16, torch.bfloat16)


def _flash_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **_: Any,
) -> Tensor:
    """Attention that keeps its output and one number a row, and no N x N matrix."""
    if torch.is_autocast_enabled('cpu'):
        dtype = torch.get_autocast_dtype('cpu')
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    return torch.ops.aten._scaled_dot_product_flash_attention(
        q, k, v, dropout_p, is_causal, scale=scale
    )[0]


def _dropout(
    x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Dropout that keeps one byte an element: CUDA's kernel."""
    return torch.native_dropout(x, p, True)[0] if training and p > 0 else x


def _softmax(name: str, x: Tensor, dim: int = -1, *_: Any, **kwargs: Any) -> Tensor:
    """Softmax from half to full precision, in one kernel from float16."""
    dim = kwargs.get('dim', dim)
    kernel = torch._softmax if name == 'softmax' else torch._log_softmax
    if x.dtype == torch.float16:
        return kernel(x, dim, True)
    return kernel(x.float(), dim, False)


@contextmanager
def faked() -> Iterator[FakeTensorMode]:
    """Make every new tensor a fake one, on a CPU that chooses as CUDA does."""
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with cpu.onednn(False), fake as mode, _CudaRules():
        yield mode


def predict(make: Callable[[], TrainingStep]) -> Peak:
    """Predict the peak of a training step in the steady state of a run.

    Counted is what PyTorch's allocator would hand out for tensors, and
    FlashAttention's sum for dQ. Not counted are the workspaces of cuBLAS and cuDNN,
    the CUDA context and fragmentation.

    Args:
        make (Callable[[], TrainingStep]): called where all tensors are fake.

    Returns:
        Peak: the peak of forward pass, backward pass and optimizer.
    """
    tracker = StorageTracker()
    with faked(), tracker:
        tracker.enter('inputs')
        step = make()
        model, optimizer = step.model, step.optimizer
        tracker.add([*model.parameters(), *model.buffers()], 'weights')
        hooks = []
        for param in model.parameters():
            if param.requires_grad:
                move = partial(_move_gradient, tracker)
                hooks.append(param.register_post_accumulate_grad_hook(move))
        step.warm_up()
        for state in optimizer.state.values():
            tracker.add(state.values(), 'optimizer state')
        grads = (p.grad for p in model.parameters())
        tracker.add([*grads, *step.buckets], 'gradients')
        tracker.restart()
        step.run(tracker.enter)
        for hook in hooks:
            hook.remove()
    return tracker.peak


def _move_gradient(tracker: StorageTracker, param: Tensor) -> None:
    tracker.add([param.grad], 'gradients')


def measure(make: Callable[[], TrainingStep], steps: int = 3) -> int:
    """Measure the peak of real training steps on the GPU.

    Args:
        make (Callable[[], TrainingStep]): called where new tensors are on the GPU.
        steps (int): how many are run. Defaults to 3.

    Returns:
        int: bytes, ``torch.cuda.max_memory_allocated``.

    Raises:
        RuntimeError: if there is no GPU.
    """
    if not torch.cuda.is_available():
        raise RuntimeError('expected a GPU to measure on, got none')
    with torch.device('cuda'):
        step = make()
    step.warm_up()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(steps):
        step.run()
    return torch.cuda.max_memory_allocated()


def config_step(
    cfg: Config,
    batch_size: int | None = None,
    amp: str | None = 'config',
    distributed: bool = False,
) -> TrainingStep:
    """Make the training step of a config, on fake tensors or on the current device.

    Mixup and CutMix are skipped: they change values, not sizes.

    Args:
        cfg (Config): of a recognizer, with ``optim_wrapper``.
        batch_size (int, optional): clips per step and process. Defaults to
            :func:`clips_per_step`.
        amp (str, optional): ``'float16'``, ``'bfloat16'``, None for full precision,
            or ``'config'`` for what the config says. Defaults to ``'config'``.
        distributed (bool): as one of several processes, whose gradients
            ``DistributedDataParallel`` exchanges; its buckets stay all the time. They
            hold the gradients themselves if ``model_wrapper_cfg`` of the config sets
            ``gradient_as_bucket_view``, else copies. Defaults to False.

    Returns:
        TrainingStep: gradients are held over a step if the config accumulates them.

    Raises:
        ValueError: if the size of a clip is unknown, or the size of a batch.
    """
    wrapper = cfg.optim_wrapper
    if amp == 'config':
        mixed = wrapper.get('type') == 'AmpOptimWrapper'
        amp = (wrapper.get('dtype') or 'float16') if mixed else None
    if batch_size is None:
        batch_size = clips_per_step(cfg)
    if batch_size < 1:
        raise ValueError(f'batch size: expected at least 1 clip, got {batch_size}')
    if is_faking():
        # Constructors may look at values.
        with _disable_current_modes(), without_weights():
            model = MODELS.build(cfg.model)
        model.to_empty(device='cpu')
    else:
        model = MODELS.build(cfg.model)
        model.init_weights()
    model.train()
    optimizer = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            optimizer=_as_on_cuda(wrapper.optimizer),
            **{
                key: wrapper[key]
                for key in ('constructor', 'paramwise_cfg')
                if wrapper.get(key)
            },
        ),
    ).optimizer
    inputs, samples = _batch(model, cfg.model, batch_size)

    def loss() -> Tensor:
        return model.parse_losses(model(inputs, samples, mode='loss'))[0]

    ddp = cfg.get('model_wrapper_cfg') or {}
    views = distributed and ddp.get('gradient_as_bucket_view', False)
    keep = views or wrapper.get('accumulative_counts', 1) > 1
    dtype = None if amp is None else getattr(torch, amp)
    return TrainingStep(
        model, optimizer, loss, dtype, keep, buckets=distributed and not views
    )


def clips_per_step(cfg: Config) -> int:
    """Count the clips of a batch: videos times the clips made of each.

    Raises:
        ValueError: if there is no loader, or no pipeline in it.
    """
    loader = cfg.get('train_dataloader')
    if not loader:
        raise ValueError('the config has no train_dataloader: give the batch size')
    return loader.batch_size * clips_per_video(loader.dataset)


def checkpoint_activations(cfg: Config) -> None:
    """Switch activation checkpointing on in every part of a model, in place."""
    for name in ('backbone', 'sampler', 'decoder'):
        part = cfg.model.get(name)
        if part is not None:
            kind = MODELS.get(part['type'])
            if 'with_cp' in signature(kind.__init__).parameters:
                part['with_cp'] = True


def _as_on_cuda(cfg: Any) -> Any:
    """Give an optimizer the implementation that PyTorch takes by default on CUDA."""
    cfg = dict(cfg)
    if not cfg.get('fused') and 'foreach' not in cfg:
        kind = getattr(torch.optim, cfg['type'], None)
        if kind is not None and 'foreach' in signature(kind).parameters:
            cfg['foreach'] = True
    return cfg


def is_faking() -> bool:
    """Whether new tensors are fake."""
    return isinstance(torch.empty(0), FakeTensor)


def _batch(
    model: nn.Module, model_cfg: Any, batch_size: int
) -> tuple[Tensor, list[ActionDataSample]]:
    """Make a batch as the data preprocessor gives it, soft labels included."""
    backbone: Any = model.backbone
    if not hasattr(backbone, 'clip_size'):
        raise ValueError(
            f'{type(backbone).__name__} does not state the size of its clips: expected '
            'a MaskedVisionTransformer'
        )
    samples = [ActionDataSample() for _ in range(batch_size)]
    classes = (model_cfg.get('cls_head') or {}).get('num_classes')
    if classes is not None:
        for sample in samples:
            sample.set_field(torch.zeros(classes), 'gt_label', dtype=Tensor)
    clips = torch.zeros(batch_size, backbone.in_channels, *backbone.clip_size)
    # A recognizer for classes has an axis for the views of a video.
    return clips if classes is None else clips[:, None], samples
