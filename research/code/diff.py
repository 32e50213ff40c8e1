"""Compares two train.py by their syntax trees: layout, comments, docstrings, seeds and moved code are no difference.

Nothing is executed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from research.code.ast_diff import Difference, Pairs, Scopes, compare, literal_changes, scopes_of
from research.code.classify import category_of
from research.code.constants import as_number, constant_texts, evaluate
from research.code.syntax_tree import parse, parse_expression

ARROW = " -> "
"""The sign between the two values of a constant in a delta."""


@dataclass(frozen=True)
class Change:
    """The difference of two train.py.

    The delta says what changed, by name: module constants, defaults and literals inside functions as "before -> after",
    else "changed", "added" or "removed".
    """

    delta: Mapping[str, str] = field(default_factory=dict)
    statements_added: int = 0  # statements that the child has and the parent has nowhere
    statements_removed: int = 0  # statements that the parent has and the child has nowhere
    category: str = ""  # what kind of change it is; see research.code.classify


NO_CHANGE = Change()  # two texts that do the same


def change_between(parent: bytes | str, child: bytes | str) -> Change:
    """Return the difference of two train.py.

    Raises:
        SyntaxError: if one of them does not parse.
    """
    one, other = parse(parent), parse(child)
    before, after, found = difference(one, other)
    added = found.added
    if not (found.edited or found.removed or added):  # the same statements in another order
        added = [one for scope in after if scope in found.scopes for one in after[scope][:1]]
    delta = _constants(constant_texts(one), constant_texts(other), found.edited)
    for word, names in (
        ("changed", [name for name in after if name in before and name in found.scopes]),
        ("added", [name for name in after if name not in before]),
        ("removed", [name for name in before if name not in after]),
    ):
        for name in names:
            if not name.startswith("<"):
                delta.setdefault(name, word)
    return Change(
        delta=delta,
        statements_added=len(found.edited) + len(found.added),
        statements_removed=len(found.edited) + len(found.removed),
        category=category_of(found._replace(added=added)),
    )


def difference(parent: ast.Module, child: ast.Module) -> tuple[Scopes, Scopes, Difference]:
    """Return the scopes of two texts and the statements in which they differ.

    Raises:
        SyntaxError: if one of them is nested too deeply.
    """
    try:
        before, after = scopes_of(parent), scopes_of(child)
        return before, after, compare(before, after)
    except RecursionError:
        raise SyntaxError("nested too deeply") from None


def _constants(before: Mapping[str, str], after: Mapping[str, str], edited: Pairs) -> dict[str, str]:
    """Return module constants that moved, then the literals inside edited statements."""
    found: dict[str, str] = {}
    for name in dict.fromkeys((*before, *after)):
        if name not in before or name not in after:
            found[name] = "added" if name in after else "removed"
        elif before[name] != after[name]:
            found[name] = f"{before[name]}{ARROW}{after[name]}"
    for name, one, other in (change for pair in edited for change in literal_changes(*pair)):
        if name not in before and name not in after:
            found.setdefault(name, f"{one}{ARROW}{other}")
    return found


@lru_cache(maxsize=4096)
def direction(before: str, after: str) -> str:
    """Return which way a value moved, "up" or "down"; "" where that can't be said.

    Both arms of "9 if OFFICIAL else 4" and all members of a tuple count; they must not move in opposite ways.
    """
    try:
        old, new = (parse_expression(text) for text in (before, after))
    except SyntaxError:
        return ""
    found = set()
    for pair in _matched(old, new):
        start, end = (as_number(evaluate(node, {})) for node in pair)
        if start is not None and end is not None and start != end:
            found.add("up" if end > start else "down")
    return found.pop() if len(found) == 1 else ""


def moves(delta: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the name and the direction ("up" or "down") of every value that a delta moved in one direction."""
    for name, text in delta.items():
        before, arrow, after = text.partition(ARROW)
        if arrow and (way := direction(before, after)):
            yield name, way


def _matched(old: ast.expr, new: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield the pairs of expressions to compare."""
    if isinstance(old, ast.IfExp) and isinstance(new, ast.IfExp):
        yield from ((old.body, new.body), (old.orelse, new.orelse))
    elif isinstance(old, ast.Tuple) and isinstance(new, ast.Tuple) and len(old.elts) == len(new.elts):
        yield from zip(old.elts, new.elts, strict=True)
    else:
        yield old, new
