"""Video files below a folder."""

import os
from pathlib import Path

VIDEO_SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm')


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
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f'{what}: expected a folder of videos, found none at {folder.resolve()}'
        )
    # Large collections are often made of links; each folder is looked into once.
    files, seen = [], set()
    for root, folders, names in os.walk(folder, followlinks=True):
        if os.path.realpath(root) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(root))
        files += [
            os.path.join(root, name)
            for name in names
            if name.lower().endswith(VIDEO_SUFFIXES)
        ]
    if not files:
        raise FileNotFoundError(
            f'{what}: {folder.resolve()} holds no video ({" ".join(VIDEO_SUFFIXES)})'
        )
    return sorted(files)
