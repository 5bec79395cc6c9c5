"""What a user writes after ``--cfg-options``, read as the config suggests."""

import os
import re
from collections.abc import Mapping
from typing import Any

from mmengine.config import DictAction

# Paths and other text, whatever it looks like and whether the config has one yet.
_TEXT = re.compile(
    r'(.*\.)?(data_prefix\.\w+|(\w*_)?(file|dir|path|root|from|tmpl|delimiter))'
)
# Numbers that may be lists: height and width; and those that may be names.
_NUMBERS = re.compile(r'(?!batch_)(\w+_)?(size|scale|stride)')
_NUMBER_OR_NAME = ('loss_scale', 'priority')


def parse_options(cfg: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Read the values of options.

    MMEngine drops blanks, and makes numbers and lists of whatever looks like them.
    Here a value stays a string where the config, or the key (paths, delimiters), holds
    one, but for lists in brackets; ``~`` is the home folder, as the shell leaves it
    alone after ``KEY=``.

    Args:
        cfg (Mapping): content of the config.
        options (Mapping[str, Any]): keys with dots, and text; other values pass.

    Returns:
        dict[str, Any]: values under the same keys.

    Raises:
        ValueError: if brackets are unbalanced, or a value cannot be meant for what the
            config has; names the key.
    """
    return {
        key: _parse_option(key, value, find_value(cfg, key))
        if isinstance(value, str)
        else value
        for key, value in options.items()
    }


def find_value(cfg: Any, key: str) -> Any:
    """Find what a config has under a key with dots; None if nothing."""
    for part in key.split('.'):
        if isinstance(cfg, list | tuple) and part.isdigit() and int(part) < len(cfg):
            cfg = cfg[int(part)]
        elif isinstance(cfg, Mapping):
            cfg = cfg.get(part)
        else:
            return None
    return cfg


def _parse_option(key: str, text: str, old: Any) -> Any:
    name = key.rpartition('.')[2]
    is_path = old is None and _TEXT.fullmatch(key) is not None
    if isinstance(old, str) or is_path:
        text = _unquote(text)
        if text == 'None':
            return None
        is_list = text.startswith('[') and text.endswith(']')
        is_free = name in _NUMBER_OR_NAME or is_list
        if _TEXT.fullmatch(key) or not is_free:
            return '\t' if text == r'\t' else os.path.expanduser(text)
    try:
        new = _parse(text, isinstance(old, list | tuple) and _holds_text(old))
    except ValueError as error:
        raise ValueError(f'--cfg-options: {key}: {error}') from None
    expected = ''
    parts = old if isinstance(old, list | tuple) else [old]
    if any(isinstance(part, Mapping) for part in parts) and not (
        new in (None, [], ()) or (isinstance(new, bool) and name == 'compile')
    ):
        raise ValueError(
            f'--cfg-options: {key}: expected None, as the config has a dict or a list '
            f'of dicts there, got {text!r}; set one of its keys, as in {key}.KEY=VALUE'
        )
    if name == 'type' and isinstance(new, list | tuple):
        expected = 'one name'
    elif isinstance(old, bool) and isinstance(new, str | list | tuple):
        expected = 'True or False'
    elif isinstance(old, int | float):
        is_name = isinstance(new, str) and name not in _NUMBER_OR_NAME
        is_list = isinstance(new, list | tuple) and not _NUMBERS.fullmatch(name)
        expected = 'a number' if is_name or is_list else ''
    if expected:
        raise ValueError(
            f'--cfg-options: {key}: expected {expected}, as in the config ({old}), got '
            f'{text!r}; write {"the result" if "*" in text else "one value"}'
        )
    return new


def _holds_text(values: Any) -> bool:
    return bool(values) and all(isinstance(value, str) for value in values)


def _parse(text: str, is_text: bool) -> Any:
    """Read a value as MMEngine does, blanks within it kept.

    Args:
        text (str): ``V``, ``V1,V2``, ``[V1,V2]`` or ``(V1,V2)``, nested as needed.
        is_text (bool): whether all in it stays text.
    """
    text = _unquote(text.strip())
    if not text.startswith(('[', '(')) and ',' not in text:
        return text if is_text else DictAction._parse_int_float_bool(text)
    parts = _split(text)
    if parts == [text]:
        if not text.endswith((']', ')')):
            return text
        parts = _split(text[1:-1])
    values = [_parse(part, is_text) for part in parts if part.strip()]
    return tuple(values) if _split(text) == [text] and text[0] == '(' else values


def _split(text: str) -> list[str]:
    """Split at the commas outside of brackets."""
    parts, depth = [''], 0
    for char in text:
        depth += (char in '([') - (char in ')]')
        if depth < 0:
            break
        if char == ',' and depth == 0:
            parts.append('')
        else:
            parts[-1] += char
    if depth:
        raise ValueError(f'expected as many brackets opened as closed, got {text!r}')
    return parts


def _unquote(text: str) -> str:
    """Drop quotes around a value, which some shells leave there."""
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in '\'"'
    return text[1:-1] if is_quoted else text
