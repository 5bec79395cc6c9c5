"""What differs between two runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..utils.text import printable, shorten
from .run_files import RunFiles

# Names of places and dates, and whether a run went on from its own checkpoint: they
# differ between any two runs, and change no result.
_PLACES = {
    'config': ('resume', 'work_dir'),
    'data': ('ann_file', 'file', 'folders', 'type'),
    'weights': ('file',),
    'code': ('checkout', 'diff', 'untracked'),
    'environment': ('PYTHONPATH', 'SLURM_JOB_ID'),
}
_LONGEST = 100  # characters of a value in a terminal
_SHORTEST_HASH = 12  # characters of a hash in a terminal


class Missing:
    """What stands for a value that one of two runs does not have."""

    def __repr__(self) -> str:
        return '(none)'


MISSING = Missing()


class Difference(NamedTuple):
    """One value that differs.

    Attributes:
        key (str): with dots, as ``--cfg-options`` spells it.
        old (Any): of the first; :data:`MISSING` if it has none.
        new (Any): of the second.
    """

    key: str
    old: Any
    new: Any


class Comparison(NamedTuple):
    """Two runs side by side.

    Attributes:
        old (str): what the first was read from.
        new (str): what the second was read from.
        groups (dict[str, list[Difference]]): by part of ``run.json``; those without a
            difference are left out.
        results (list[Difference]): metrics of both, equal or not.
        not_compared (dict[str, str]): parts that are not known, and of which.
    """

    old: str
    new: str
    groups: dict[str, list[Difference]]
    results: list[Difference]
    not_compared: dict[str, str]

    @property
    def differs(self) -> bool:
        """Whether anything does, the results included."""
        return bool(self.groups) or any(
            not _is_same(r.old, r.new) for r in self.results
        )


def compare_runs(old: RunFiles, new: RunFiles) -> Comparison:
    """Compare all that two runs depended on, and what came out.

    Args:
        old (RunFiles): the first.
        new (RunFiles): the second.

    Returns:
        Comparison: where both are known.
    """
    groups, not_compared = {}, {}
    for part in ('config', 'seeds', 'data', 'weights', 'code', 'packages', 'hardware'):
        unknown = [run.path for run in (old, new) if part not in run.parts]
        # A run that starts with no weights has none.
        if unknown and not (part == 'weights' and _has_record(old, new)):
            not_compared[part] = ' and '.join(unknown)
            continue
        found = [*differences(_values(old, part), _values(new, part))]
        if part == 'config' and _start_with_the_same(old, new):
            found = [
                difference for difference in found if difference.key != 'load_from'
            ]
        if found:
            groups[part] = found
    results = []
    if old.results and new.results:
        names = dict.fromkeys((*old.results, *new.results))
        results = [
            Difference(n, old.results.get(n, MISSING), new.results.get(n, MISSING))
            for n in names
        ]
    else:
        lacking = [run.path for run in (old, new) if not run.results]
        not_compared['results'] = ' and '.join(lacking)
    return Comparison(old.path, new.path, groups, results, not_compared)


def differences(old: Any, new: Any, key: str = '') -> Iterator[Difference]:
    """Walk through the values that differ between two configs.

    Args:
        old (Any): dicts, lists and plain values.
        new (Any): the same.
        key (str): where they stand. Defaults to '', the whole.

    Yields:
        Difference: of the innermost values; lists of plain values count as one. Of
        lists of several lengths, what they have in common at their ends is left out.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys((*old, *new)):
            before, after = old.get(name, MISSING), new.get(name, MISSING)
            path = f'{key}.{name}' if key else str(name)
            yield from differences(before, after, path)
    elif _holds_dicts(old) and _holds_dicts(new):
        start = 0
        while start < min(len(old), len(new)) and old[start] == new[start]:
            start += 1
        rest = [[*old[start:]], [*new[start:]]]
        while len(old) != len(new) and all(rest) and rest[0][-1] == rest[1][-1]:
            rest = [part[:-1] for part in rest]
        for index in range(max(map(len, rest))):
            before, after = (p[index] if index < len(p) else MISSING for p in rest)
            yield from differences(before, after, f'{key}.{start + index}')
    elif not _is_same(old, new):
        yield Difference(key, old, new)


def format_comparison(comparison: Comparison) -> str:
    """Write a comparison for people, grouped, the results as a table."""
    if not comparison.differs:
        lines = ['nothing differs']
    else:
        lines = [f'A  {comparison.old}', f'B  {comparison.new}']
    for name, found in comparison.groups.items():
        lines += ['', name]
        lines += [_line(difference) for difference in found]
    if comparison.differs and comparison.results:
        rows = [(r.key, _number(r.old), _number(r.new)) for r in comparison.results]
        rows.insert(0, ('results', 'A', 'B'))
        width = max(len(row[0]) for row in rows) + 2
        lines.append('')
        for index, (name, *values) in enumerate(rows):
            name = printable(name) if index == 0 else f'  {printable(name)}'
            lines.append(f'{name:<{width}}' + ''.join(f'{v:>14}' for v in values))
    if comparison.not_compared:
        lines.append('')
    for files in dict.fromkeys(comparison.not_compared.values()):
        parts = [p for p, where in comparison.not_compared.items() if where == files]
        lines.append(f'not compared: {", ".join(parts)} (not recorded in {files})')
    return '\n'.join(lines)


def comparison_as_json(comparison: Comparison) -> str:
    """Write a comparison for programs; what one side does not have is left out."""

    def as_dict(found: Sequence[Difference]) -> list[dict[str, Any]]:
        return [
            {k: v for k, v in d._asdict().items() if not isinstance(v, Missing)}
            for d in found
        ]

    content = {
        **comparison._asdict(),
        'differs': comparison.differs,
        'groups': {name: as_dict(d) for name, d in comparison.groups.items()},
        'results': as_dict(comparison.results),
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def _is_same(old: Any, new: Any) -> bool:
    """Whether values are: NaN is NaN, 1 is 1.0 and not True."""
    is_equal = old == new and isinstance(old, bool) == isinstance(new, bool)
    return is_equal or repr(old) == repr(new)


def _has_record(*runs: RunFiles) -> bool:
    return all('packages' in run.parts or 'hardware' in run.parts for run in runs)


def _start_with_the_same(old: RunFiles, new: RunFiles) -> bool:
    """Whether the content of ``load_from`` is known, and the same under any name."""
    contents = [(run.parts.get('weights') or {}) for run in (old, new)]
    places = _PLACES['weights']
    first, second = (_without(content, places) for content in contents)
    return bool(first) and first == second


def _values(run: RunFiles, part: str) -> Any:
    values = run.parts.get(part) or {}
    if part == 'packages':
        stack, others = values.get('stack') or {}, values.get('all') or {}
        # What matters most comes first, and nothing twice.
        known = {name.lower() for name in stack}
        values = stack | {k: v for k, v in others.items() if k.lower() not in known}
    elif part == 'hardware':
        values = {
            'processes': run.processes,
            **values,
            'environment': _without(
                run.parts.get('environment') or {}, _PLACES['environment']
            ),
        }
    return _without(values, _PLACES.get(part, ()))


def _without(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {
        key: _without(value, names) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if key not in names
    }


def _holds_dicts(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(part, Mapping) for part in value)


def _line(found: Difference) -> str:
    old, new = _show(found.old), _show(found.new)
    if old == new:  # the text '1' and the number
        old, new = repr(found.old), repr(found.new)
    return f'  {printable(found.key)}: {old} -> {new}'


def _show(value: Any) -> str:
    if isinstance(value, str) and _is_hash(value):
        return value[:_SHORTEST_HASH]
    return shorten(printable(str(value)) or "''", _LONGEST)


def _is_hash(text: str) -> bool:
    return len(text) in (40, 64) and not set(text) - set('0123456789abcdef')


def _number(value: Any) -> str:
    return f'{value:.6g}' if isinstance(value, int | float) else str(value)
