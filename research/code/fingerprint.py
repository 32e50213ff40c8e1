"""Reads a train.py's fingerprint, a hash of what its code does, from its syntax tree."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable
from functools import lru_cache

from research.code.constants import is_seed_name
from research.code.syntax_tree import parse

_SEEDERS = frozenset({"seed", "manual_seed", "manual_seed_all", "default_rng", "Random"})
_UNIMPORTANT = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
_SEED = ast.Constant("seed")
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@lru_cache(maxsize=256)  # one launch asks for the same text several times, a proposal for that of its parent
def fingerprint(text: str | bytes) -> str:
    """Return a hash of what the code does: comments, layout, docstrings and literals that only seed are left out.

    Raises:
        SyntaxError: if it does not parse.
    """
    try:
        text = dump(parse(text))
    except RecursionError:
        raise SyntaxError("nested too deeply") from None
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def dump(node: object) -> str:
    """Return a tree as text, which is the same on every Python (ast.dump's is not)."""
    pieces: list[str] = []
    _dump(node, pieces.append)
    return "".join(pieces)


def _dump(node: object, write: Callable[[str], None]) -> None:
    if isinstance(node, ast.AST):
        write(f"({type(node).__name__}")
        for name in node._fields:
            value = getattr(node, name, None)
            if name in _UNIMPORTANT or value == [] or (value is None and not isinstance(node, ast.Constant)):
                continue
            write(f" {name}=")
            _dump(without_noise(node, name, value), write)
        write(")")
    elif isinstance(node, list):
        write("[")
        for item in node:
            _dump(item, write)
        write("]")
    else:
        write(f"{type(node).__name__}:{node!r};")


def is_docstring(node: object) -> bool:
    """Return whether a statement is a text and nothing else."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def without_noise(node: ast.AST, field: str, value: object) -> object:
    """Return the value of a node's field without a docstring, and with every seed literal replaced by one word."""
    if field == "body" and isinstance(value, list) and value and is_docstring(value[0]):
        return value[1:]
    if isinstance(node, ast.Call) and field == "args" and isinstance(value, list):
        if called(node) in _SEEDERS:
            return [_SEED if _is_seed(argument) else argument for argument in value]
        return [value[0], *(_SEED for _ in value[1:])] if _reads_seed_variable(value) else value
    if field == "value" and _is_for_seed(node) and _is_seed(value):
        return _SEED
    return value


def called(node: ast.Call) -> str:
    """Return the name of what is called, without what comes before its last dot; "" without one."""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def _is_seed(node: object) -> bool:
    """Return whether an expression is a seed and nothing else: integers, names of seeds, arithmetic with both."""
    if isinstance(node, ast.BinOp):
        return _is_seed(node.left) and _is_seed(node.right)
    if isinstance(node, ast.Name | ast.Attribute):
        return is_seed_name(node.id if isinstance(node, ast.Name) else node.attr)
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) in (int, str) and str(node.value).lstrip("-").isdigit()


def _reads_seed_variable(args: list[ast.AST]) -> bool:
    """Return whether these are the arguments of os.environ.get("..._SEED", default)."""
    first = args[0] if args else None
    return isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value.endswith("_SEED")


def _is_for_seed(node: ast.AST) -> bool:
    """Return whether a node gives its value to a seed: an assignment or a keyword argument."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return all(isinstance(target, ast.Name) and is_seed_name(target.id) for target in targets)
    return isinstance(node, ast.keyword) and "seed" in (node.arg or "")
