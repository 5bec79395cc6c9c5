"""The checkpoints in a run's own folder: which to go on from, none to write over."""

import os
import re
from typing import Any

from mmengine.config import Config
from mmengine.dist import all_gather_object

from ..checkpoints.io import load_safely
from ..utils.checksums import is_archive, verify_checksums
from .distributed import warn
from .paths import is_remote

_POINTER = 'last_checkpoint'
_LONGEST_PATH = 4096


def find_newest_checkpoint(cfg: Config, since: str = '') -> str | None:
    """Find the newest whole checkpoint that a run has written.

    What counts is what the files say of themselves, as dates do not survive copying:
    when they were saved, then the iteration. MMEngine goes by ``last_checkpoint``
    alone, which holds a path that is wrong after the run was moved or copied, and may
    be missing or empty.

    Args:
        cfg (Config): of the run, with ``work_dir``.
        since (str): leave out what was saved before this date, in the form of
            ``meta['time']``. Defaults to '': nothing.

    Returns:
        str | None: its path; None if the run has not written any. Damaged ones are
        skipped with a warning.

    Raises:
        ValueError: if there are checkpoints, but none to go on from.
    """
    pointer = _read_pointer(cfg)
    if is_remote(pointer):
        return pointer
    paths = _list_checkpoints(cfg)
    keys = {'message_hub'}
    if _checkpoint_hook(cfg).get('save_optimizer', True):
        keys.add('optimizer')  # the best checkpoints are saved without it
    found: list[tuple[str, int, str]] = []
    for path in paths:
        try:
            content = load_safely(path, mmap=is_archive(path))
        except ValueError as error:
            warn(f'--resume: skipped {error}')
            continue
        meta = content.get('meta') if isinstance(content, dict) else None
        meta = meta if isinstance(meta, dict) else {}
        done = meta.get('iter')
        saved = str(meta.get('time', ''))
        if isinstance(done, int) and keys <= content.keys() and saved >= since:
            found.append((saved, done, path))
    for *_, path in sorted(found, reverse=True):
        try:
            verify_checksums(path)
        except ValueError as error:
            warn(f'--resume: skipped {error}')
            continue
        return path
    if since:
        return None
    if pointer or paths:
        what = f'no other than {_names(paths)}' if paths else 'none'
        told = f', and {_POINTER} names {pointer}, which is not there' * (not paths)
        raise ValueError(
            f'--resume: expected a whole checkpoint with the state of a run in '
            f'{cfg.work_dir}, got {what}{told}; name one with --resume PATH, or start '
            'over with --overwrite'
        )
    return None


def require_same_checkpoint(cfg: Config) -> None:
    """Check that all processes of a run have found the same checkpoint to go on from.

    Each has looked by itself, before they could talk to each other.

    Args:
        cfg (Config): of a run whose processes are connected.

    Raises:
        ValueError: on all of them, if not.
    """
    found = all_gather_object((cfg.get('resume'), cfg.get('load_from')))
    for rank, other in enumerate(found):
        if other != found[0]:
            raise ValueError(
                '--resume: expected the same checkpoint on all processes, got '
                f'{found[0][1]} on the first and {other[1]} on number {rank}; start '
                'again when all machines see the same files, or use --resume PATH'
            )


def keep_checkpoints(cfg: Config) -> None:
    """Do not start over where a run has left checkpoints.

    Args:
        cfg (Config): of the run that is to start.

    Raises:
        ValueError: if its folder holds checkpoints, which it would replace.
    """
    pointer = _read_pointer(cfg)
    paths = [pointer] if is_remote(pointer) else _list_checkpoints(cfg)
    if paths:
        raise ValueError(
            f'{cfg.work_dir}: expected a folder without checkpoints for a new run, '
            f'got {_names(paths)}; go on from there with --resume, name another folder '
            'with --work-dir, or start over and replace them with --overwrite'
        )


def warn_of_replaced(cfg: Config, checkpoint: str | None = None) -> None:
    """Name the checkpoints that a run will replace when it gets to them.

    Until then they stay: a run that is killed before its first checkpoint and resumed
    goes on from them.

    Args:
        cfg (Config): of the run that is to start.
        checkpoint (str, optional): where it resumes. Defaults to None: it starts over.
    """
    paths = [
        path
        for path in _list_checkpoints(cfg)
        if not checkpoint
        or (_kind(path) == _kind(checkpoint) and _number(path) > _number(checkpoint))
    ]
    paths = [path for path in paths if not _kind(path).startswith('best_')]
    if paths:
        warn(
            f'{"--resume" if checkpoint else "--overwrite"}: {_names(paths)} in '
            f'{cfg.work_dir} will be replaced as the run gets there; copy them to keep '
            'them, or name another folder with --work-dir'
        )


def _kind(path: str) -> str:
    """Give the name of a checkpoint without epoch or iteration."""
    return re.sub(r'\d+', '', os.path.basename(path))


def _number(path: str) -> int:
    """Give the epoch or iteration in the name of a checkpoint; -1 if there is none."""
    digits = re.findall(r'\d+', os.path.basename(path))
    return int(digits[-1]) if digits else -1


def _list_checkpoints(cfg: Config) -> list[str]:
    """List what the run has saved, by the names that MMEngine's hook gives."""
    hook, work_dir = _checkpoint_hook(cfg), os.path.abspath(cfg.work_dir)
    folders = [work_dir]
    if hook.get('out_dir') and not is_remote(hook.out_dir):
        folders.append(os.path.join(hook.out_dir, os.path.basename(work_dir)))
    template = hook.get('filename_tmpl')
    names = '|'.join(
        re.sub(r'\\\{.*?\\\}', r'\\d+', re.escape(name))
        for name in dict.fromkeys([template or 'epoch_{}.pth', 'iter_{}.pth'])
    )
    found = [
        os.path.join(folder, name)
        for folder in folders
        if os.path.isdir(folder)
        for name in sorted(os.listdir(folder))
        if re.fullmatch(f'(best_.+_)?({names})', name)
    ]
    pointer = _read_pointer(cfg)
    here = os.path.join(work_dir, os.path.basename(pointer))
    # Of a run that was moved or copied, the path is that of the old folder.
    found.append(here if os.path.isfile(here) else pointer)
    return [path for path in dict.fromkeys(found) if os.path.isfile(path)]


def _read_pointer(cfg: Config) -> str:
    """Give the path in ``last_checkpoint``; '' if there is none, or no path in it."""
    path = os.path.join(cfg.work_dir, _POINTER)
    if not os.path.isfile(path):
        return ''
    with open(path, encoding='utf-8', errors='replace') as file:
        text = file.read(_LONGEST_PATH + 1).strip()
    return text if text.isprintable() and len(text) <= _LONGEST_PATH else ''


def _checkpoint_hook(cfg: Config) -> Any:
    return (cfg.get('default_hooks') or {}).get('checkpoint') or {}


def _names(paths: list[str]) -> str:
    names = [os.path.basename(path) for path in paths]
    return ', '.join(names if len(names) < 5 else [*names[:2], '...', names[-1]])
