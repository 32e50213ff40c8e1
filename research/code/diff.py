"""What an experiment changed, read from the syntax trees of parent and child.

Substrings and hunk headers say what lies near a change; the trees say what it is. Layout, comments, docstrings and
moved code cost nothing; a seed is no change. Nothing is executed.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from research.code.ast_diff import Statement, literal_changes, module_constants, same_shape, scopes_of
from research.code.classify import Item, kind_of
from research.code.fingerprint import parse

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
        """What changed, by name: constants as "before -> after", the rest as "changed", "added" or "removed"."""
        found: dict[str, str] = {}
        for item in self.constants:
            moved = bool(item.before and item.after)
            found[item.name] = f"{item.before}{ARROW}{item.after}" if moved else "added" if item.after else "removed"
        for word, names in (
            ("changed", self.functions_changed),
            ("added", self.functions_added),
            ("removed", self.functions_removed),
        ):
            found.update((name, word) for name in names if name not in found)
        return found


NO_CHANGE = Change()
"""Two texts that do the same."""


def between(parent: bytes | str, child: bytes | str) -> Change:
    """The difference of two train.py.

    Raises:
        SyntaxError: if one of them does not parse.
    """
    try:
        return _between(parse(parent), parse(child))
    except RecursionError:
        raise SyntaxError("nested too deeply") from None


def _between(parent: ast.Module, child: ast.Module) -> Change:
    before, after = scopes_of(parent), scopes_of(child)
    removed, added, touched = _differences(before, after)
    pairs, removed, added = _paired(removed, added)
    constants = _constants(module_constants(parent), module_constants(child), pairs)
    items = [Item.of_pair(old, new) for old, new in pairs]
    items += [Item.of_one(one, False) for one in removed] + [Item.of_one(one, True) for one in added]
    if not items:  # the same statements in another order
        items = [Item.of_one(one, True) for scope in touched for one in after.get(scope, ())[:1]]
    functions = [name for name in (*after, *before) if not name.startswith("<")]
    return Change(
        constants=constants,
        functions_changed=tuple(n for n in dict.fromkeys(functions) if n in touched and n in before and n in after),
        functions_added=tuple(n for n in after if n not in before and not n.startswith("<")),
        functions_removed=tuple(n for n in before if n not in after and not n.startswith("<")),
        statements_added=len(pairs) + len(added),
        statements_removed=len(pairs) + len(removed),
        category=kind_of(items),
    )


Scopes = Mapping[str, Sequence[Statement]]


def _differences(before: Scopes, after: Scopes) -> tuple[list[Statement], list[Statement], set[str]]:
    """Statements that are gone and that are new, moved ones left out, and the scopes that differ at all."""
    removed: list[Statement] = []
    added: list[Statement] = []
    touched: set[str] = set()
    for scope in dict.fromkeys((*before, *after)):
        old, new = before.get(scope, ()), after.get(scope, ())
        matcher = SequenceMatcher(None, [s.key for s in old], [s.key for s in new], autojunk=False)
        for what, i, j, k, m in matcher.get_opcodes():
            if what != "equal":
                removed += old[i:j]
                added += new[k:m]
                touched.add(scope)
    moved = Counter(s.key for s in removed) & Counter(s.key for s in added)
    return list(_without(removed, moved)), list(_without(added, moved)), touched


def _without(statements: Sequence[Statement], moved: Counter[str]) -> Iterator[Statement]:
    left = Counter(moved)
    for statement in statements:
        if left[statement.key] > 0:
            left[statement.key] -= 1
        else:
            yield statement


def _paired(
    removed: Sequence[Statement], added: Sequence[Statement]
) -> tuple[list[tuple[Statement, Statement]], list[Statement], list[Statement]]:
    """Old and new form of the statements that were edited, and what is left over on either side."""
    pairs: list[tuple[Statement, Statement]] = []
    old_left, new_left = list(removed), list(added)
    for is_pair in (same_shape, _alike):
        for old in list(old_left):
            near = [new for new in new_left if new.scope == old.scope and is_pair(old, new)]
            if near:
                new = max(near, key=lambda one: _likeness(old, one))
                pairs.append((old, new))
                old_left.remove(old)
                new_left.remove(new)
    return pairs, old_left, new_left


def _alike(old: Statement, new: Statement) -> bool:
    """Whether one may be an edit of the other: both of one kind, with half of what they read in common."""
    return old.kind == new.kind and _likeness(old, new) >= 0.5


def _likeness(old: Statement, new: Statement) -> float:
    common = sum((Counter(old.names) & Counter(new.names)).values())
    return 2 * common / max(1, len(old.names) + len(new.names))


def _constants(
    before: Mapping[str, str], after: Mapping[str, str], pairs: Sequence[tuple[Statement, Statement]]
) -> tuple[ConstantChange, ...]:
    """Module constants that moved, then the literals inside edited statements."""
    names = dict.fromkeys((*before, *after))
    found = [ConstantChange(n, before.get(n, ""), after.get(n, "")) for n in names if before.get(n) != after.get(n)]
    known = {item.name for item in found}
    for old, new in pairs:
        for name, one, other in literal_changes(old, new):
            if name not in known and name not in names:
                known.add(name)
                found.append(ConstantChange(name, one, other))
    return tuple(found)


def number(text: str) -> float | None:
    """The value of a constant's source text: a number, or sums, products and powers of numbers; None for all else."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return _number(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None


def _number(node: ast.expr) -> float | None:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _number(node.operand)
        return None if value is None else -value
    if not isinstance(node, ast.BinOp):
        return None
    left, right = _number(node.left), _number(node.right)
    if left is None or right is None:
        return None
    if isinstance(node.op, ast.Pow):
        power = left**right if abs(right) <= 1000 else None
        return float(power) if isinstance(power, (int, float)) else None
    if isinstance(node.op, ast.Add):
        return left + right
    if isinstance(node.op, ast.Sub):
        return left - right
    if isinstance(node.op, ast.Mult):
        return left * right
    return left / right if isinstance(node.op, (ast.Div, ast.FloorDiv)) else None


def direction(before: str, after: str) -> str:
    """Which way a value moved: "up", "down", or "" where that can't be said; of "9 if OFFICIAL else 4" either part."""
    ways = {way for old, new in _parts(before, after) if (way := _way(number(old), number(new)))}
    return ways.pop() if len(ways) == 1 else ""


def _way(old: float | None, new: float | None) -> str:
    if old is None or new is None or old == new:
        return ""
    return "up" if new > old else "down"


def _parts(before: str, after: str) -> list[tuple[str, str]]:
    """The pairs of values to compare: the text itself, the branches of a conditional, the members of a tuple, or what
    divides one thing by another."""
    if " " not in before and "(" not in before:
        return [(before, after)]
    try:
        old, new = ast.parse(before, mode="eval").body, ast.parse(after, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [(ast.unparse(one), ast.unparse(other)) for one, other in _matched(old, new)]


def _matched(old: ast.expr, new: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    if isinstance(old, ast.IfExp) and isinstance(new, ast.IfExp):
        yield from ((old.body, new.body), (old.orelse, new.orelse))
    elif isinstance(old, ast.Tuple) and isinstance(new, ast.Tuple) and len(old.elts) == len(new.elts):
        yield from zip(old.elts, new.elts, strict=True)
    else:
        yield old, new
