"""Weights, gradients and optimizer state spread over the processes of a run (FSDP)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import torch.distributed as dist
from mmengine._strategy import DDPStrategy
from mmengine.device import get_device
from mmengine.optim import BaseOptimWrapper
from mmengine.registry import STRATEGIES
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only

from projects.adamae_command import tool_name

from ..models.transformer import TransformerBlock


@STRATEGIES.register_module()
class ShardedStrategy(DDPStrategy):
    """Fully sharded data parallelism for models that do not fit next to their state.

    Every process keeps its share of each weight, and of its gradient and optimizer
    state; a transformer block is gathered while it runs (arXiv:2304.11277, as
    PyTorch's ``fully_shard``). Checkpoints are not sharded: a run without this
    strategy, or on another number of processes, resumes from them, and vice versa.

    MMEngine's own ``FSDPStrategy`` wraps PyTorch's first implementation, which needs
    an accelerator to save the optimizer. Arguments are those of ``DDPStrategy``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._full: dict[str, dict] = {}

    def _setup_env(self, *, launcher: str | None = None, **kwargs: Any) -> None:
        if launcher in (None, 'none'):
            raise ValueError(
                "ShardedStrategy: expected the launcher 'pytorch', 'slurm' or 'mpi', "
                f'got {launcher!r}; start with {tool_name("dist_train.sh")} (one GPU '
                f'is enough) or {tool_name("slurm_train.sh")}'
            )
        super()._setup_env(launcher=launcher, **kwargs)

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        model = self.convert_model(model.to(get_device()))
        # Processes have seeds of their own, and drew weights of their own.
        for tensor in chain(model.parameters(), model.buffers()):
            dist.broadcast(tensor.detach(), 0)
        mesh = init_device_mesh(get_device(), (dist.get_world_size(),))
        for module in list(model.modules()):
            if isinstance(module, TransformerBlock):
                fully_shard(module, mesh=mesh)
        fully_shard(model, mesh=mesh)
        return model

    def compile_model(self, model: nn.Module, **kwargs: Any) -> nn.Module:
        """Return the model as it is: compiling is left to ``CompileHook``."""
        return model

    def build_optim_wrapper(self, *args: Any, **kwargs: Any) -> BaseOptimWrapper:
        """Build a wrapper that clips by the norm over all processes, and logs it."""
        wrapper = super().build_optim_wrapper(*args, **kwargs)
        if getattr(wrapper, 'clip_grad_kwargs', None):
            wrapper.clip_func = partial(_full_result, wrapper.clip_func)
        return wrapper

    def save_checkpoint(self, filename: str, **kwargs: Any) -> None:
        """Gather weights and state on all processes, write them on the first."""
        self._full = dict(model=_gather(self.model.state_dict()))
        if kwargs.get('save_optimizer', True):
            self._full['optimizer'] = _gather(self.optim_wrapper.state_dict())
        super().save_checkpoint(filename, **kwargs)
        self._full = {}

    def model_state_dict(self) -> dict:
        """Return the weights that :meth:`save_checkpoint` has gathered."""
        return self._full['model']

    def optim_state_dict(self) -> dict:
        """Return the optimizer's state that :meth:`save_checkpoint` has gathered."""
        return self._full['optimizer']

    def load_model_state_dict(self, state_dict: dict, **kwargs: Any) -> None:
        """Load the weights of an unsharded model."""
        own = self.model.state_dict()
        parts = {
            name: shard_like(tensor, own.get(name))
            for name, tensor in state_dict.items()
        }
        super().load_model_state_dict(parts, **kwargs)

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Load the state of an optimizer over unsharded weights."""
        groups = self.optim_wrapper.optimizer.param_groups
        params = [param for group in groups for param in group['params']]
        state = {
            index: {
                key: shard_like(value, params[index]) for key, value in part.items()
            }
            for index, part in state_dict['state'].items()
        }
        self.optim_wrapper.load_state_dict({**state_dict, 'state': state})


def _full_result(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function; a sharded result is gathered."""
    result = function(*args, **kwargs)
    return result.full_tensor() if isinstance(result, DTensor) else result


def _gather(state: dict) -> dict:
    """Gather sharded tensors; only the first process keeps them."""
    keep = dist.get_rank() == 0

    def full(tensor: Tensor) -> Tensor:
        if isinstance(tensor, DTensor):
            tensor = tensor.full_tensor()
        return tensor.detach().cpu() if keep else tensor.new_empty(0)

    return tree_map_only(Tensor, full, state)


def shard_like(value: Any, like: Any) -> Any:
    """Shard a tensor like another one of its shape."""
    if (
        isinstance(like, DTensor)
        and isinstance(value, Tensor)
        and value.shape == like.shape
    ):
        value = value.to(like.device)
        return distribute_tensor(value, like.device_mesh, like.placements)
    return value
