"""Which version of this project runs."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[3]
_SECONDS = 10  # for git, on a slow file system


def code_version() -> str:
    """Name version and commit, for the log of a run.

    Returns:
        str: such as ``'0.1.0, commit 1e186cd0, with changes'``; changes are those of
        files that git knows. The commit is left out where there is no checkout, the
        version where nothing is installed.
    """
    parts = []
    try:
        parts.append(metadata.version('adamae-mmaction2'))
    except metadata.PackageNotFoundError:
        pass
    # Else git would tell of a repository that this one lies in.
    if (_ROOT / '.git').exists():
        try:
            commit = _git('rev-parse', '--short=8', 'HEAD')
            parts.append(f'commit {commit}')
            if _git('status', '--porcelain', '--untracked-files=no'):
                parts.append('with changes')
        except (OSError, subprocess.SubprocessError):  # no git, or not this user's
            pass
    return ', '.join(parts) or 'unknown'


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ['git', '--no-optional-locks', '-C', str(_ROOT), *arguments],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=True,
    )
    return done.stdout.strip()
