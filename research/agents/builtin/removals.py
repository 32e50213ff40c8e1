"""Ideas that take something away: branches that never run, terms, factors and steps that may not be needed."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from functools import lru_cache

from research.agents.builtin.context import Bench, Draft, Drafts, Idea
from research.agents.builtin.evaluate import UNKNOWN, evaluate
from research.agents.builtin.sweeping import remove_statement, swept
from research.agents.builtin.text import Splice, Text, spliced, statements

_WORK = frozenset({"linear", "attend", "attn", "mlp", "block", "lm_head", "relu", "gelu", "silu", "square"})
"""Calls that are the model itself: a term that holds one is not taken away."""
_PLACES = frozenset({"forward", "muon_update", "adam_update", "step", "step_muon", "step_adamw"})
"""Functions whose steps and terms are matters of research."""


def removal_ideas(bench: Bench) -> list[Idea]:
    """Everything that could be taken away, one idea each; all of them leave fewer statements or shorter ones."""
    found: list[Idea] = []
    for what, worth, splices in [*_dead(bench), *_steps(bench), *_terms(bench), *_ramps(bench)]:
        found.append(Idea(what, "simplification", worth, _carrying_out(bench.text.content, what, tuple(splices))))
    return found


def _carrying_out(before: bytes, what: str, splices: tuple[Splice, ...]) -> Drafts:
    def drafts(rng: random.Random) -> Iterator[Draft]:
        content = _carried_out(before, splices)
        if content is not None and content != before:
            yield Draft(what, content, parts=("removal",))

    return drafts


@lru_cache(maxsize=256)
def _carried_out(original: bytes, splices: tuple[Splice, ...]) -> bytes | None:
    """The text without a part and all that only it needed; None if that cannot be had whole."""
    before = Text(original)
    try:
        content = swept(spliced(before.content, splices), before)
        return content if content is not None and statements(Text(content).tree) <= statements(before.tree) else None
    except (SyntaxError, ValueError):
        return None


def _said(text: Text, node: ast.AST) -> str:
    source = " ".join(text.source(node).split())
    return source if len(source) <= 60 else source[:57] + "..."


# Branches that never run ----------------------------------------------------------------------------------------


def _dead(bench: Bench) -> Iterator[tuple[str, float, list[Splice]]]:
    """Conditions that the constants have decided, under every profile alike, and what hangs on them."""
    by_constant: dict[str, list[Splice]] = {}
    for node in ast.walk(bench.text.tree):
        test = getattr(node, "test", None)
        if not isinstance(node, (ast.If, ast.IfExp)) or test is None or not _in_function(bench.text, node):
            continue
        value = evaluate(test, _decided(bench, test))
        if value is UNKNOWN:
            continue
        names = sorted({n.id for n in ast.walk(test) if isinstance(n, ast.Name) and n.id.isupper()})
        splices = _folded(bench.text, node, bool(value))
        if names and splices is not None:
            by_constant.setdefault(names[0], []).extend(splices)
    for name, splices in by_constant.items():
        yield f"without the branches that {name} switches off", 0.8, splices


def _decided(bench: Bench, test: ast.expr) -> dict[str, object]:
    """The constants that hold whatever the profile: those that are written as literals."""
    literal = {
        target.id
        for node in bench.text.tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Constant, ast.UnaryOp))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return {name: value for name, value in bench.known.items() if name in literal}


def _in_function(text: Text, node: ast.AST) -> bool:
    above: ast.AST | None = node
    while above is not None and not isinstance(above, ast.FunctionDef):
        above = text.parents.get(above)
    return above is not None


def _folded(text: Text, node: ast.If | ast.IfExp, taken: bool) -> list[Splice] | None:
    """The edits that put the taken arm in a condition's place; None where that would change what follows."""
    if isinstance(node, ast.IfExp):
        return [text.replacing(node, text.source(node.body if taken else node.orelse))]
    arm = node.body if taken else node.orelse
    if not arm:
        return [remove_statement(text, node)]
    line = text.lines[node.lineno - 1].lstrip()
    if line.startswith(b"elif") or (node.orelse and isinstance(node.orelse[0], ast.If) and not taken):
        return None
    whole = text.removing(node)
    if whole.new:
        return None
    splices = [Splice(text.starts[node.lineno - 1], whole.end, text.block(arm, node.col_offset))]
    if isinstance(arm[-1], (ast.Return, ast.Raise)):
        splices += [text.removing(rest) for rest in _behind(text, node)]
    return splices


def _behind(text: Text, node: ast.stmt) -> list[ast.stmt]:
    """The statements that follow one in its block."""
    parent = text.parents[node]
    for block in (getattr(parent, "body", []), getattr(parent, "orelse", [])):
        if node in block:
            return list(block[block.index(node) + 1 :])
    return []


# Steps, terms and factors ---------------------------------------------------------------------------------------


def _places(text: Text) -> Iterator[ast.FunctionDef]:
    return (function for function in text.functions() if function.name.strip("_") in _PLACES)


def _steps(bench: Bench) -> Iterator[tuple[str, float, list[Splice]]]:
    """Statements that only make something of a name out of itself: soft caps, scales, norms."""
    for function in _places(bench.text):
        first: set[str] = {argument.arg for argument in function.args.args}
        for node in ast.walk(function):
            if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
                continue
            name = node.targets[0].id
            loaded = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
            if name not in loaded or _works(node.value) or _holds_weight(node.value):
                first.add(name)
                continue
            if isinstance(node.value, (ast.Subscript, ast.IfExp)) or _changes_type(node.value):
                continue
            yield f"without {_said(bench.text, node)}", 0.7, [remove_statement(bench.text, node)]


def _works(node: ast.AST) -> bool:
    """Whether an expression does the model's own work."""
    calls = (n.func for n in ast.walk(node) if isinstance(n, ast.Call))
    return any(getattr(f, "attr", getattr(f, "id", "")) in _WORK or ast.unparse(f).startswith("self.c_") for f in calls)


def _holds_weight(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Attribute) and ast.unparse(n.value) == "self" for n in ast.walk(node))


def _changes_type(node: ast.AST) -> bool:
    """Whether an expression changes dtype or shape, which what follows relies on."""
    names = {"float", "to", "view", "reshape", "transpose", "flatten", "contiguous", "bfloat16", "unbind"}
    calls = (n.func for n in ast.walk(node) if isinstance(n, ast.Call))
    shapes = any(isinstance(n, ast.MatMult) for n in ast.walk(node))
    return shapes or any(isinstance(f, ast.Attribute) and f.attr in names for f in calls)


def _terms(bench: Bench) -> Iterator[tuple[str, float, list[Splice]]]:
    """Terms of sums and factors of products inside the model and the updates."""
    for function in _places(bench.text):
        for node in ast.walk(function):
            if not isinstance(node, ast.BinOp) or not isinstance(node.op, (ast.Add, ast.Mult)):
                continue
            for dropped, kept in ((node.right, node.left), (node.left, node.right)):
                weights = function.name == "forward" and _holds_weight(dropped)
                if not _may_go(bench.text, node, dropped, kept, weights):
                    continue
                kind = "term" if isinstance(node.op, ast.Add) else "factor"
                what = f"without the {kind} {_said(bench.text, dropped)}"
                yield what, 0.6, [bench.text.replacing(node, _in_place(bench.text, node, kept))]


def _may_go(text: Text, whole: ast.BinOp, dropped: ast.expr, kept: ast.expr, weights: bool) -> bool:
    """Whether a part is more than a number, does no work itself, and leaves something that has the whole's shape."""
    if _works(dropped) or isinstance(dropped, ast.Constant) or isinstance(kept, ast.Constant):
        return False
    above = text.parents.get(whole)
    target = _target(above) if isinstance(above, ast.stmt) else ""
    if target and (target in _names(dropped) or (isinstance(kept, ast.Name) and kept.id == target)):
        return False  # it would end the stream itself, or leave x = x
    if isinstance(whole.op, ast.Add):
        return weights or "wd" in _names(dropped) or "weight_decay" in text.source(dropped) or "gate" in _names(dropped)
    return isinstance(dropped, ast.Compare) or _is_residual(dropped) or "unsqueeze" in text.source(dropped)


def _target(statement: ast.stmt) -> str:
    target = statement.targets[0] if isinstance(statement, ast.Assign) else None
    return target.id if isinstance(target, ast.Name) else ""


def _names(node: ast.AST) -> frozenset[str]:
    return frozenset(n.id for n in ast.walk(node) if isinstance(n, ast.Name))


def _is_residual(node: ast.expr) -> bool:
    """Whether this is one of a stack of scalars, such as self.residual[i]."""
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and _holds_weight(node)


def _in_place(text: Text, whole: ast.expr, kept: ast.expr) -> str:
    """What is kept, in parentheses where it would bind otherwise than before."""
    source = text.source(kept)
    same = isinstance(kept, ast.BinOp) and isinstance(whole, ast.BinOp) and type(kept.op) is type(whole.op)
    loose = isinstance(kept, (ast.BinOp, ast.Compare, ast.IfExp, ast.BoolOp)) and not same
    inside = isinstance(text.parents.get(whole), (ast.BinOp, ast.UnaryOp, ast.Attribute))
    return f"({source})" if loose and inside else source


def _ramps(bench: Bench) -> Iterator[tuple[str, float, list[Splice]]]:
    """``A[0] + (A[1] - A[0]) * ramp`` becomes A[1]: the value it ends with, from the start."""
    for node in ast.walk(bench.text.tree):
        if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and isinstance(node.left, ast.Subscript)):
            continue
        start, rest = ast.unparse(node.left), ast.unparse(node.right)
        if not start.endswith("[0]"):
            continue
        end = start[:-3] + "[1]"
        if rest.startswith(f"({end} - {start}) * "):
            yield f"{start[:-3]} constant at its end", 0.7, [bench.text.replacing(node, end)]
