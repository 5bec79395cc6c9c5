"""Files of rows, written as they come."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

SUFFIXES = '.csv', '.json'


class CsvFile:
    """A table for spreadsheets, which appears when it is complete.

    Until then, and where something ends the block, the rows so far are in a file of
    this name with ``.partial`` behind it. The file is UTF-8 and begins with a
    byte-order mark, without which Excel does not take it for that
    (``encoding='utf-8-sig'`` in Python, nothing to do in pandas). Bytes of file names
    that are no UTF-8 are kept.

    Args:
        path (str | Path): the file; its folder is created.
        columns (Sequence[str]): their names.
    """

    _encoding, _errors, _newline = 'utf-8-sig', 'surrogateescape', ''

    def __init__(self, path: str | Path, columns: Sequence[str] = ()) -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(f'{self.path.name}.partial')
        self.columns = columns

    def __enter__(self) -> Any:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(  # noqa: SIM115  closed by __exit__
            self.partial,
            'w',
            encoding=self._encoding,
            errors=self._errors,
            newline=self._newline,
        )
        self._begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._end()
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
        if error is None:
            self.partial.replace(self.path)

    def write(self, row: Iterable[Any]) -> None:
        """Write a row; None is an empty field."""
        self._writer.writerow(row)
        self._file.flush()

    def _begin(self) -> None:
        self._writer = csv.writer(self._file)
        self._writer.writerow(self.columns)

    def _end(self) -> None:
        pass


class JsonFile(CsvFile):
    """A JSON object whose last entry, ``predictions``, is a list of one row a line.

    Complete when it appears, as :class:`CsvFile`.

    Args:
        path (str | Path): the file; its folder is created.
        **head (Any): entries before that list.
    """

    # A byte of a name that is no UTF-8 becomes an escape that JSON knows.
    _encoding, _errors, _newline = 'utf-8', 'backslashreplace', '\n'

    def __init__(self, path: str | Path, **head: Any) -> None:
        super().__init__(path)
        self._head = head
        self._separator = ''

    def write(self, row: Any) -> None:
        """Write a row: anything that JSON knows."""
        self._file.write(f'{self._separator}\n{_json(row)}')
        self._file.flush()
        self._separator = ','

    def _begin(self) -> None:
        self._file.write('{\n')
        for key, value in self._head.items():
            self._file.write(f'{_json(key)}: {_json(value)},\n')
        self._file.write('"predictions": [')

    def _end(self) -> None:
        self._file.write('\n]\n}\n')


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
