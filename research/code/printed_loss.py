"""Finds whether an edit of train.py changes how the printed loss is computed, so that curves can't be compared.

A statement is on the path of the printed loss if it names a loss or a target, sets a constant that such a statement
reads, or prints. Whatever only changes how well the model learns is not on it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from research.code.ast_diff import Scopes, Statement
from research.code.classify import words_of
from research.code.diff import difference
from research.code.syntax_tree import parse

LOSS_WORDS = frozenset(
    {"loss", "losses", "entropy", "nll", "criterion", "target", "targets", "label", "labels", "smoothing", "ahead"}
    | {"mtp", "aux", "auxiliary", "zloss", "teacher", "distill", "reduction"}
)
"""Words of identifiers that speak of the loss, of what it is compared with, or of a part that is added to it."""
PRINTING = frozenset({"print", "Progress"})
"""Names with which the line of progress is made."""


def reached(parent: bytes | str, child: bytes | str) -> str:
    """Return the name by which an edit reaches the printed loss, "" if it does not.

    Raises:
        SyntaxError: if one of the two does not parse.
    """
    before, after, found = difference(parse(parent), parse(child))
    read = _read_by_loss(before) | _read_by_loss(after)
    for one in (*(one for pair in found.edited for one in pair), *found.removed, *found.added):
        if name := next(_on_path(one, read), ""):
            return name
    return next(filter(_speaks_of_loss, sorted(found.scopes)), "")  # the same statements in another order


def _on_path(statement: Statement, read: frozenset[str]) -> Iterator[str]:
    """Yield the names by which a statement is on the path of the printed loss."""
    yield from (name for name in (*statement.names, *statement.scope.split(".")) if _speaks_of_loss(name))
    yield from (name for name in statement.names if name in PRINTING)
    yield from (name for name in _settings(statement) if name in read)


def _speaks_of_loss(name: str) -> bool:
    return not LOSS_WORDS.isdisjoint(words_of(name.strip("<>")))


def _read_by_loss(scopes: Scopes) -> frozenset[str]:
    """Return the names from which losses are computed: those of the statements that assign or return one."""
    kinds = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return)
    computed = (one for scope in scopes.values() for one in scope if isinstance(one.node, kinds))
    return frozenset(name for one in computed if any(map(_speaks_of_loss, one.names)) for name in one.names)


def _settings(statement: Statement) -> Iterator[str]:
    """Yield the names that a statement sets: constants in capitals, and others that get something written out."""
    node = statement.node
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        return
    is_literal = not any(isinstance(part, ast.Name | ast.Call) for part in ast.walk(node.value))
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        names = (part.id for part in ast.walk(target) if isinstance(part, ast.Name))
        yield from (name for name in names if is_literal or name.isupper())
