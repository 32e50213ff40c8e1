"""The difference of two train.py, read from their syntax trees: layout, comments, docstrings, seeds and moved code
are no difference. Nothing is executed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from research.code.ast_diff import Pairs, Scopes, compare, literal_changes, scopes_of
from research.code.classify import Item, category_of
from research.code.constants import as_number, constant_texts, evaluate
from research.code.syntax_tree import parse, parse_expression

ARROW = " -> "
"""Between the two values of a constant in a delta."""


@dataclass(frozen=True)
class ConstantChange:
    """One value that moved, as source text; before is "" for a new constant, after for a dropped one."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Change:
    """The difference of two train.py.

    Attributes:
        constants: Values that moved: module constants, defaults, and literals inside functions.
        functions_changed: Functions and methods whose statements differ, in order of the child.
        functions_added: Functions and methods that are new.
        functions_removed: Functions and methods that are gone.
        statements_added: Statements that the child has and the parent has nowhere.
        statements_removed: Statements that the parent has and the child has nowhere.
        category: What kind of change it is; see research.code.classify.
    """

    constants: tuple[ConstantChange, ...] = ()
    functions_changed: tuple[str, ...] = ()
    functions_added: tuple[str, ...] = ()
    functions_removed: tuple[str, ...] = ()
    statements_added: int = 0
    statements_removed: int = 0
    category: str = ""

    def delta(self) -> dict[str, str]:
        """Return what changed, by name: constants as "before -> after", the rest as "changed", "added", "removed"."""
        found: dict[str, str] = {}
        for item in self.constants:
            moved = bool(item.before and item.after)
            found[item.name] = f"{item.before}{ARROW}{item.after}" if moved else "added" if item.after else "removed"
        for word, names in (
            ("changed", self.functions_changed),
            ("added", self.functions_added),
            ("removed", self.functions_removed),
        ):
            for name in names:
                found.setdefault(name, word)
        return found


NO_CHANGE = Change()
"""Two texts that do the same."""


def between(parent: bytes | str, child: bytes | str) -> Change:
    """Return the difference of two train.py.

    Raises:
        SyntaxError: if one of them does not parse.
    """
    try:
        return _between(_read(parent), _read(child))
    except RecursionError:
        raise SyntaxError("nested too deeply") from None


@lru_cache(maxsize=8)  # a night compares one child after the other with the same parent
def _read(text: bytes | str) -> tuple[ast.Module, Scopes]:
    """Return a text's tree and its scopes."""
    tree = parse(text)
    return tree, scopes_of(tree)


def _between(one: tuple[ast.Module, Scopes], other: tuple[ast.Module, Scopes]) -> Change:
    (parent, before), (child, after) = one, other
    found = compare(before, after)
    items = [Item.of_edited(old, new) for old, new in found.edited]
    items += [Item.of_removed(one) for one in found.removed] + [Item.of_added(one) for one in found.added]
    if not items:  # the same statements in another order
        items = [Item.of_added(one) for scope in after if scope in found.scopes for one in after[scope][:1]]
    old_functions, functions = ([name for name in side if not name.startswith("<")] for side in (before, after))
    return Change(
        constants=_constants(constant_texts(parent), constant_texts(child), found.edited),
        functions_changed=tuple(name for name in functions if name in found.scopes and name in before),
        functions_added=tuple(name for name in functions if name not in before),
        functions_removed=tuple(name for name in old_functions if name not in after),
        statements_added=len(found.edited) + len(found.added),
        statements_removed=len(found.edited) + len(found.removed),
        category=category_of(items),
    )


def _constants(before: Mapping[str, str], after: Mapping[str, str], edited: Pairs) -> tuple[ConstantChange, ...]:
    """Return module constants that moved, then the literals inside edited statements."""
    names = dict.fromkeys((*before, *after))
    found = {n: ConstantChange(n, before.get(n, ""), after.get(n, "")) for n in names if before.get(n) != after.get(n)}
    for old, new in edited:
        for name, one, other in literal_changes(old, new):
            if name not in names:
                found.setdefault(name, ConstantChange(name, one, other))
    return tuple(found.values())


@lru_cache(maxsize=4096)
def direction(before: str, after: str) -> str:
    """Return which way a value moved, "up" or "down"; "" where that can't be said.

    Both arms of "9 if OFFICIAL else 4" and all members of a tuple count; they must not move in opposite ways.
    """
    try:
        old, new = (parse_expression(text) for text in (before, after))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    moves = [(as_number(evaluate(one, {})), as_number(evaluate(other, {}))) for one, other in _matched(old, new)]
    rises = {b > a for a, b in moves if a is not None and b is not None and a != b}
    return "" if len(rises) != 1 else "up" if rises.pop() else "down"


def _matched(old: ast.expr, new: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield the pairs of expressions to compare."""
    if isinstance(old, ast.IfExp) and isinstance(new, ast.IfExp):
        yield from ((old.body, new.body), (old.orelse, new.orelse))
    elif isinstance(old, ast.Tuple) and isinstance(new, ast.Tuple) and len(old.elts) == len(new.elts):
        yield from zip(old.elts, new.elts, strict=True)
    else:
        yield old, new
