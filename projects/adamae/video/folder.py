"""Video files below a folder."""

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av

from .error import PYAV_ERRORS, VideoError, video_errors
from .reader import require_regular_file

VIDEO_SUFFIXES = (
    *('.3gp', '.avi', '.flv', '.gif', '.m2ts', '.m4v', '.mkv', '.mov', '.mp4'),
    *('.mpeg', '.mpg', '.mts', '.ts', '.webm', '.wmv'),
)
# macOS puts one of these next to every file on disks that are not its own.
_MACOS = '._*'


def find_videos(folder: str | Path, what: str) -> list[str]:
    """List the video files below a folder; links are followed.

    Args:
        folder (str | Path): where to look.
        what (str): what the folder is, for errors.

    Returns:
        list[str]: their paths, in the order of their names.

    Raises:
        FileNotFoundError: if the folder does not exist or holds no video.
    """
    return scan_folder(folder, what)[0]


def scan_folder(folder: str | Path, what: str) -> tuple[list[str], Counter[str]]:
    """List the video files below a folder as :func:`find_videos`, count the others.

    Args:
        folder (str | Path): where to look.
        what (str): what the folder is, for errors.

    Returns:
        tuple[list[str], Counter[str]]: paths of the videos; how many other files there
        are with each suffix. ``._*`` are those that macOS leaves.

    Raises:
        FileNotFoundError: if the folder does not exist or holds no video.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f'{what}: expected a folder of videos, found none at {folder.resolve()}'
        )
    # Large collections are often made of links; each folder is looked into once.
    files, skipped, seen = [], Counter[str](), set()
    for root, folders, names in os.walk(folder, followlinks=True):
        if os.path.realpath(root) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(root))
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if name.startswith('._') or suffix not in VIDEO_SUFFIXES:
                skipped[_MACOS if name.startswith('._') else suffix] += 1
            else:
                files.append(os.path.join(root, name))
    if not files:
        raise FileNotFoundError(
            f'{what}: {folder.resolve()} holds no video ({" ".join(VIDEO_SUFFIXES)})'
            + (f', only {describe_skipped(skipped)}' if skipped else '')
        )
    return sorted(files), skipped


def describe_skipped(skipped: Counter[str]) -> str:
    """Say how many files are no videos: ``'3 other files (.txt 2, no suffix 1)'``."""
    kinds = ', '.join(
        f'{suffix or "no suffix"} {count}' for suffix, count in skipped.most_common(8)
    )
    total = skipped.total()
    return f'{total} other file{"s" * (total != 1)}' + (f' ({kinds})' if kinds else '')


def find_unreadable(files: Sequence[str]) -> list[VideoError]:
    """Try the first frame of videos.

    Args:
        files (Sequence[str]): their paths.

    Returns:
        list[VideoError]: an error that names the file for every one that FFmpeg cannot
        open, or that has no frame.
    """

    def error(file: str) -> VideoError | None:
        try:
            with video_errors(file, ValueError):
                require_regular_file(file)  # nothing else comes to an end
            with (
                video_errors(file, *PYAV_ERRORS, StopIteration),
                # A title that is no UTF-8 is no reason not to read the pictures.
                av.open(file, metadata_errors='replace') as container,
            ):
                next(container.decode(video=0))
        except VideoError as error:
            return error
        return None

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return [found for found in pool.map(error, files) if found is not None]
