"""Takes out what nothing needs any more after a part was removed, so that no name and no weight is left idle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from research.agents.builtin.text import Splice, Text, reads, spliced

_ROUNDS = 12
"""Rounds of sweeping: each may leave something else idle; real chains are three or four long."""
_COPES = re.compile(r"\.grad is (not )?None")
"""How an optimizer looks that does without a gradient where there is none."""


def swept(content: bytes, before: Text) -> bytes | None:
    """A text without the local names, attributes, arguments and constants that became idle against another text.

    Returns:
        None if a trainable weight is left that no forward reads, and the optimizer would fail on its missing gradient.
    """
    for _ in range(_ROUNDS):
        text = Text(content)
        splices = _outermost([*_idle_names(text, before), *_idle_constants(text, before), *_idle_weights(text, before)])
        if not splices:
            return None if _stranded(text, before) or _idle_arguments(text, before) else content
        content = spliced(content, splices)
    return None


def _outermost(splices: list[Splice]) -> list[Splice]:
    """The splices without those that lie inside another."""
    kept: list[Splice] = []
    for splice in sorted(set(splices), key=lambda s: (s.start, -s.end)):
        if not kept or splice.start >= kept[-1].end:
            kept.append(splice)
    return kept


def remove_statement(text: Text, statement: ast.stmt) -> Splice:
    """The splice that takes a statement out, with the block that it would leave empty."""
    parent = text.parents.get(statement)
    body = getattr(parent, "body", [])
    if body == [statement] and isinstance(parent, ast.If) and not parent.orelse:
        return remove_statement(text, parent)
    if body == [statement] or getattr(parent, "orelse", []) == [statement]:
        return text.replacing(statement, "pass")
    return text.removing(statement)


def _idle_names(text: Text, before: Text) -> Iterator[Splice]:
    """Assignments in functions to names that are read nowhere in them, and were before."""
    was = {_place(before, function): before.names_read[function] for function in before.functions()}
    for function in text.functions():
        loads = text.names_read[function]
        for node in ast.walk(function):
            if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
                continue
            name = node.targets[0].id
            if loads.get(name, 0) == reads(node.value).get(name, 0) and was.get(_place(text, function), {}).get(name):
                yield remove_statement(text, node)


def _place(text: Text, function: ast.FunctionDef) -> tuple[str, str]:
    """A function's name with that of what holds it."""
    return getattr(text.parents.get(function), "name", ""), function.name


def _idle_arguments(text: Text, before: Text) -> bool:
    """Whether a forward no longer reads an argument: what is passed in would be left without a gradient."""
    was = {_place(before, function): before.names_read[function] for function in before.functions()}
    return any(
        was.get(_place(text, function), {}).get(argument.arg) and not text.names_read[function].get(argument.arg)
        for function in text.functions()
        if function.name == "forward" and not _COPES.search(text.content.decode("utf-8", "replace"))
        for argument in function.args.args
    )


def _idle_constants(text: Text, before: Text) -> Iterator[Splice]:
    """Constants and functions of the module that are read nowhere, and were before."""
    loads, was = text.names_read[text.tree], before.names_read[before.tree]
    for statement in text.tree.body:
        name = ""
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
            name = target.id if isinstance(target, ast.Name) and target.id.isupper() else ""
        elif isinstance(statement, ast.FunctionDef):
            name = statement.name
        if name and not loads.get(name) and was.get(name):
            yield text.removing(statement)


def _idle_weights(text: Text, before: Text) -> Iterator[Splice]:
    """Attributes that no forward reads any more: their making, and their places in lists of parameters."""
    for name in _stranded(text, before):
        for node in text.nodes:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == f"self.{name}":
                yield remove_statement(text, node)
            elif isinstance(node, (ast.List, ast.Tuple)) and isinstance(node.ctx, ast.Load):
                is_item = isinstance(text.parents.get(node), (ast.List, ast.Tuple))
                if not (is_item and _about(node, name)):  # else it goes as a whole, from the list that it is in
                    yield from _without(text, node, name)


def _stranded(text: Text, before: Text) -> frozenset[str]:
    """Weights that a forward read before and none reads now, where the optimizer cannot do without a gradient."""
    gone = _forward_reads(before) - _forward_reads(text)
    still = {name for name in gone if any(_is_attribute(node, name) for node in text.nodes)}
    return frozenset() if _COPES.search(text.content.decode("utf-8", "replace")) else frozenset(still)


def _forward_reads(text: Text) -> frozenset[str]:
    """Attributes of self that functions named forward read."""
    return frozenset(
        node.attr
        for function in text.functions()
        if function.name == "forward"
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    )


def _is_attribute(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == name


def _without(text: Text, display: ast.List | ast.Tuple, name: str) -> Iterator[Splice]:
    """Takes the items that are about a weight out of a list or tuple of several."""
    about = [item for item in display.elts if _about(item, name)]
    if not about or len(about) == len(display.elts):
        return
    for item in about:
        start, end = text.span(item)
        place = display.elts.index(item)
        if place + 1 < len(display.elts):
            following = display.elts[place + 1]
            own_line = text.lines[item.lineno - 1].lstrip().startswith(text.content[start:end].split(b"\n")[0])
            if own_line and following.lineno > (item.end_lineno or item.lineno):
                yield Splice(text.starts[item.lineno - 1], text.starts[item.end_lineno or item.lineno])
            else:
                yield Splice(start, text.span(following)[0])
        else:
            yield Splice(text.span(display.elts[place - 1])[1], end)


def _about(item: ast.expr, name: str) -> bool:
    """Whether an item of a list is a weight, a tuple that begins with it, or ``*([such items] if SETTING else [])``."""
    if isinstance(item, ast.Starred):
        inner = item.value.body if isinstance(item.value, ast.IfExp) else item.value
        return isinstance(inner, (ast.List, ast.Tuple)) and all(_about(one, name) for one in inner.elts)
    first = item.elts[0] if isinstance(item, ast.Tuple) and item.elts else item
    return _is_attribute(first, name)
