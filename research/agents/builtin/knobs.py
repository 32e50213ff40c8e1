"""Finds the numbers of a train.py that an experiment may move, and writes new ones the way the old were written."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from research.agents.builtin.evaluate import UNKNOWN, assigned_name, evaluate
from research.agents.builtin.knob_table import Rule, rule_of
from research.agents.builtin.text import Splice, Text


@dataclass(frozen=True)
class Knob:
    """One number in the text.

    Attributes:
        name: How people call it: MATRIX_LR, ADAM_BETAS[1].
        constant: The module's constant that holds it.
        index: Its place in a tuple, None outside one.
        value: What it is now.
        node: Its expression in the tree.
        rule: How it may move.
        power: Whether it is written as 2**n.
        spelled: How it is written.
    """

    name: str
    constant: str
    index: int | None
    value: float
    node: ast.expr
    rule: Rule
    power: bool
    spelled: str

    def spell(self, value: float) -> str:
        """A value as it would be written in this place."""
        if self.power and value > 0:
            return f"2**{round(math.log2(value))}"
        if self.rule.integer and not isinstance(self.value, float):
            return f"{round(value):_}" if "_" in self.spelled else str(round(value))
        if self.rule.integer:
            return repr(float(round(value)))
        return repr(float(f"{value:.3g}")) if abs(value) < 1 else repr(float(f"{value:.4g}"))

    def splice(self, text: Text, spelled: str) -> Splice:
        """The edit that writes a value."""
        return text.replacing(self.node, spelled)


def knobs(text: Text, known: dict[str, Any]) -> Iterator[Knob]:
    """Every number that may be moved under the profile in force.

    Args:
        text: The train.py.
        known: Its constants in force; of ``A if OFFICIAL else B`` only the arm in force is found.
    """
    for statement in text.tree.body:
        name = assigned_name(statement)
        value = getattr(statement, "value", None)
        if not name or not name.isupper() or len(name) < 2 or value is None:
            continue
        yield from _in_expression(text, name, arm_in_force(value, known))


def arm_in_force(node: ast.expr, known: dict[str, Any]) -> ast.expr:
    """The arm of a conditional expression that the profile takes; the expression itself otherwise."""
    while isinstance(node, ast.IfExp):
        test = evaluate(node.test, known)
        if test is UNKNOWN:
            return node
        node = node.body if test else node.orelse
    return node


def _in_expression(text: Text, name: str, node: ast.expr) -> Iterator[Knob]:
    if isinstance(node, ast.Tuple):
        for index, item in enumerate(node.elts):
            yield from _one(text, f"{name}[{index}]", name, index, item)
    elif isinstance(node, ast.BinOp) and number_of(node) is None:
        # T // 8: the one number in it is what is moved.
        inside = [child for child in (node.left, node.right) if number_of(child) is not None]
        if len(inside) == 1 and isinstance(node.op, (ast.FloorDiv, ast.Div, ast.Mult)):
            yield from _one(text, name, name, None, inside[0])
    else:
        yield from _one(text, name, name, None, node)


def _one(text: Text, name: str, constant: str, index: int | None, node: ast.expr) -> Iterator[Knob]:
    value = number_of(node)
    rule = rule_of(constant, value) if value is not None else None
    if value is None or rule is None:
        return
    power = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)
    if power and rule.scale != "power":
        return
    if isinstance(value, float) and rule.integer and not value.is_integer():
        return  # a ratio of 2.5 is not to be rounded
    yield Knob(name, constant, index, value, node, rule, power, text.source(node))


def number_of(node: ast.expr) -> float | None:
    """The number that is written here: a literal, a negative one, or a power of two such as 2**18."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = number_of(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant):
        value = node.value
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        base, power = number_of(node.left), number_of(node.right)
        if base == 2 and isinstance(power, int) and 0 <= power < 40:
            return int(2**power)
    return None
