"""A train.py as scopes of statements that can be compared: one entry for each simple statement and each header.

A function is a scope, methods as Class.method; so is a class's own body (its fields), and the module's. Functions
inside functions belong to the outer one. Docstrings are left out.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from research.code.fingerprint import dump, is_docstring, without_noise

MODULE = "<module>"
MIN_LIKENESS = 0.5
"""Share of common names from which two statements of one type count as two forms of one: half of what they read."""
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


Scopes = Mapping[str, Sequence[Statement]]
Pairs = Sequence[tuple[Statement, Statement]]


@dataclass(frozen=True)
class Difference:
    """Statements that differ between two texts; what only moved is left out.

    Attributes:
        edited: Old and new form of edited statements.
        removed: Statements that are gone.
        added: Statements that are new.
        scopes: Names of the scopes that differ at all.
    """

    edited: Pairs
    removed: Sequence[Statement]
    added: Sequence[Statement]
    scopes: frozenset[str]


# Statements and their scopes --------------------------------------------------------------------------------------


def scopes_of(tree: ast.Module) -> Scopes:
    """Return every scope with its statements, in order."""
    found: dict[str, list[Statement]] = {}
    _flatten(tree.body, MODULE, "", found)
    return found


def _flatten(body: list[ast.stmt], scope: str, prefix: str, found: dict[str, list[Statement]]) -> None:
    for node in body:
        if is_docstring(node):
            continue
        inside = scope
        if isinstance(node, _DEFINITIONS) and scope.startswith("<"):
            name = prefix + node.name
            inside = f"<{name}>" if isinstance(node, ast.ClassDef) else name
            found.setdefault(inside, [])
        found.setdefault(inside, []).append(_statement(node, inside))
        inner = f"{node.name}." if isinstance(node, ast.ClassDef) else prefix
        for part in _bodies(node):
            _flatten(part, inside, inner, found)


def _bodies(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """Yield the blocks of a statement, those of its handlers and cases too."""
    for name in _BODIES:
        value = getattr(node, name, None)
        if isinstance(value, list) and value:
            yield from [value] if isinstance(value[0], ast.stmt) else [one.body for one in value]


def _statement(node: ast.stmt, scope: str) -> Statement:
    parts = list(_header(node))
    names = tuple(name for part in parts for name in _names_in(part))
    return Statement(scope, node, f"{type(node).__name__}({';'.join(map(dump, parts))})", _kind(node), names)


def _header(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the trees of a statement without its blocks."""
    if isinstance(node, _DEFINITIONS):
        yield ast.Name(node.name, ast.Load())
    if isinstance(node, ast.Global | ast.Nonlocal):
        yield from (ast.Name(name, ast.Load()) for name in node.names)
    for name, value in ast.iter_fields(node):
        if name in ("handlers", "cases"):
            yield from (part for one in value for part in _header(one))
        elif name != "type_params" and not (name in _BODIES and isinstance(value, list)):
            value = without_noise(node, name, value)
            yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, ast.AST))


def _kind(node: ast.stmt) -> str:
    if isinstance(node, _DEFINITIONS):
        return f"{type(node).__name__} {node.name}"
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return f"{type(node).__name__} {target.id}" if isinstance(target, ast.Name) else type(node).__name__


def _names_in(node: ast.AST) -> Iterator[str]:
    """Yield identifiers, attribute and keyword names, and texts that look like identifiers."""
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


# Two texts --------------------------------------------------------------------------------------------------------


def compare(before: Scopes, after: Scopes) -> Difference:
    """Return the statements that differ between two texts, each edited one with both its forms."""
    removed: list[Statement] = []
    added: list[Statement] = []
    scopes: set[str] = set()
    for scope in dict.fromkeys((*before, *after)):
        old, new = before.get(scope, ()), after.get(scope, ())
        matcher = SequenceMatcher(None, [s.key for s in old], [s.key for s in new], autojunk=False)
        for tag, i, j, k, m in matcher.get_opcodes():
            if tag != "equal":
                removed += old[i:j]
                added += new[k:m]
                scopes.add(scope)
    moved = Counter(s.key for s in removed) & Counter(s.key for s in added)
    removed, added = _without(removed, moved), _without(added, moved)
    edited = [*_pair(removed, added, _differ_in_literals), *_pair(removed, added, _are_alike)]
    return Difference(edited, removed, added, frozenset(scopes))


def _without(statements: Sequence[Statement], moved: Counter[str]) -> list[Statement]:
    left = Counter(moved)
    kept = []
    for statement in statements:
        if left[statement.key] > 0:
            left[statement.key] -= 1
        else:
            kept.append(statement)
    return kept


def _pair(
    removed: list[Statement], added: list[Statement], is_pair: Callable[[Statement, Statement], bool]
) -> Iterator[tuple[Statement, Statement]]:
    """Yield old and new form of the statements that were edited, and take them out of both lists."""
    for old in list(removed):
        near = [new for new in added if new.scope == old.scope and is_pair(old, new)]
        if near:
            new = max(near, key=lambda one: _likeness(old, one))
            removed.remove(old)
            added.remove(new)
            yield old, new


def _differ_in_literals(old: Statement, new: Statement) -> bool:
    return old.kind == new.kind and bool(literal_changes(old, new))


def _are_alike(old: Statement, new: Statement) -> bool:
    return old.kind == new.kind and _likeness(old, new) >= MIN_LIKENESS


def _likeness(old: Statement, new: Statement) -> float:
    common = (Counter(old.names) & Counter(new.names)).total()
    return 2 * common / max(1, len(old.names) + len(new.names))


def names_that_differ(old: Statement, new: Statement) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the identifiers that only one of two forms has, and those that both have.

    Where only literals differ, the names that those literals belong to are what differs.
    """
    one, other = Counter(old.names), Counter(new.names)
    differing = tuple(((one - other) + (other - one)).elements())
    if not differing:
        differing = tuple(name.split("#")[0].rsplit(".", 1)[-1] for name, _, _ in literal_changes(old, new))
    return differing, tuple((one & other).elements())


# Literals ---------------------------------------------------------------------------------------------------------


def literal_changes(old: Statement, new: Statement) -> list[tuple[str, str, str]]:
    """Return name, old and new text of every literal that differs; nothing where more than literals differs."""
    found: list[tuple[str, str, str]] = []
    if not _compare(old.node, new.node, _target(old.node), found):
        return []
    where = "" if old.scope == MODULE else f"{old.scope.strip('<>')}."
    counts: Counter[str] = Counter()
    named: list[tuple[str, str, str]] = []
    for name, before, after in found:
        full = where + (name or "literal")
        counts[full] += 1
        named.append((full if counts[full] == 1 else f"{full}#{counts[full]}", before, after))
    return named


def _target(node: object) -> str:
    """Return the name that a statement assigns to, "" without one."""
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        return str(target.slice.value)
    return getattr(target, "id", getattr(target, "attr", ""))


def _compare(old: object, new: object, name: str, found: list[tuple[str, str, str]]) -> bool:
    """Return whether two trees differ in literals alone, and add those to found under the nearest name."""
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
        return _compare_named(_defaults(old), _defaults(new), found)
    if isinstance(old, ast.Dict) and isinstance(new, ast.Dict):
        return _compare_named(_entries(old, name), _entries(new, name), found)
    if isinstance(old, ast.keyword):
        name = old.arg or name
    elif isinstance(old, ast.Call) and not name:
        name = getattr(old.func, "attr", getattr(old.func, "id", ""))
    has_blocks = not isinstance(old, ast.IfExp | ast.Lambda)
    fields = [field for field in old._fields if field != "ctx" and not (has_blocks and field in _BODIES)]
    return all(_compare(getattr(old, f, None), getattr(new, f, None), name, found) for f in fields)


Named = Sequence[tuple[str, str, object]]
"""Name, text of what must be equal, and the tree in which literals may differ."""


def _compare_named(old: Named, new: Named, found: list[tuple[str, str, str]]) -> bool:
    """Compare values that belong to names of their own: defaults to arguments, entries of a dict to keys."""
    return [fixed for _, fixed, _ in old] == [fixed for _, fixed, _ in new] and all(
        _compare(a, b, name, found) for (name, _, a), (_, _, b) in zip(old, new, strict=True)
    )


def _defaults(node: ast.arguments) -> Named:
    plain = [*node.posonlyargs, *node.args]
    without = [None] * (len(plain) - len(node.defaults))
    rest = [one for one in (node.vararg, node.kwarg) if one]
    values = [*without, *node.defaults, *node.kw_defaults, *(None for _ in rest)]
    arguments = [*plain, *node.kwonlyargs, *rest]
    return [(a.arg, f"{dump(a)} {value is None}", value) for a, value in zip(arguments, values, strict=True)]


def _entries(node: ast.Dict, name: str) -> Named:
    keys = [str(key.value) if isinstance(key, ast.Constant) else name for key in node.keys]
    return [(key, dump(tree), value) for key, tree, value in zip(keys, node.keys, node.values, strict=True)]
