"""A train.py as scopes of statements that can be compared: one entry for each simple statement and each header.

A function is a scope, methods as Class.method; so is a class's own body (its fields), and the module's. Functions
inside functions belong to the outer one. Docstrings are left out.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from research.code.fingerprint import without_noise

MODULE = "<module>"
_BODIES = ("body", "orelse", "finalbody", "handlers", "cases")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Statement:
    """One statement, or the header of one that has a body.

    Attributes:
        scope: Name of its scope; "<...>" for the module's and classes' bodies.
        node: Its tree.
        key: What it does, as text.
        kind: Its type, with the assigned name where there is one.
        names: Identifiers and short texts in it, with repetitions.
    """

    scope: str
    node: ast.AST
    key: str
    kind: str
    names: tuple[str, ...]


def scopes_of(tree: ast.Module) -> Mapping[str, list[Statement]]:
    """Every scope with its statements, in order."""
    found: dict[str, list[Statement]] = {}
    _flatten(tree.body, MODULE, "", found)
    return found


def _flatten(body: list[ast.stmt], scope: str, prefix: str, found: dict[str, list[Statement]]) -> None:
    for node in body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            continue
        inside = scope
        if isinstance(node, _DEFINITIONS) and scope.startswith("<"):
            name = prefix + node.name
            inside = f"<{name}>" if isinstance(node, ast.ClassDef) else name
            found.setdefault(inside, [])
        found.setdefault(inside, []).append(_statement(node, inside))
        inner = f"{node.name}." if isinstance(node, ast.ClassDef) else prefix
        for part in _parts(node):
            _flatten(part, inside, inner, found)


def _parts(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The bodies of a statement."""
    for name in _BODIES:
        value = getattr(node, name, None)
        if isinstance(value, list) and value:
            if all(isinstance(one, ast.stmt) for one in value):
                yield value
            else:
                for one in value:  # handlers and cases
                    yield one.body


def _statement(node: ast.stmt, scope: str) -> Statement:
    parts = list(_header(node))
    names = tuple(name for part in parts for name in names_in(part))
    return Statement(scope, node, f"{type(node).__name__}({';'.join(map(dump, parts))})", _kind(node), names)


def _header(node: ast.AST) -> Iterator[ast.AST]:
    """The trees of a statement without its bodies."""
    if isinstance(node, _DEFINITIONS):
        yield ast.Name(node.name, ast.Load())
    if isinstance(node, ast.Global | ast.Nonlocal):
        yield from (ast.Name(name, ast.Load()) for name in node.names)
    for name, value in ast.iter_fields(node):
        if name in ("handlers", "cases"):
            yield from (part for one in value for part in _header(one))
        elif name in _BODIES and isinstance(value, list):
            continue
        elif name not in ("type_params",):
            value = without_noise(node, name, value)
            yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, ast.AST))


def _kind(node: ast.stmt) -> str:
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    if isinstance(node, _DEFINITIONS):
        return f"{type(node).__name__} {node.name}"
    return f"{type(node).__name__} {target.id}" if isinstance(target, ast.Name) else type(node).__name__


def dump(node: object) -> str:
    """A tree as text, the same on every Python: no positions, no contexts, no empty fields, no seeds."""
    if isinstance(node, ast.AST):
        parts = []
        for name in node._fields:
            value = getattr(node, name, None)
            if name in ("ctx", "kind", "type_comment") or value == [] or (value is None and name != "value"):
                continue
            parts.append(f"{name}={dump(without_noise(node, name, value))}")
        return f"{type(node).__name__}({','.join(parts)})"
    if isinstance(node, list):
        return f"[{','.join(map(dump, node))}]"
    return f"{type(node).__name__}:{node!r}"


def names_in(node: ast.AST) -> Iterator[str]:
    """Identifiers, attribute and keyword names, and texts that look like identifiers."""
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            yield one.id
        elif isinstance(one, ast.Attribute):
            yield one.attr
        elif isinstance(one, ast.arg | ast.keyword) and one.arg:
            yield one.arg
        elif isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value.isidentifier():
            yield one.value
        elif isinstance(one, ast.alias):
            yield from (one.asname or one.name).split(".")


def module_constants(tree: ast.Module) -> dict[str, str]:
    """The module's ALL_CAPS names and the fields of its classes, with the source text of their values."""
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found.update((f"{node.name}.{name}", text) for name, text in _assigned(node.body))
        else:
            found.update((name, text) for name, text in _assigned([node]) if name.isupper())
    return found


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for node in body:
        target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
        if isinstance(node, ast.AnnAssign):
            target = node.target
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.expr) and "seed" not in target.id.lower().split("_"):
            yield target.id, ast.unparse(value)


def same_shape(old: Statement, new: Statement) -> bool:
    """Whether two statements differ in literals alone."""
    return old.kind == new.kind and bool(literal_changes(old, new))


def literal_changes(old: Statement, new: Statement) -> list[tuple[str, str, str]]:
    """Name, old and new text of every literal that differs; empty where more than literals differs."""
    found: list[tuple[str, str, str]] = []
    where = "" if old.scope == MODULE else f"{old.scope.strip('<>')}."
    if not _compare(old.node, new.node, _target(old.node), found):
        return []
    named: list[tuple[str, str, str]] = []
    for name, before, after in found:
        full = where + (name or "literal")
        again = sum(other == full or other.startswith(f"{full}#") for other, _, _ in named)
        named.append((f"{full}#{again + 1}" if again else full, before, after))
    return named


def _target(node: object) -> str:
    """The name that a statement assigns to."""
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        return str(target.slice.value)
    return getattr(target, "id", getattr(target, "attr", ""))


def _compare(old: object, new: object, name: str, found: list[tuple[str, str, str]]) -> bool:
    """Whether two trees differ in literals alone; those are noted under the nearest name."""
    if isinstance(old, ast.Constant) and isinstance(new, ast.Constant):
        if old.value != new.value or type(old.value) is not type(new.value):
            found.append((name, ast.unparse(old), ast.unparse(new)))
        return True
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(_compare(a, b, name, found) for a, b in zip(old, new, strict=True))
    if not isinstance(old, ast.AST) or not isinstance(new, ast.AST):
        return old == new
    if type(old) is not type(new):
        return False
    if isinstance(old, ast.arguments) and isinstance(new, ast.arguments):
        return _compare_arguments(old, new, found)
    if isinstance(old, ast.keyword):
        name = old.arg or name
    elif isinstance(old, ast.Call) and not name:
        name = getattr(old.func, "attr", getattr(old.func, "id", ""))
    if isinstance(old, ast.Dict) and isinstance(new, ast.Dict) and len(old.keys) == len(new.keys):
        return _compare_dicts(old, new, name, found)
    fields = [
        field for field in old._fields if field not in ("ctx", *_BODIES) or isinstance(old, ast.IfExp | ast.Lambda)
    ]
    return all(_compare(getattr(old, f, None), getattr(new, f, None), name, found) for f in fields)


def _compare_arguments(old: ast.arguments, new: ast.arguments, found: list[tuple[str, str, str]]) -> bool:
    """Defaults belong to their argument."""
    if [dump(a) for a in _all_arguments(old)] != [dump(a) for a in _all_arguments(new)]:
        return False
    names = [a.arg for a in (*old.posonlyargs, *old.args)]
    if len(old.defaults) != len(new.defaults):
        return False
    plain = zip(names[len(names) - len(old.defaults) :], old.defaults, new.defaults, strict=True)
    keyed = zip([a.arg for a in old.kwonlyargs], old.kw_defaults, new.kw_defaults, strict=True)
    return all(_compare(a, b, name, found) for name, a, b in (*plain, *keyed))


def _all_arguments(node: ast.arguments) -> list[ast.arg]:
    more = [one for one in (node.vararg, node.kwarg) if one]
    return [*node.posonlyargs, *node.args, *node.kwonlyargs, *more]


def _compare_dicts(old: ast.Dict, new: ast.Dict, name: str, found: list[tuple[str, str, str]]) -> bool:
    """Values belong to their key."""
    if [dump(key) for key in old.keys] != [dump(key) for key in new.keys]:
        return False
    names = [str(key.value) if isinstance(key, ast.Constant) else name for key in old.keys]
    return all(_compare(a, b, n, found) for n, a, b in zip(names, old.values, new.values, strict=True))


def difference_of_names(old: Statement, new: Statement) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Identifiers that only one of two forms has, and those that both have.

    Where only literals differ, the names that those literals belong to are what differs.
    """
    one, other = Counter(old.names), Counter(new.names)
    differs = tuple(((one - other) + (other - one)).elements())
    beside = tuple((one & other).elements())
    if not differs:
        differs = tuple(name.split("#")[0].rsplit(".", 1)[-1] for name, _, _ in literal_changes(old, new))
    return differs, beside
