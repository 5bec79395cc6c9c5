"""Annotation files whose names may hold blanks."""

from __future__ import annotations

from os.path import join
from typing import Any

from mmaction.datasets import VideoDataset
from mmengine.fileio import list_from_file


def split_line(line: str, delimiter: str | None = None) -> list[str]:
    """Split a line into the name of a video and what follows.

    Args:
        line (str): of an annotation file.
        delimiter (str, optional): between columns. Defaults to None: if there is a tab,
            the name is all in front of the first one; else blanks are between columns.

    Returns:
        list[str]: name, labels.
    """
    if delimiter is None and '\t' in line:
        name, _, rest = line.partition('\t')
        return [name, *rest.split()]
    return line.strip().split(delimiter)


class TabSeparatedVideos(VideoDataset):
    """``VideoDataset`` whose names may hold blanks if a tab follows them.

    Args:
        delimiter (str, optional): see :func:`split_line`. Defaults to None.
    """

    def __init__(self, *args: Any, delimiter: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, delimiter=delimiter, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List ``filename`` and ``label`` as MMAction2 does; -1 where there is none."""
        videos = []
        for line in list_from_file(self.ann_file):
            name, *labels = split_line(line, self.delimiter)
            numbers = [int(label) for label in labels]
            if len(numbers) > 1 and not self.multi_class:
                raise ValueError(
                    f'{self.ann_file}: expected one label in each line, got {line!r}'
                )
            label = numbers if self.multi_class else [*numbers, -1][0]
            name = join(self.data_prefix['video'] or '', name)
            videos.append(dict(filename=name, label=label))
        return videos
