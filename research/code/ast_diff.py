"""Compares two train.py as scopes of statements: one entry for each simple statement and each header.

A function is a scope, methods as Class.method; so is a class's own body (its fields), and the module's. Functions
inside functions belong to the outer one. Docstrings are left out.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from research.code.fingerprint import DEFINITIONS, called, dump, is_docstring, without_noise

MODULE = "<module>"
MIN_LIKENESS = 0.5
"""Share of common names from which two statements of one type count as two forms of one: half of what they read."""
_BODIES = ("body", "orelse", "finalbody", "handlers", "cases")
_STATEMENTS = (ast.stmt, ast.ExceptHandler, ast.match_case)


class Statement(NamedTuple):
    """One statement, or the header of one that has a body."""

    scope: str  # name of its scope; "<...>" for the module's and classes' bodies
    node: ast.AST  # its tree
    key: str  # its tree as text: two statements with one key do the same
    kind: str  # its type, with the assigned name where there is one
    names: tuple[str, ...]  # identifiers and short texts in it, with repetitions


Scopes = Mapping[str, Sequence[Statement]]
Pairs = Sequence[tuple[Statement, Statement]]


class Difference(NamedTuple):
    """Statements that differ between two texts; what only moved is left out."""

    edited: Pairs  # old and new form of edited statements
    removed: Sequence[Statement]  # statements that are gone
    added: Sequence[Statement]  # statements that are new
    scopes: frozenset[str]  # names of the scopes that differ at all


# Statements and their scopes ------------------------------------------------------------------------------------------


def scopes_of(tree: ast.Module) -> Scopes:
    """Return every scope with its statements, in order."""
    found: dict[str, list[Statement]] = {}
    _flatten(tree, MODULE, "", found)
    return found


def _flatten(block: ast.AST, scope: str, prefix: str, found: dict[str, list[Statement]]) -> None:
    for node in ast.iter_child_nodes(block):
        if not isinstance(node, _STATEMENTS) or is_docstring(node):
            continue
        inside = scope
        if isinstance(node, DEFINITIONS) and scope.startswith("<"):
            name = prefix + node.name
            inside = f"<{name}>" if isinstance(node, ast.ClassDef) else name
        found.setdefault(inside, []).append(_statement(node, inside))
        _flatten(node, inside, f"{node.name}." if isinstance(node, ast.ClassDef) else prefix, found)


def _statement(node: ast.AST, scope: str) -> Statement:
    parts = list(_header(node))
    names = tuple(name for part in parts for name in _names_in(part))
    kind, target = type(node).__name__, _target(node)
    key = f"{kind}({';'.join(map(dump, parts))})"
    if isinstance(node, DEFINITIONS):
        kind += f" {node.name}"
    elif isinstance(target, ast.Name):
        kind += f" {target.id}"
    return Statement(scope, node, key, kind, names)


def _target(node: object) -> object:
    """Return the tree that a statement assigns to, None without one."""
    return node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)


def _header(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the trees of a statement without its blocks."""
    if isinstance(node, DEFINITIONS):
        yield ast.Name(node.name, ast.Load())
    if isinstance(node, ast.Global | ast.Nonlocal):
        yield from (ast.Name(name, ast.Load()) for name in node.names)
    for name, value in ast.iter_fields(node):
        value = without_noise(node, name, value) if name != "type_params" else None
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST) and not isinstance(part, _STATEMENTS):
                yield part


def _names_in(node: ast.AST) -> Iterator[str]:
    """Yield identifiers, attribute and keyword names, and texts that look like identifiers."""
    for one in ast.walk(node):
        match one:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield name
            case ast.Constant(value=str(text)) if text.isidentifier():
                yield text
            case ast.alias():
                yield from (one.asname or one.name).split(".")


# Two texts ------------------------------------------------------------------------------------------------------------


def compare(before: Scopes, after: Scopes) -> Difference:
    """Return the statements that differ between two texts, each edited one with both its forms."""
    removed: list[Statement] = []
    added: list[Statement] = []
    scopes: set[str] = set()
    for scope in dict.fromkeys((*before, *after)):
        old, new = before.get(scope, ()), after.get(scope, ())
        only_old, only_new = _without_common(old, new)
        removed += only_old
        added += only_new
        if [one.key for one in old] != [one.key for one in new]:
            scopes.add(scope)
    removed, added = _without_common(removed, added)  # what only moved to another scope
    edited = _pair(removed, added, lambda old, new: bool(literal_changes(old, new)))
    edited += _pair(removed, added, lambda old, new: _likeness(old, new) >= MIN_LIKENESS)
    return Difference(edited, removed, added, frozenset(scopes))


def _without_common(old: Sequence[Statement], new: Sequence[Statement]) -> tuple[list[Statement], list[Statement]]:
    """Return, for either side, its statements without those that both have; repetitions count."""
    common = Counter(one.key for one in old) & Counter(one.key for one in new)
    sides: tuple[list[Statement], list[Statement]] = ([], [])
    for side, statements in zip(sides, (old, new), strict=True):
        left = Counter(common)
        for statement in statements:
            if left[statement.key] > 0:
                left[statement.key] -= 1
            else:
                side.append(statement)
    return sides


def _pair(
    removed: list[Statement], added: list[Statement], is_pair: Callable[[Statement, Statement], bool]
) -> list[tuple[Statement, Statement]]:
    """Take edited statements out of both lists; return each one's old and new form."""
    found = []
    for old in list(removed):
        near = [new for new in added if (new.scope, new.kind) == (old.scope, old.kind) and is_pair(old, new)]
        if near:
            new = max(near, key=lambda one: _likeness(old, one))
            removed.remove(old)
            added.remove(new)
            found.append((old, new))
    return found


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


# Literals -------------------------------------------------------------------------------------------------------------


def literal_changes(old: Statement, new: Statement) -> list[tuple[str, str, str]]:
    """Return name, old and new text of every literal that differs; nothing where more than literals differs."""
    target = _target(old.node)
    name = getattr(target, "id", getattr(target, "attr", ""))
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        name = str(target.slice.value)
    before, after = list(_leaves(old.node, name)), list(_leaves(new.node, name))
    if [leaf.fixed for leaf in before] != [leaf.fixed for leaf in after]:
        return []
    where = "" if old.scope == MODULE else f"{old.scope.strip('<>')}."
    counts: Counter[str] = Counter()
    found = []
    for one, other in zip(before, after, strict=True):
        if one.literal != other.literal:
            full = where + (one.name or "literal")
            counts[full] += 1
            found.append((full if counts[full] == 1 else f"{full}#{counts[full]}", one.literal, other.literal))
    return found


class _Leaf(NamedTuple):
    """A part of a tree: a literal with the nearest name, or text that must be the same."""

    fixed: str
    literal: str = ""
    name: str = ""


def _leaves(node: object, name: str) -> Iterator[_Leaf]:
    """Yield the parts of a statement without its blocks: equal sequences of fixed parts differ in literals alone."""
    if isinstance(node, ast.Constant):
        yield _Leaf("literal", ast.unparse(node), name)
    elif isinstance(node, list):
        yield _Leaf(f"{len(node)} parts")
        for part in node:
            yield from _leaves(part, name)
    elif isinstance(node, ast.arguments):
        yield from _leaves_of_arguments(node)
    elif isinstance(node, ast.Dict):  # values belong to keys
        for key, value in zip(node.keys, node.values, strict=True):
            yield _Leaf(dump(key))
            yield from _leaves(value, str(key.value) if isinstance(key, ast.Constant) else name)
    elif isinstance(node, ast.AST):
        yield _Leaf(type(node).__name__)
        if isinstance(node, ast.keyword):
            name = node.arg or name
        elif isinstance(node, ast.Call):
            name = name or called(node)
        blocks = () if isinstance(node, ast.IfExp | ast.Lambda) else _BODIES
        for field, value in ast.iter_fields(node):
            if field != "ctx" and field not in blocks:
                yield from _leaves(value, name)
    else:
        yield _Leaf(repr(node))


def _leaves_of_arguments(node: ast.arguments) -> Iterator[_Leaf]:
    """Yield the parts of a function's arguments; each default has the name of its argument."""
    plain = [*node.posonlyargs, *node.args]
    yield from (_Leaf(dump(part)) for part in (*plain, node.vararg, *node.kwonlyargs, node.kwarg))
    with_defaults = [*plain[len(plain) - len(node.defaults) :], *node.kwonlyargs]
    for argument, value in zip(with_defaults, (*node.defaults, *node.kw_defaults), strict=True):
        yield _Leaf(argument.arg)
        yield from _leaves(value, argument.arg)
