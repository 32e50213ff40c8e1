"""Parses a train.py or one expression, in one thread at a time."""

from __future__ import annotations

import ast
import threading
from typing import Any

_ONE_THREAD = threading.Lock()
"""The lock that is held while a tree is built: Python 3.11 ends threads that build trees at once in a SystemError, "AST
constructor recursion depth mismatch", and a night of several workers has such threads."""


def parse(text: str | bytes) -> ast.Module:
    """Parse a train.py.

    Raises:
        SyntaxError: if it does not parse (with a line number where there is one).
    """
    tree: ast.Module = _parse(text, "exec")
    return tree


def parse_expression(text: str) -> ast.expr:
    """Parse one expression.

    Raises:
        SyntaxError: if it does not parse.
    """
    body: ast.expr = _parse(text.strip(), "eval").body
    return body


def _parse(text: str | bytes, mode: str) -> Any:
    try:
        with _ONE_THREAD:
            return ast.parse(text, mode=mode)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or "nested too deeply") from None
