"""What a process runs on: code, packages and hardware.

MMEngine's ``collect_env`` is for the log: it starts compilers and tells nothing of
code, memory, driver or other packages.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

#: What results depend on first, by the names of the distributions.
STACK = (
    *('torch', 'torchvision', 'mmengine', 'mmcv', 'mmcv-lite', 'mmaction2'),
    *('mmpretrain', 'numpy', 'opencv-python', 'decord', 'decord2', 'av'),
    'adamae',
)
_CPUINFO = Path('/proc/cpuinfo')
_DRIVER = Path('/proc/driver/nvidia/version')
_SECONDS = 5  # that git may take, such as on a slow network disk
_LONGEST_DIFF = 100_000  # bytes
_MOST_UNTRACKED = 100


def git_state(path: str | Path) -> dict[str, Any] | None:
    """Say which version of the code a file belongs to; nothing is written.

    Args:
        path (str | Path): a file.

    Returns:
        dict[str, Any] | None: ``checkout`` (its folder), ``commit``, ``dirty`` (whether
        tracked files differ from the commit), ``diff`` (its lines; None if they are
        more than 100 kB), ``diff_sha256`` (None if not dirty) and ``untracked`` (names
        of Python files that git does not know, at most 100). None if git does not
        track the file.

    Raises:
        OSError: if git is missing or refuses.
        TimeoutError: if it takes more than five seconds.
    """
    path = Path(path).resolve()
    if not any((folder / '.git').exists() for folder in path.parents):
        return None
    deadline = time.monotonic() + _SECONDS
    if not _git(path.parent, deadline, 'ls-files', '--', str(path)):
        return None
    where = _git(path.parent, deadline, 'rev-parse', '--show-toplevel', 'HEAD')
    checkout, commit = where.decode().split('\n')[:2]
    diff = _git(
        *(checkout, deadline, 'diff', 'HEAD', '--full-index'),
        *('--no-color', '--no-ext-diff', '--no-textconv'),
    )
    others = _git(
        *(checkout, deadline, 'ls-files', '--others', '--exclude-standard', '-z'),
        *('--', '*.py'),
    )
    names = sorted(others.decode(errors='replace').split('\0'))[1:]
    is_short = len(diff) <= _LONGEST_DIFF
    return {
        'checkout': checkout,
        'commit': commit,
        'dirty': bool(diff),
        'diff_sha256': hashlib.sha256(diff).hexdigest() if diff else None,
        'diff': diff.decode(errors='replace').splitlines() if is_short else None,
        'untracked': names[:_MOST_UNTRACKED],
    }


def _git(folder: str | Path, deadline: float, *arguments: str) -> bytes:
    """Run git without what a user's settings may have it start or write."""
    if shutil.which('git') is None:
        raise OSError(f'git is not installed, and {folder} is a checkout')
    # A hook of git that starts a run names its own repository in these.
    own = 'GIT_DIR', 'GIT_WORK_TREE', 'GIT_INDEX_FILE', 'GIT_PREFIX'
    env = {key: value for key, value in os.environ.items() if key not in own}
    settings = '-c', 'core.fsmonitor=false', '-c', 'core.quotePath=false'
    try:
        done = subprocess.run(
            ['git', '-C', str(folder), *settings, *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=max(deadline - time.monotonic(), 0.01),
            env={**env, 'GIT_OPTIONAL_LOCKS': '0'},
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f'git took more than {_SECONDS} seconds') from None
    if done.returncode:
        reason = done.stderr.decode(errors='replace').strip().partition('\n')[0]
        raise OSError(f'git {arguments[0]}: {reason}')
    return done.stdout


def package_versions() -> dict[str, str]:
    """List the versions of all installed packages, by name."""
    found: dict[str, str] = {}
    for package in metadata.distributions():
        # Its ``metadata`` parses the whole file, which takes ten times as long.
        text = package.read_text('METADATA') or package.read_text('PKG-INFO') or ''
        head = dict(re.findall(r'^(Name|Version): *(.+?) *$', text, re.MULTILINE))
        if 'Name' in head and 'Version' in head:
            # The first is what is imported.
            found.setdefault(head['Name'], head['Version'])
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def hardware() -> dict[str, Any]:
    """Describe the machine: CPU, memory, GPUs that this process may use, drivers."""
    text = _CPUINFO.read_text(encoding='utf-8') if _CPUINFO.is_file() else ''
    model = re.search(r'^model name\s*:\s*(.+)$', text, re.MULTILINE)
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    gpus = [torch.cuda.get_device_properties(device) for device in devices]
    driver = _DRIVER.read_text(encoding='utf-8') if _DRIVER.is_file() else ''
    version = re.search(r'Kernel Module.*?\s(\d+\.[\d.]+)', driver)
    return {
        'platform': platform.platform(),
        'cpu': model[1] if model else platform.processor() or platform.machine(),
        'cores': os.cpu_count(),
        'usable_cores': usable_cores(),
        'memory_gib': round(_memory() / 2**30, 1),
        'gpus': [f'{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB' for gpu in gpus],
        'driver': version[1] if version else None,
        'cuda': torch.version.cuda if gpus else None,
        'cudnn': torch.backends.cudnn.version() if gpus else None,
    }


def usable_cores() -> int:
    """Count the CPU cores that this process may use."""
    return (
        len(os.sched_getaffinity(0))
        if hasattr(os, 'sched_getaffinity')
        else (os.cpu_count() or 1)
    )


def _memory() -> int:
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
