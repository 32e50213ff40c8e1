"""What a train.py's constants come to under one profile, by its syntax tree alone; nothing is executed."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from research.core.settings import SETTINGS

UNKNOWN = object()
"""What an expression comes to that needs more than constants."""

Values = Mapping[str, Any]

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_NEVER_BELOW_ZERO = frozenset({"progress", "fraction", "step", "elapsed"})
"""Names of arguments that start at 0 and grow: none of them is ever less than 0."""


def surroundings(profile: str) -> dict[str, Any]:
    """What prepare.py gives to every train.py under a profile; the sizes are those of the public contract."""
    context = SETTINGS.pocket_context if profile == "pocket" else SETTINGS.official_context
    return {"PROFILE.name": profile, "MAX_SEQ_LEN": context}


def constants_in_force(tree: ast.Module, profile: str) -> dict[str, Any]:
    """Every constant of a module's body that can be worked out, with what prepare.py gives."""
    known = surroundings(profile)
    for node in tree.body:
        target = assigned_name(node)
        value = getattr(node, "value", None)
        if target and value is not None and (found := evaluate(value, known)) is not UNKNOWN:
            known[target] = found
    return known


def assigned_name(node: ast.stmt) -> str:
    """The one plain name that a statement assigns to, "" without."""
    target: ast.expr | None = None
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
    elif isinstance(node, ast.AnnAssign):
        target = node.target
    return target.id if isinstance(target, ast.Name) else ""


def evaluate(node: ast.expr, known: Values) -> Any:
    """The value of an expression, or UNKNOWN."""
    try:
        return _evaluate(node, known)
    except (ArithmeticError, TypeError, ValueError, KeyError, IndexError, RecursionError):
        return UNKNOWN


def _evaluate(node: ast.expr, known: Values) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return known.get(node.id, UNKNOWN)
    if isinstance(node, ast.Attribute):
        return known.get(ast.unparse(node), UNKNOWN)
    if isinstance(node, (ast.Tuple, ast.List)):
        items = [_evaluate(item, known) for item in node.elts]
        return UNKNOWN if UNKNOWN in items else tuple(items)
    if isinstance(node, ast.IfExp):
        test = _evaluate(node.test, known)
        return UNKNOWN if test is UNKNOWN else _evaluate(node.body if test else node.orelse, known)
    if isinstance(node, ast.BoolOp):
        return _both(node, known)
    if isinstance(node, ast.UnaryOp):
        value = _evaluate(node.operand, known)
        if value is UNKNOWN or isinstance(node.op, ast.Invert):
            return UNKNOWN
        return _UNARY[type(node.op)](value)
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = _evaluate(node.left, known), _evaluate(node.right, known)
        if left is UNKNOWN or right is UNKNOWN or (isinstance(node.op, ast.Pow) and _huge(left, right)):
            return UNKNOWN
        return _BINARY[type(node.op)](left, right)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
        left, right = _evaluate(node.left, known), _evaluate(node.comparators[0], known)
        if _is_growing(node.left) and isinstance(node.ops[0], ast.Lt) and _is_number(right) and right <= 0:
            return False
        return UNKNOWN if left is UNKNOWN or right is UNKNOWN else _COMPARE[type(node.ops[0])](left, right)
    return UNKNOWN


def _both(node: ast.BoolOp, known: Values) -> Any:
    """``and`` or ``or``: one side may settle it alone."""
    settles = isinstance(node.op, ast.Or)
    values = [_evaluate(value, known) for value in node.values]
    decided = [value for value in values if value is not UNKNOWN and bool(value) is settles]
    if decided:
        return settles
    return UNKNOWN if UNKNOWN in values else values[-1]


def _huge(base: Any, power: Any) -> bool:
    return not (isinstance(base, (int, float)) and isinstance(power, (int, float)) and abs(power) <= 64)


def _is_growing(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in _NEVER_BELOW_ZERO


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
