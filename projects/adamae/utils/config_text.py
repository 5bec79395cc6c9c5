"""The text of a config in a checkpoint, which is read, and not run."""

from __future__ import annotations

import ast
from typing import Any

from mmengine.config import Config

from .text import printable


def read_config_text(text: str) -> Config:
    """Read a config that MMEngine has written down: a row of literals.

    Args:
        text (str): ``NAME = VALUE`` in each statement.

    Raises:
        ValueError: if it is anything else, such as code.
    """
    content = {}
    try:
        for node in ast.parse(text).body:
            name = ast.unparse(node).partition(' = ')[0]
            if not isinstance(node, ast.Assign) or not name.isidentifier():
                raise ValueError(f'line {node.lineno} is no NAME = VALUE')
            content[name] = ast.literal_eval(_DictCalls().visit(node.value))
        return Config(content)
    # Code; or deep nesting, lists as keys, and names that MMEngine reserves.
    except (
        *(SyntaxError, ValueError, KeyError, TypeError),
        *(RecursionError, MemoryError),
    ) as error:
        reason = printable(str(error).partition('\n')[0])
        raise ValueError(
            'the text of a config in a checkpoint: expected NAME = VALUE with '
            f'plain values, got other code ({type(error).__name__}: {reason}); '
            'name the config in a file of its own'
        ) from None


def find_setting(cfg: Any, key: str, default: Any = None) -> Any:
    """Look a value up in a config that may have another form than ours.

    Args:
        cfg (Any): dicts within dicts.
        key (str): with dots.
        default (Any): what to give where a part of the key is missing, or None.
    """
    for part in key.split('.'):
        cfg = cfg.get(part) if hasattr(cfg, 'get') else None
    return default if cfg is None else cfg


class _DictCalls(ast.NodeTransformer):
    """Write ``dict(a=1)`` as ``{'a': 1}``, which is a literal."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        names = [keyword.arg for keyword in node.keywords]
        if ast.unparse(node.func) != 'dict' or node.args or None in names:
            return node
        keys: list[ast.expr | None] = [ast.Constant(name) for name in names]
        return ast.Dict(keys, [keyword.value for keyword in node.keywords])
