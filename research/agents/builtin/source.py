"""Reads a train.py that is to be edited: its text, its syntax tree, and its settings with their values."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from research.code.constants import UNKNOWN, assignments, evaluate, evaluate_constants
from research.code.syntax_tree import parse
from research.core.settings import SETTINGS

_NOT_RESEARCH = frozenset(
    {"SEED", "PEAK", "FLOPS", "REVISION", "TOLERANCE", "UNCOUNTED", "COMPILE", "DTYPE", "ATTENTION", "DEVICES", "VOCAB"}
    | {"VERSION", "BUDGET", "EVAL", "SEQ", "LOG", "PORT", "TIMEOUT", "PRINT", "VERBOSE", "SAVE", "CHECKPOINT", "EVERY"}
    | {"DEBUG", "FUSED"}
)
"""Words in the names of constants that are no matter of research, but of the machine, the contract or the display."""


@dataclass(frozen=True)
class Setting:
    """One constant that an experiment may change.

    Attributes:
        name: Its name, in capitals.
        node: The expression of its value; of ``A if OFFICIAL else B`` the arm in force.
        comment: The comment behind it on its line.
        is_tested: Whether the code tests its truth, so that it can be switched off.
        compared: The texts with which the code compares it.
    """

    name: str
    node: ast.expr
    comment: str
    is_tested: bool
    compared: frozenset[str]


class Source:
    """One train.py, as UTF-8, read under a profile.

    Attributes:
        tree: Its syntax tree.
        values: The values that its constants have under the profile, as far as they can be evaluated.

    Raises:
        SyntaxError: if it does not parse.
    """

    def __init__(self, content: bytes, profile: str) -> None:
        self.content, self.profile = content, profile
        self.tree = parse(content)
        context = SETTINGS.pocket_context if profile == "pocket" else SETTINGS.official_context
        self.values = evaluate_constants(self.tree, {"PROFILE.name": profile, "MAX_SEQ_LEN": context})
        self._lines = content.splitlines(keepends=True)

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """Return the constants that are matters of research."""
        tested: set[str] = set()
        compared: dict[str, set[str]] = {}
        for node in ast.walk(self.tree):
            tested.update(part.id for part in _tested(node) if isinstance(part, ast.Name))
            if isinstance(node, ast.Compare) and isinstance(node.left, ast.Name):
                texts = (evaluate(other, {}) for other in node.comparators)
                compared.setdefault(node.left.id, set()).update(text for text in texts if isinstance(text, str))
        constants = {name: value for name, value in assignments(self.tree.body) if name.isupper() and len(name) > 1}
        found = []
        for name, value in constants.items():
            arm = arm_in_force(value, self.values)
            used = {part.id for part in ast.walk(arm) if isinstance(part, ast.Name)}
            # A constant that is computed from other settings, such as HEADS = WIDTH // HEAD_DIM, follows them.
            if not set(name.split("_")) & _NOT_RESEARCH and not used & constants.keys():
                texts_of = frozenset(compared.get(name, ()))
                found.append(Setting(name, arm, self._comment_behind(value), name in tested, texts_of))
        return tuple(found)

    def _comment_behind(self, node: ast.expr) -> str:
        rest = self._lines[(node.end_lineno or node.lineno) - 1][node.end_col_offset :]
        return rest.decode("utf-8", "replace").partition("#")[2].strip()

    def _span(self, node: ast.expr) -> tuple[int, int]:
        """Return the offsets of a node's first byte and of the byte behind it."""
        ends = (node.lineno, node.col_offset), (node.end_lineno or node.lineno, node.end_col_offset or 0)
        start, end = (sum(map(len, self._lines[: line - 1])) + column for line, column in ends)
        return start, end

    def text(self, node: ast.expr) -> str:
        """Return an expression as it is written."""
        start, end = self._span(node)
        return self.content[start:end].decode("utf-8", "replace")

    def replace(self, node: ast.expr, text: str) -> bytes:
        """Return the file with other text in an expression's place."""
        start, end = self._span(node)
        return self.content[:start] + text.encode() + self.content[end:]


def arm_in_force(node: ast.expr, values: dict[str, Any]) -> ast.expr:
    """Return the arm of a conditional expression that is taken; the expression itself where there is none."""
    while isinstance(node, ast.IfExp) and (test := evaluate(node.test, values)) is not UNKNOWN:
        node = node.body if test else node.orelse
    return node


def _tested(node: ast.AST) -> list[ast.expr]:
    """Return the expressions whose truth a node asks for."""
    if isinstance(node, ast.If | ast.IfExp):
        return [node.test]
    if isinstance(node, ast.BoolOp):
        return node.values
    return [node.operand] if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) else []
