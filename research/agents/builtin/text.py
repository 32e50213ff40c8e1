"""A train.py as text with a syntax tree over it: edits are splices at the tree's positions, the rest stays as it is."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, order=True)
class Splice:
    """Bytes from start up to end give way to new ones."""

    start: int
    end: int
    new: bytes = b""


class Text:
    """One train.py.

    Args:
        content: Its bytes, UTF-8.

    Raises:
        SyntaxError: if it does not parse.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        try:
            self.tree = ast.parse(content)
        except (ValueError, RecursionError, MemoryError) as error:
            raise SyntaxError(str(error) or "nested too deeply") from None
        self.lines = content.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """Each node's parent."""
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Where a node stands: offsets of its first byte and the byte behind it."""
        start = self.starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        end = self.starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
        return start, end

    def source(self, node: ast.AST) -> str:
        """A node as it is written."""
        start, end = self.span(node)
        return self.content[start:end].decode("utf-8", "replace")

    def replacing(self, node: ast.AST, new: str) -> Splice:
        """The splice that puts other text in a node's place."""
        return Splice(*self.span(node), new.encode())

    def removing(self, statement: ast.stmt) -> Splice:
        """The splice that takes a statement out: its lines, its decorators, and the comments right above it."""
        first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))])
        last = statement.end_lineno or statement.lineno
        start, end = self.starts[first - 1], self.starts[last]
        head = self.content[start : self.starts[first - 1] + self._indent(first)]
        owned = self.content[start : self.span(statement)[0]].strip() == b"" or first != statement.lineno
        if not owned or not self._alone(statement, last):
            return Splice(*self.span(statement), b"pass")
        while first > 1 and self.lines[first - 2].startswith(head + b"#") and first - 2 not in self._ruled:
            first -= 1
        return Splice(self.starts[first - 1], end)

    @cached_property
    def _ruled(self) -> frozenset[int]:
        """Lines (from 0) of comments that head a part of the file rather than a statement."""
        return frozenset(i for i, line in enumerate(self.lines) if b"-----" in line or b"=====" in line)

    def _indent(self, line: int) -> int:
        text = self.lines[line - 1]
        return len(text) - len(text.lstrip())

    def _alone(self, statement: ast.stmt, last: int) -> bool:
        """Whether nothing but a comment follows the statement on its last line."""
        rest = self.content[self.span(statement)[1] : self.starts[last]].strip()
        return not rest or rest.startswith(b"#")

    def block(self, statements: list[ast.stmt], indent: int) -> bytes:
        """Statements with the comments between them, moved to another indentation."""
        first, last = statements[0].lineno, statements[-1].end_lineno or statements[-1].lineno
        shift = self._indent(first) - indent
        inside = self._string_lines(statements)
        moved = []
        for number in range(first, last + 1):
            line = self.lines[number - 1]
            if number not in inside and shift > 0 and line[:shift].strip() == b"":
                line = line[shift:] if line.strip() else line
            moved.append(line)
        return b"".join(moved)

    def _string_lines(self, statements: list[ast.stmt]) -> frozenset[int]:
        """Lines that begin inside a string, where blanks have a meaning."""
        found: set[int] = set()
        for statement in statements:
            for node in ast.walk(statement):
                if isinstance(node, (ast.Constant, ast.JoinedStr)) and node.end_lineno:
                    found.update(range(node.lineno + 1, node.end_lineno + 1))
        return frozenset(found)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node of the tree."""
        return list(ast.walk(self.tree))

    @cached_property
    def _functions(self) -> list[ast.FunctionDef]:
        return [node for node in self.nodes if isinstance(node, ast.FunctionDef)]

    def functions(self) -> Iterator[ast.FunctionDef]:
        """Every function and method, at any depth."""
        return iter(self._functions)

    @cached_property
    def names_read(self) -> dict[ast.AST, dict[str, int]]:
        """How often each function, and the whole, reads each name."""
        return {scope: reads(scope) for scope in (self.tree, *self._functions)}


def spliced(content: bytes, splices: Iterable[Splice]) -> bytes:
    """The text after splices that do not overlap.

    Raises:
        ValueError: if two overlap.
    """
    ordered = sorted(set(splices))
    parts, at = [], 0
    for splice in ordered:
        if splice.start < at:
            raise ValueError("two edits overlap")
        parts += [content[at : splice.start], splice.new]
        at = splice.end
    return b"".join([*parts, content[at:]])


def statements(tree: ast.AST) -> int:
    """Statements of a syntax tree, docstrings left out."""
    return sum(isinstance(node, ast.stmt) and not _is_text(node) for node in ast.walk(tree))


def reads(tree: ast.AST) -> dict[str, int]:
    """How often each name is read."""
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found[node.id] = found.get(node.id, 0) + 1
    return found


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
