"""Errors that end a tool: reported on the command line, not as tracebacks."""

import errno
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from inspect import signature
from logging import FileHandler
from types import FrameType
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import Registry, build_from_cfg

from projects.adamae_process import nobody_reads

from ..engine.hooks import StopOnSignalHook
from ..utils.fileio import reason_of
from ..utils.text import printable
from .distributed import exit_with_code, rank_and_local_rank
from .model_sizes import iter_dicts

# How long a launcher may take to stop the other processes when one has ended.
_SECONDS_TO_STOP = 30
_FULL = 'free some of it, or name another folder; go on with --resume'
_BROKEN = 'the disk or its mount has failed: look at it, then go on with --resume'
_LOCKED = 'name a folder that this user can write to'
_OTHER = 'name another one'
# What a disk may say, and what to do then.
_ADVICE = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EIO: _BROKEN,
    errno.ESTALE: _BROKEN,
    errno.ENOTCONN: _BROKEN,
    errno.ENODEV: 'mount it again, then go on with --resume',
    errno.EROFS: _LOCKED,
    errno.EACCES: _LOCKED,
    errno.EPERM: _LOCKED,
    errno.EEXIST: _OTHER,
    errno.ENOTDIR: _OTHER,
    errno.EISDIR: _OTHER,
}
SHARED_MEMORY_ADVICE = (
    'start the container with --shm-size=16g or --ipc=host, or lower '
    'train_dataloader.num_workers, prefetch_factor or batch_size'
)
_SHARED_MEMORY = re.compile(r'shared memory|</?torch_\w+>|Bus error')
#: After Ctrl-C, of tools that keep what they have done.
GO_ON = 'start it again to go on'
_LONGEST = 600  # characters of what another package says


@contextmanager
def errors_in_one_line(
    *kinds: type[Exception], interrupted: str = ''
) -> Iterator[None]:
    """Report errors in one line and exit with code 2; with 130 after Ctrl-C.

    The line begins with the key of the config whose part could not be built, if that
    was it. What is not expected may be a mistake of ours: its traceback goes to the log
    file of the run, or a temporary file before there is one, and the line names that.

    Of a distributed run, the first process on each machine prints it and ends: then
    the launcher stops the others, which wait for that.

    Args:
        *kinds (type[Exception]): that say all one needs to know, besides a full or
            broken disk.
        interrupted (str, optional): what to say after Ctrl-C. Defaults to nothing.
    """
    try:
        yield
    except KeyboardInterrupt:
        print(f'\nstopped{interrupted and f"; {interrupted}"}', file=sys.stderr)
        exit_with_code(128 + signal.SIGINT)
        raise SystemExit(128 + signal.SIGINT) from None
    except Exception as error:
        if isinstance(error, BrokenPipeError) and nobody_reads():
            raise  # for ends_in_one_line: no mistake, and nobody to tell
        if rank_and_local_rank()[1] > 0:
            _wait_to_be_stopped()
        # Who is not the first and still there is the only one with an error.
        text, is_clear = _describe(error, isinstance(error, kinds))
        if not is_clear:
            text += _save_traceback(error)
        print(f'error: {printable(text)}', file=sys.stderr, flush=True)
        exit_with_code(2)
        raise SystemExit(2) from None


def _wait_to_be_stopped() -> None:
    """Wait for the signal of a launcher; training would obey after a step."""
    handler = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    hook = getattr(handler, '__self__', None)
    if isinstance(hook, StopOnSignalHook) and hook.received:  # it came before
        raise SystemExit(2)
    time.sleep(_SECONDS_TO_STOP)


def exit_with(errors: Collection[str]) -> None:
    """Report videos that were left out, one in a line, and exit with code 1.

    Args:
        errors (Collection[str]): none: nothing happens.
    """
    for error in errors:
        print(f'error: {error}', file=sys.stderr)
    if errors:
        raise SystemExit(1)


def did_you_mean(name: object, known: Sequence[str]) -> str:
    """Give the end of a message about a name that is not known."""
    near = get_close_matches(str(name), known, n=1)
    return f'; did you mean {near[0]!r}?' if near else ''


def registered_names(registry: Registry | None) -> list[str]:
    """List the names in a registry and those above it."""
    names: list[str] = []
    while registry is not None:
        registry.import_from_location()
        names += registry.module_dict
        registry = registry.parent
    return names


def _describe(error: Exception, is_told: bool) -> tuple[str, bool]:
    """Say in one line what is wrong, and where in the config.

    Returns:
        tuple[str, bool]: message, and whether it says all one needs to know.
    """
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    # That of a loader's worker has its traceback in front.
    is_caught = text.startswith('Caught ')
    text = text.splitlines()[-1] if is_caught else ' '.join(text.split())
    if isinstance(error, OSError) and error.filename and error.strerror:
        # Of a file that takes the place of another, the other one.
        path = error.filename2 or error.filename
        text = f'{path}: {reason_of(error, path)}'
    if isinstance(error, OSError) and error.errno in _ADVICE:
        return f'{text}; {_ADVICE[error.errno]}', True
    if _SHARED_MEMORY.search(text):
        text = f'a worker of a data loader had no room in /dev/shm: {text[:_LONGEST]}'
        return f'{text}; {SHARED_MEMORY_ADVICE}', True
    if text == 'embedded null byte':
        return 'expected the name of a file, got one with NUL in it', True
    part = _Part(error)
    if whole := part.explain():
        return whole, True
    if not is_told:
        if not text:  # such as an assertion without a message
            text = traceback.extract_tb(error.__traceback__)[-1].line or ''
        name = '' if is_caught else f'{type(error).__name__}: '
        more = ' ...' if len(text) > _LONGEST else ''
        text = f'{name}{text[:_LONGEST]}{more}'
    return f'{part.key}: {text}' if part.key else text, is_told


class _Part:
    """The innermost part of a config that was being built when an error was raised.

    Attributes:
        key (str): where it stands; '' if there is none.
    """

    def __init__(self, error: Exception) -> None:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        built = [f.f_locals for f in frames if f.f_code is build_from_cfg.__code__]
        built = [frame for frame in built if 'type' in frame['cfg']]
        self._frame: dict[str, Any] = built[-1] if built else {}
        self._config = _whole_config(frames)
        found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        self._unexpected = found[1] if found else ''
        self.key = self._find_key()

    def explain(self) -> str:
        """Give the whole message if a name is wrong, '' if something else is."""
        cfg, kind = self._frame.get('cfg', {}), self._frame.get('obj_cls')
        name = self._unexpected
        if isinstance(cfg.get('type'), str) and kind is None:
            registry = self._frame['registry']
            hint = did_you_mean(cfg['type'], registered_names(registry))
            return (
                f'{_join(self.key, "type")}: expected the name of a registered '
                f'{registry.name}, got {cfg["type"]!r}{hint}'
            )
        if name and name in cfg:
            known = [*signature(kind).parameters] if callable(kind) else []
            hint = did_you_mean(name, known)
            owner = getattr(kind, '__name__', cfg['type'])
            return f'{_join(self.key, name)}: {owner} takes no such argument{hint}'
        if not name:  # nor can a config whose imports fail be walked through
            return ''
        holders = [key for key, node in iter_dicts(self._config) if name in node]
        if len(holders) == 1:
            return f'{_join(holders[0], name)}: there is no such argument'
        return ''

    def _find_key(self) -> str:
        if not self._frame or self._config is None:
            return ''
        part = self._frame['cfg']
        nodes = [
            (key, node)
            for key, node in iter_dicts(self._config)
            if node.get('type') == part['type']
        ]
        same = [key for key, node in nodes if _is_within(node, part)]
        keys = same or [key for key, _ in nodes]
        return keys[0] if same or len(keys) == 1 else ''


def _whole_config(frames: Sequence[FrameType]) -> Config | None:
    """Find the config of the run among what the functions of a traceback held."""
    for frame in frames:
        for value in frame.f_locals.values():
            cfg = getattr(value, 'cfg', None) if hasattr(value, 'cfg') else value
            if isinstance(cfg, Config):
                return cfg
    return None


def _is_within(node: dict, part: Any) -> bool:
    """Whether a part has all that a config has; others may have been added."""
    return all(name in part and bool(part[name] == node[name]) for name in node)


def _join(key: str, name: Any) -> str:
    return f'{key}.{name}' if key else str(name)


def _save_traceback(error: Exception) -> str:
    """Write a traceback where it can be read later; give the end of the message."""
    text = ''.join(traceback.format_exception(error))
    loggers = [*MMLogger._instance_dict.values()]  # get_current_instance makes one
    handlers = loggers[-1].handlers if loggers else []
    logs = [h.baseFilename for h in handlers if isinstance(h, FileHandler)]
    for path in logs:
        try:
            with open(path, 'a', encoding='utf-8') as file:
                file.write(text)
            return f' (traceback in {path})'
        except OSError:
            continue
    try:
        with tempfile.NamedTemporaryFile(
            'w', prefix='adamae_', suffix='.log', delete=False, encoding='utf-8'
        ) as other:
            other.write(text)
        return f' (traceback in {other.name})'
    except OSError:
        return ''
