"""Values of a config that no run can mean, found before anything is built."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mmaction.registry import OPTIMIZERS
from mmengine.config import Config
from mmengine.runner import Priority

from .errors import did_you_mean, registered_names
from .model_sizes import iter_dicts


class _Number(NamedTuple):
    """What a number may be.

    Attributes:
        low (float): the least value.
        below (float): what it must be less than.
        is_whole (bool): whether it counts something.
        is_more (bool): whether ``low`` itself is too little.
    """

    low: float
    below: float = math.inf
    is_whole: bool = False
    is_more: bool = False

    def allows(self, value: Any) -> bool:
        if not isinstance(value, int | float) or not math.isfinite(value):
            return False
        is_low = value <= self.low if self.is_more else value < self.low
        is_kind = isinstance(value, int) or not self.is_whole
        return is_kind and not is_low and value < self.below

    def __str__(self) -> str:
        what = 'a whole number' if self.is_whole else 'a number'
        start = f'greater than {self.low}' if self.is_more else f'from {self.low}'
        return f'{what} {start}' + f', below {self.below}' * math.isfinite(self.below)


_COUNT, _COUNT_OR_0 = _Number(1, is_whole=True), _Number(0, is_whole=True)
_RATE, _SHARE = _Number(0), _Number(0, 1)
_POSITIVE = _Number(0, is_more=True)
# Keys of a config, and what is expected there, once or as each value of a list.
_NUMBERS = {
    r'\w+_dataloader\.(batch_size|prefetch_factor)': _COUNT,
    r'\w+_dataloader\.num_workers': _COUNT_OR_0,
    r'\w+_dataloader\..*\.(clip_len|frame_interval|num_clips)': _COUNT,
    r'\w+_dataloader\..*\.frames_per_second': _POSITIVE,
    r'train_dataloader\.sampler\.num_videos': _COUNT,
    r'train_cfg\.(max_epochs|max_iters|val_interval)': _COUNT,
    r'train_cfg\.val_begin': _COUNT_OR_0,
    r'optim_wrapper\.accumulative_counts': _COUNT,
    r'optim_wrapper\.clip_grad\.(max_norm|clip_value)': _POSITIVE,
    r'optim_wrapper\.optimizer\.(lr|weight_decay|eps|momentum)': _RATE,
    r'optim_wrapper\.optimizer\.betas': _SHARE,
    r'optim_wrapper\.paramwise_cfg\.\w+_(mult|rate)': _RATE,
    r'param_scheduler(\.\d+)?\.begin': _COUNT_OR_0,
    r'param_scheduler(\.\d+)?\.(end|T_max)': _COUNT,
    r'param_scheduler(\.\d+)?\.eta_min': _RATE,
    r'(default_hooks\.\w+|custom_hooks\.\d+)\.(interval|max_keep_ckpts)': _Number(
        -1, is_whole=True
    ),
    r'log_processor\.window_size': _COUNT,
    r'auto_scale_lr\.base_batch_size': _POSITIVE,
    r'randomness\.seed': _Number(0, 2**32, is_whole=True),
    r'model\.\w+\.(num_heads|embed_dims|patch_size|tubelet_size|in_channels)': _COUNT,
    r'model\.(backbone|cls_head)\.(depth|num_classes)': _COUNT,
    r'model\.(sampler|decoder)\.depth': _COUNT_OR_0,
    r'model\.\w+\.(\w+_)?(drop_rate|drop_path_rate|dropout_ratio)': _SHARE,
    r'model\.\w+\.mlp_ratio': _POSITIVE,
    r'model\.data_preprocessor\.std': _POSITIVE,
}
# Names that nobody looks up in a registry.
_NAMES = {
    r'env_cfg\.mp_cfg\.mp_start_method': ('fork', 'spawn', 'forkserver'),
    r'log_level': ('CRITICAL', 'ERROR', 'WARNING', 'INFO', 'DEBUG', 'NOTSET'),
    r'(default_hooks\.\w+|custom_hooks\.\d+)\.priority': [*Priority.__members__],
    r'model\.cls_head\.average_clips': ('score', 'prob'),
}
# What may be left out of a config, but not be None.
_REQUIRED = (
    r'\w+_dataloader\.dataset(\..*\.pipeline|\.pipeline)?|optim_wrapper\.optimizer|'
    r'model\.(backbone|sampler|decoder)'
)


def check_values(cfg: Config) -> None:
    """Check every value of a config that says a number, a name or a part.

    What is None is left to its default. What is right but for another value, such as a
    number of heads that does not divide the width, is found where it is used.

    Args:
        cfg (Config): of a run.

    Raises:
        ValueError: names the key, what is expected there, and what was found.
    """
    for key, value in _iter_values(cfg):
        place = re.sub(r'\[\d+\]$', '', key)
        number, names = _find(_NUMBERS, place), _find(_NAMES, place)
        if value is None:
            if re.fullmatch(_REQUIRED, key):
                raise ValueError(f'{key}: expected a value, got None')
        elif number is not None and not number.allows(value):
            raise ValueError(f'{key}: expected {number}, got {value!r}')
        elif isinstance(value, float) and math.isnan(value):
            raise ValueError(f'{key}: expected a number, got nan')
        elif isinstance(value, str) and names is not None and value not in names:
            raise ValueError(
                f'{key}: expected one of {", ".join(names)}, got {value!r}'
                f'{did_you_mean(value, names)}'
            )
        elif isinstance(value, str) and '\0' in value:
            raise ValueError(f'{key}: expected text without NUL, got {value!r}')
    for key, node in iter_dicts(cfg):
        if 'type' in node and node['type'] is None:
            raise ValueError(f'{key}.type: expected the name of a class, got None')
        if 'init_cfg' in node:
            init = node['init_cfg']
            for part in init if isinstance(init, list | tuple) else [init or None]:
                if part is not None and not (isinstance(part, dict) and 'type' in part):
                    raise ValueError(
                        f'{key}.init_cfg: expected dict(type=..., ...), such as '
                        f"dict(type='Pretrained', checkpoint='FILE'), got {part}"
                    )
    _check_optimizer(cfg)


def _iter_values(cfg: Config) -> Iterator[tuple[str, Any]]:
    """Yield key and value of all that is neither a dict nor a list."""
    for key, node in iter_dicts(cfg):
        for name, value in node.items():
            place = f'{key}.{name}' if key else str(name)
            if isinstance(value, list | tuple):
                for index, part in enumerate(value):
                    if not isinstance(part, dict | list | tuple):
                        yield f'{place}[{index}]', part
            elif not isinstance(value, dict):
                yield place, value


def _find(table: Mapping[str, Any], key: str) -> Any:
    return next((value for k, value in table.items() if re.fullmatch(k, key)), None)


def _check_optimizer(cfg: Config) -> None:
    """Look the optimizer up: its constructor would call what is not there."""
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    kind, betas = optimizer.get('type'), optimizer.get('betas', (0, 0))
    if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
        hint = did_you_mean(kind, registered_names(OPTIMIZERS))
        raise ValueError(
            'optim_wrapper.optimizer.type: expected the name of a registered '
            f'optimizer, got {kind!r}{hint}'
        )
    if not isinstance(betas, list | tuple) or len(betas) < 2:
        raise ValueError(
            f'optim_wrapper.optimizer.betas: expected two numbers, got {betas!r}'
        )
