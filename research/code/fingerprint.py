"""What a train.py is, read from its syntax tree and never executed: its fingerprint, imports and constants."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass

Literal = int | float | complex | str | bytes | bool | None | tuple[object, ...]

_SEEDERS = frozenset({"seed", "manual_seed", "manual_seed_all", "default_rng", "Random"})


@dataclass(frozen=True)
class Import:
    """One unconditional import of a module's body.

    Attributes:
        module: Dotted name.
        names: Names taken out of it, () for a plain import.
        line: Line number, from 1.
    """

    module: str
    names: tuple[str, ...]
    line: int


def parse(text: str | bytes) -> ast.Module:
    """Parses a train.py.

    Raises:
        SyntaxError: if it does not parse (with a line number where there is one).
    """
    try:
        return ast.parse(text)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or "nested too deeply") from None


def fingerprint(text: str | bytes) -> str:
    """Hash of what the code does: comments, layout, docstrings and the literals that only seed are left out.

    The dump is our own, so that every Python gives the same hash for the same code.

    Raises:
        SyntaxError: if it does not parse.
    """
    digest = hashlib.sha256()
    try:
        _dump(parse(text), digest)
    except RecursionError:
        raise SyntaxError("nested too deeply") from None
    return digest.hexdigest()


def _dump(node: object, digest: hashlib._Hash) -> None:
    if isinstance(node, ast.AST):
        digest.update(f"({type(node).__name__}".encode())
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None and not isinstance(node, ast.Constant):
                continue
            if name in ("kind", "type_ignores", "ctx", "type_comment") or value == []:
                continue
            digest.update(f" {name}=".encode())
            _dump(without_noise(node, name, value), digest)
        digest.update(b")")
    elif isinstance(node, list):
        digest.update(b"[")
        for item in node:
            _dump(item, digest)
        digest.update(b"]")
    else:
        digest.update(f"{type(node).__name__}:{node!r};".encode("utf-8", "backslashreplace"))


def without_noise(node: ast.AST, name: str, value: object) -> object:
    """A field without docstrings and seed literals."""
    if name == "body" and isinstance(value, list):
        first = value[0] if value else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            return value[1:]
    if isinstance(node, ast.Call) and name == "args" and isinstance(value, list) and _called(node) in _SEEDERS:
        return [ast.Constant("seed") if _is_seed(arg) else arg for arg in value]
    if isinstance(node, ast.Call) and name == "args" and isinstance(value, list) and _asks_for_seed(value):
        return [value[0], *(ast.Constant("seed") for _ in value[1:])]
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and name == "value" and _names_a_seed(node) and _is_seed(value):
        return ast.Constant("seed")
    if isinstance(node, ast.keyword) and name == "value" and "seed" in (node.arg or "") and _is_seed(value):
        return ast.Constant("seed")
    return value


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def _is_seed(node: object) -> bool:
    """Whether an expression is a seed and nothing else: integers, names of seeds, arithmetic with both."""
    if isinstance(node, ast.BinOp):
        return _is_seed(node.left) and _is_seed(node.right)
    if isinstance(node, (ast.Name, ast.Attribute)):
        return _is_name_of_a_seed(node.id if isinstance(node, ast.Name) else node.attr)
    return _is_integer(node)


def _is_name_of_a_seed(name: str) -> bool:
    return "seed" in name.lower().split("_")


def _is_integer(node: object) -> bool:
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) in (int, str) and str(node.value).lstrip("-").isdigit()


def _asks_for_seed(args: list[ast.AST]) -> bool:
    """Whether this is os.environ.get("..._SEED", default)."""
    first = args[0] if args else None
    return isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value.endswith("_SEED")


def _names_a_seed(node: ast.Assign | ast.AnnAssign) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return all(isinstance(target, ast.Name) and _is_name_of_a_seed(target.id) for target in targets)


def imports(tree: ast.Module) -> tuple[Import, ...]:
    """The imports that run whatever happens: those of the module's own body, not of branches or functions."""
    found: list[Import] = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            found += [Import(alias.name, (), node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.append(Import(node.module, tuple(alias.name for alias in node.names), node.lineno))
    return tuple(found)


def defined_names(tree: ast.Module) -> frozenset[str] | None:
    """Every name a module's body may define, at any depth outside functions and classes; None if that is open."""
    names: set[str] = set()
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if node.name == "__getattr__":
                return None
            names.add(node.name)
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            if any(alias.name == "*" for alias in node.names):
                return None
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Call) and _called(node) in {"globals", "setattr", "exec"}:
            return None
        pending.extend(ast.iter_child_nodes(node))
    return frozenset(names)


def constants(tree: ast.Module) -> dict[str, Literal]:
    """The module's own ALL_CAPS names with a literal value, sums and products of literals included as text."""
    found: dict[str, Literal] = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
        if isinstance(node, ast.AnnAssign):
            target = node.target
        value = getattr(node, "value", None)
        if not isinstance(target, ast.Name) or not target.id.isupper() or value is None:
            continue
        try:
            found[target.id] = ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            found[target.id] = ast.unparse(value)
    return found
