"""Reads from a syntax tree what a module imports, and which names another can import from it."""

from __future__ import annotations

import ast
from typing import NamedTuple

from research.code.fingerprint import DEFINITIONS, called


class Import(NamedTuple):
    """One unconditional import of a module's body."""

    module: str  # dotted name
    names: tuple[str, ...]  # names taken out of it, () for a plain import
    line: int  # line number, from 1


def module_imports(tree: ast.Module) -> tuple[Import, ...]:
    """Return the imports that run whatever happens: those of the module's own body, not of branches or functions."""
    found: list[Import] = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            found += [Import(alias.name, (), node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.append(Import(node.module, tuple(alias.name for alias in node.names), node.lineno))
    return tuple(found)


def defined_names(tree: ast.Module) -> frozenset[str] | None:
    """Return the names that a module's body may define outside functions and classes; None if it may define any."""
    names: set[str] = set()
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, DEFINITIONS):
            names.add(node.name)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Call) and called(node) in {"globals", "setattr", "exec"}:
            return None
        pending.extend(ast.iter_child_nodes(node))
    return None if names & {"__getattr__", "*"} else frozenset(names)
