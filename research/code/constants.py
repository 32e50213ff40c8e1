"""Reads the constants of a train.py: their source text and their values. Nothing is executed."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from research.code.syntax_tree import parse_expression

UNKNOWN: Any = object()  # the value of an expression that needs more than constants
MAX_POWER = 64  # largest exponent that is computed: constants need no more, and a tower of powers would take all memory


def _power(base: float, exponent: float) -> Any:
    if abs(exponent) > MAX_POWER:
        raise OverflowError
    return base**exponent


_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def evaluate(node: ast.expr, known: Mapping[str, Any]) -> Any:
    """Return the value of an expression, or UNKNOWN.

    Args:
        node: Its tree.
        known: Values of names and of dotted names such as "PROFILE.name".
    """
    try:
        return _evaluate(node, known)
    except (LookupError, ArithmeticError, TypeError, ValueError, RecursionError):
        return UNKNOWN


def _evaluate(node: ast.expr, known: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name | ast.Attribute):
        return known[ast.unparse(node)]
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_evaluate(item, known) for item in node.elts)
    if isinstance(node, ast.IfExp):
        return _evaluate(node.body if _evaluate(node.test, known) else node.orelse, known)
    if isinstance(node, ast.BoolOp):
        value: Any = None
        for part in node.values:
            value = _evaluate(part, known)
            if bool(value) is isinstance(node.op, ast.Or):
                break
        return value
    if isinstance(node, ast.UnaryOp):
        return _OPERATORS[type(node.op)](_evaluate(node.operand, known))
    if isinstance(node, ast.BinOp):
        operands = [_evaluate(node.left, known), _evaluate(node.right, known)]
        if not all(isinstance(operand, int | float) for operand in operands):
            raise TypeError
        return _OPERATORS[type(node.op)](*operands)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return _OPERATORS[type(node.ops[0])](_evaluate(node.left, known), _evaluate(node.comparators[0], known))
    raise LookupError


def evaluate_constants(tree: ast.Module, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every name that a module's body assigns and that can be evaluated, with what is known."""
    values = dict(known)
    for name, node in assignments(tree.body):
        if (value := evaluate(node, values)) is not UNKNOWN:
            values[name] = value
    return values


def number(text: str) -> float | None:
    """Return the value of a constant's source text if it is a number or arithmetic with numbers, else None."""
    try:
        return as_number(evaluate(parse_expression(text), {}))
    except SyntaxError:
        return None


def as_number(value: Any) -> float | None:
    """Return a value if it is a number, else None; True and False are none."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def assignments(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """Yield the name and the value's tree of every assignment to one plain name."""
    for node in body:
        target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
        if isinstance(node, ast.AnnAssign):
            target = node.target
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.expr):
            yield target.id, value


def constant_texts(tree: ast.Module) -> dict[str, str]:
    """Return the source text of the module's ALL_CAPS names and of the fields of its classes, without seeds."""
    found = {name: value for name, value in assignments(tree.body) if name.isupper()}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found.update((f"{node.name}.{name}", value) for name, value in assignments(node.body))
    return {name: ast.unparse(value) for name, value in found.items() if not is_seed_name(name.rpartition(".")[2])}


def is_seed_name(name: str) -> bool:
    """Return whether an identifier names a seed."""
    return "seed" in name.lower().split("_")
