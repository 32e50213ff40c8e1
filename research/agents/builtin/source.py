"""Reads a train.py that is to be edited: its text, its syntax tree, and its settings with their values."""

from __future__ import annotations

import ast
from collections.abc import Iterator
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
"""Words in the names of constants that belong to the machine, the contract or the display."""


@dataclass(frozen=True)
class Setting:
    """One constant that an experiment may change.

    Attributes:
        name: Its name, in capitals.
        node: The expression of its value; of ``A if OFFICIAL else B`` the arm in force.
        comment: What is written behind it on its line.
        is_tested: Whether the code tests its truth, so that it can be switched off.
        compared: The texts with which the code compares it.
    """

    name: str
    node: ast.expr
    comment: str
    is_tested: bool
    compared: frozenset[str]

    @property
    def literal(self) -> object:
        """Return its value where that is written as one literal, else None."""
        return self.node.value if isinstance(self.node, ast.Constant) else None


class Source:
    """One train.py under one profile.

    Args:
        content: Its bytes, UTF-8.
        profile: Name of the profile that runs.

    Attributes:
        content: Its bytes.
        profile: Name of the profile.
        tree: Its syntax tree.
        values: The values that its constants have under the profile, as far as they can be evaluated.

    Raises:
        SyntaxError: if it does not parse.
    """

    def __init__(self, content: bytes, profile: str) -> None:
        self.content = content
        self.profile = profile
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
            if isinstance(node, ast.If | ast.IfExp):
                tested.update(_tested_names(node.test))
            elif isinstance(node, ast.Compare) and isinstance(node.left, ast.Name):
                texts = (evaluate(other, {}) for other in node.comparators)
                compared.setdefault(node.left.id, set()).update(text for text in texts if isinstance(text, str))
        found = {name: value for name, value in assignments(self.tree.body) if name.isupper() and len(name) > 1}
        return tuple(
            Setting(name, arm, self._comment_behind(value), name in tested, frozenset(compared.get(name, ())))
            for name, value in found.items()
            if not set(name.split("_")) & _NOT_RESEARCH
            # What is worked out from other settings, such as HEADS = WIDTH // HEAD_DIM, follows them.
            and not _names(arm := arm_in_force(value, self.values)) & found.keys()
        )

    def _comment_behind(self, node: ast.expr) -> str:
        rest = self._lines[(node.end_lineno or node.lineno) - 1][node.end_col_offset :]
        return rest.decode("utf-8", "replace").partition("#")[2].strip()

    def _span(self, node: ast.expr) -> tuple[int, int]:
        """Return the offsets of a node's first byte and of the byte behind it."""
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        before = sum(map(len, self._lines[:first]))
        between = sum(map(len, self._lines[first:last]))
        return before + node.col_offset, before + between + (node.end_col_offset or 0)

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


def _names(node: ast.expr) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _tested_names(test: ast.expr) -> Iterator[str]:
    if isinstance(test, ast.Name):
        yield test.id
    elif isinstance(test, ast.UnaryOp):
        yield from _tested_names(test.operand)
    elif isinstance(test, ast.BoolOp):
        for value in test.values:
            yield from _tested_names(value)
