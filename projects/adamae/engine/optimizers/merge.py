"""Few parameter groups instead of one per parameter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch.optim import Optimizer

from ...checkpoints import CheckpointMismatch

# Already multiplied into lr and weight_decay by whoever made the group.
_APPLIED = ('lr_mult', 'decay_mult')
# Lists that grow with the group; everything else has to be equal.
_MEMBERS = ('params', 'param_names')


def merge_param_groups(
    groups: Iterable[Mapping[str, Any]], defaults: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Merge parameter groups with equal settings.

    Every group costs an optimizer call, a scheduler step and a line in the log, in
    every iteration. The update of a parameter does not depend on its group's size.

    Args:
        groups (Iterable[Mapping]): as an optimizer takes them: ``params``, a list, and
            settings; ``param_names``, where it is there, is merged too.
        defaults (Mapping, optional): settings of the optimizer: a group that does not
            name one equals a group that names this value.

    Returns:
        list[dict]: new groups in the order in which their settings first appear,
        parameters in their old order. ``group_name`` is the first group's own, or
        tells the settings, such as ``'weight_decay=0.0'``, where it has none.
    """
    merged: dict[tuple, dict[str, Any]] = {}
    for group in groups:
        settings = {
            **(defaults or {}),
            **{
                key: value
                for key, value in group.items()
                if key not in (*_MEMBERS, *_APPLIED, 'group_name')
            },
        }
        key = tuple(sorted((name, _repr(value)) for name, value in settings.items()))
        into = merged.setdefault(key, {'params': [], **settings})
        for name in _MEMBERS:
            if name in group:
                into.setdefault(name, []).extend(group[name])
        label = ' '.join(f'{k}={v}' for k, v in settings.items())
        into.setdefault('group_name', group.get('group_name', label))
    return list(merged.values())


def _repr(value: Any) -> str:
    """Write a setting down; a learning rate of 10 equals one of 10.0."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return repr(float(value) if is_number else value)


def explain_mismatch(optimizer: Optimizer) -> None:
    """Say what to do when a checkpoint has other parameter groups.

    Args:
        optimizer (Optimizer): its ``load_state_dict`` then raises
            ``CheckpointMismatch`` where torch would only tell that the numbers of
            groups differ.
    """

    def check(optimizer: Optimizer, state: dict[str, Any]) -> None:
        expected = [len(group['params']) for group in optimizer.param_groups]
        got = [len(group['params']) for group in state['param_groups']]
        if got != expected:
            raise CheckpointMismatch(
                f'optimizer: expected {sum(expected)} parameters in {len(expected)} '
                f'groups, got {sum(got)} in {len(got)} from the checkpoint; to resume '
                'a run that was started without merged groups, use --cfg-options '
                'optim_wrapper.constructor=DefaultOptimWrapperConstructor'
            )

    optimizer.register_load_state_dict_pre_hook(check)
