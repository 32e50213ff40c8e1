"""A made-up response of val_bpb to train.py's constants, so that a whole night can be rehearsed in a minute."""

from __future__ import annotations

import ast
import hashlib
import math
import operator
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from research.code.fingerprint import fingerprint
from research.code.syntax_tree import parse
from research.runs.backend import Launch
from research.runs.preflight import TARGET
from research.runs.scripted import Play

_OPERATORS: Mapping[type[ast.operator], Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Pow: operator.pow,
}  # fmt: skip


@dataclass(frozen=True)
class Pull:
    """One constant's part: weight * log(value / best)^2 bpb above the least there is."""

    best: float
    weight: float


@dataclass(frozen=True)
class Surface:
    """Plays a run as its constants say.

    Attributes:
        least: val_bpb with every constant at its best.
        sd: Standard deviation of a run, in bpb; drawn from code and seed, so that a repeat repeats.
        pulls: The constants that matter.
        crash_above: Constants and the value above which memory runs out.
    """

    least: float = 1.9
    sd: float = 0.0005
    pulls: Mapping[str, Pull] = field(default_factory=dict)
    crash_above: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, launch: Launch) -> Play:
        """The play of a launch."""
        text = (launch.root / TARGET).read_bytes()
        values = numbers(parse(text))
        if any(values.get(name, 0.0) > limit for name, limit in self.crash_above.items()):
            return Play("oom")
        true = self.least
        for name, pull in self.pulls.items():
            value = values.get(name, pull.best)
            true += pull.weight * (math.log(max(value, 1e-9) / pull.best) ** 2)
        seed = hashlib.sha256(f"{fingerprint(text)} {launch.seed}".encode()).digest()
        noise = random.Random(seed).gauss(0.0, self.sd)
        return Play("score", val_bpb=round(true + noise, 6), peak_vram_mb=1000.0 * values.get("DEPTH", 4.0))


def surface_of(value: Mapping[str, Any]) -> Surface:
    """A surface from JSON.

    Raises:
        TypeError, ValueError: if it is none.
    """
    pulls = {str(name): Pull(**pull) for name, pull in dict(value.get("pulls", {})).items()}
    rest = {key: item for key, item in value.items() if key != "pulls"}
    return Surface(pulls=pulls, **rest)


def numbers(tree: ast.Module) -> dict[str, float]:
    """The module's ALL_CAPS constants that are plain numbers; of `A if OFFICIAL else B` the second."""
    found: dict[str, float] = {}
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        value = _number(node.value)
        if node.targets[0].id.isupper() and value is not None:
            found[node.targets[0].id] = value
    return found


def _number(node: ast.expr) -> float | None:
    if isinstance(node, ast.IfExp):
        return _number(node.orelse)
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _number(node.left), _number(node.right)
        if left is None or right is None:
            return None
        try:
            return float(_OPERATORS[type(node.op)](left, right))
        except (ArithmeticError, ValueError):
            return None
    return None
