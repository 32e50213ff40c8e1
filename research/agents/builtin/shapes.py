"""Ideas that change the form of something: schedules, window patterns, switches, words, activations, spacings.

Each looks for a pattern in the syntax tree, so that it finds it in any train.py of the same descent.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Iterator, Sequence

from research.agents.builtin.context import Bench, Draft, Drafts, Idea
from research.agents.builtin.evaluate import assigned_name
from research.agents.builtin.knob_table import FIXED
from research.agents.builtin.text import Splice, spliced

_WARM_DOWNS = {
    "cosine": "0.5 - 0.5 * math.cos(math.pi * {x})",
    "one minus square root": "1 - (1 - {x}) ** 0.5",
    "square": "{x} ** 2",
    "smooth step": "{x} * {x} * (3 - 2 * {x})",
}
_DECAYS = {"square": "({x}) ** 2", "square root": "({x}) ** 0.5", "constant": "1.0"}
_ACTIVATIONS = ("F.silu({x})", "F.gelu({x})", "F.leaky_relu({x}, 0.5).square()", "F.relu({x})")
_PROGRESS = frozenset({"progress", "fraction"})


def _one(bench: Bench, name: str, category: str, worth: float, ways: Iterable[tuple[str, Splice]]) -> Idea | None:
    """An idea whose ways are single splices; None without one."""
    drafts = [Draft(what, spliced(bench.text.content, [splice])) for what, splice in ways]
    return Idea(name, category, worth, _in_any_order(drafts)) if drafts else None


def _in_any_order(drafts: Sequence[Draft]) -> Drafts:
    return lambda rng: iter(rng.sample(drafts, len(drafts)))


def schedule_ideas(bench: Bench) -> list[Idea]:
    """Shapes of the learning rate's warm-down and of the weight decay."""
    ideas = [
        _one(bench, "warm-down shape", "optimizer", 1.2, _warm_downs(bench)),
        _one(bench, "weight decay schedule", "regularization", 0.7, _decays(bench)),
    ]
    return [idea for idea in ideas if idea]


def _warm_downs(bench: Bench) -> Iterator[tuple[str, Splice]]:
    """A statement behind the one that computes what is left of the warm-down; an earlier shape gives way."""
    for function in _schedules(bench):
        for place, statement in enumerate(function.body):
            name = assigned_name(statement)
            if not name or not _divides_the_rest(statement):
                continue
            after = function.body[place + 1] if place + 1 < len(function.body) else None
            shaped = after is not None and assigned_name(after) == name
            indent = b" " * statement.col_offset
            end = bench.text.starts[statement.end_lineno or 0]
            spot = bench.text.removing(after) if shaped and after is not None else Splice(end, end)
            for shape, formula in _WARM_DOWNS.items():
                line = f"{name} = {formula.format(x=name)}"
                if "math." in formula and "math" not in _imported(bench):
                    continue
                if shaped and line in bench.text.source(function):
                    continue
                new = indent + line.encode() + b"\n"
                yield f"warm-down in {function.name}: {shape}", Splice(spot.start, spot.end, new)
            if shaped:
                yield f"warm-down in {function.name}: linear again", spot


def _schedules(bench: Bench) -> Iterator[ast.FunctionDef]:
    for function in bench.text.functions():
        words = set(function.name.split("_"))
        if function.args.args and function.args.args[0].arg in _PROGRESS and words & {"lr", "learning", "rate"}:
            yield function


def _divides_the_rest(statement: ast.stmt) -> bool:
    """Whether a statement computes (1 - progress) / something."""
    return any(
        isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and _is_rest(node.left)
        for node in ast.walk(statement)
    )


def _is_rest(node: ast.AST) -> bool:
    """Whether this is 1 - progress."""
    return (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Sub)
        and isinstance(node.left, ast.Constant)
        and node.left.value == 1
        and isinstance(node.right, ast.Name)
        and node.right.id in _PROGRESS
    )


def _decays(bench: Bench) -> Iterator[tuple[str, Splice]]:
    schedules = set(itertools.chain.from_iterable(map(ast.walk, _schedules(bench))))
    for node in ast.walk(bench.text.tree):
        if not _is_rest(node) or node in schedules:
            continue
        parent = bench.text.parents.get(node)
        wanted: ast.AST = node
        if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Pow):
            wanted = parent  # shaped already
        inner = bench.text.source(node).strip("()")
        wrapped = isinstance(parent, ast.BinOp)  # then it stands in parentheses
        for shape, formula in _DECAYS.items():
            new = formula.format(x=inner) if wanted is node and not wrapped else formula.format(x=inner).strip()
            if bench.text.source(wanted).replace(" ", "") == new.replace(" ", ""):
                continue
            yield f"weight decay over the budget: {shape}", bench.text.replacing(wanted, new)


def _imported(bench: Bench) -> frozenset[str]:
    return frozenset(
        alias.asname or alias.name
        for node in bench.text.tree.body
        if isinstance(node, ast.Import)
        for alias in node.names
    )


# Constants that are words ---------------------------------------------------------------------------------------


def word_ideas(bench: Bench) -> list[Idea]:
    """Window patterns, switches, and words that the code compares a constant with."""
    found: list[Idea | None] = []
    for statement in bench.text.tree.body:
        name, value = assigned_name(statement), getattr(statement, "value", None)
        if not name.isupper() or not isinstance(value, ast.Constant) or set(name.split("_")) & FIXED:
            continue
        if isinstance(value.value, bool):
            way = f"{name} {value.value} -> {not value.value}", bench.text.replacing(value, str(not value.value))
            found.append(_one(bench, name, _category(name), 1.0, [way]))
        elif isinstance(value.value, str) and value.value and set(value.value) <= set("SL"):
            found.append(_one(bench, name, "attention", 1.2, _patterns(bench, name, value)))
        elif isinstance(value.value, str):
            found.append(_one(bench, name, _category(name), 0.8, _words(bench, name, value)))
    return [idea for idea in found if idea]


def _category(name: str) -> str:
    words = set(name.split("_"))
    if "NORM" in words:
        return "normalization"
    return "attention" if words & {"QK", "ATTN", "WINDOW", "ROPE", "HEADS"} else "architecture"


def _patterns(bench: Bench, name: str, value: ast.Constant) -> Iterator[tuple[str, Splice]]:
    """Every pattern of up to five letters that makes other layers see all; the last layer always does."""
    depth = next((bench.known[n] for n in ("DEPTH", "N_LAYER") if isinstance(bench.known.get(n), int)), 8)
    seen = {_expanded(value.value, depth)}
    for length in range(1, 6):
        for letters in itertools.product("SL", repeat=length):
            pattern = "".join(letters)
            if (layers := _expanded(pattern, depth)) in seen:
                continue
            seen.add(layers)
            yield f"{name} {value.value!s} -> {pattern}", bench.text.replacing(value, f'"{pattern}"')


def _expanded(pattern: object, depth: int) -> str:
    text = str(pattern)
    return "".join(text[layer % len(text)] for layer in range(max(1, depth - 1)))


def _words(bench: Bench, name: str, value: ast.Constant) -> Iterator[tuple[str, Splice]]:
    """The words that the code asks for, and those that stand next to the constant in its comment."""
    known = {
        other.value
        for node in ast.walk(bench.text.tree)
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and node.left.id == name
        for other in node.comparators
        if isinstance(other, ast.Constant) and isinstance(other.value, str)
    }
    for word in sorted(known - {value.value}):
        yield f"{name} {value.value!s} -> {word}", bench.text.replacing(value, f'"{word}"')


# Forms inside the model -----------------------------------------------------------------------------------------


def model_ideas(bench: Bench) -> list[Idea]:
    """Activations, which layers have value embeddings, spreads of initial weights, gains of gates."""
    ideas = [
        _one(bench, "activation", "architecture", 0.5, _activations(bench)),
        _one(bench, "spacing of value embeddings", "architecture", 0.5, _spacings(bench)),
        _one(bench, "gate gain", "architecture", 0.6, _gate_gains(bench)),
        *_spreads(bench),
    ]
    return [idea for idea in ideas if idea]


def _activations(bench: Bench) -> Iterator[tuple[str, Splice]]:
    for node in ast.walk(bench.text.tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "square"):
            continue
        inner = node.func.value
        if isinstance(inner, ast.Call) and ast.unparse(inner.func) in ("F.relu", "torch.relu") and len(inner.args) == 1:
            x = bench.text.source(inner.args[0])
            for formula in _ACTIVATIONS:
                shown = formula.format(x="x")
                yield f"activation relu(x)^2 -> {shown}", bench.text.replacing(node, formula.format(x=x))


def _spacings(bench: Bench) -> Iterator[tuple[str, Splice]]:
    """``return layer % 2 == (DEPTH - 1) % 2`` with other numbers."""
    for function in bench.text.functions():
        last = function.body[-1]
        test = last.value if isinstance(last, ast.Return) else None
        if not isinstance(test, ast.Compare) or len(test.comparators) != 1:
            continue
        sides = [test.left, test.comparators[0]]
        if all(isinstance(side, ast.BinOp) and isinstance(side.op, ast.Mod) for side in sides):
            numbers = [side.right for side in sides if isinstance(side, ast.BinOp)]
            values = {n.value for n in numbers if isinstance(n, ast.Constant)}
            if len(values) != 1:
                continue
            for every in {1, 2, 3, 4} - values:
                start, end = bench.text.span(test)
                inner = [Splice(s.start - start, s.end - start, s.new) for n in numbers
                         if (s := bench.text.replacing(n, str(every)))]  # fmt: skip
                new = spliced(bench.text.content[start:end], inner)
                what = f"{function.name}: every {'layer' if every == 1 else f'{every} layers'}"
                yield what, Splice(start, end, new)


def _gate_gains(bench: Bench) -> Iterator[tuple[str, Splice]]:
    """The 2 of 2 * sigmoid(...) where that is not a softcap."""
    for node in ast.walk(bench.text.tree):
        if (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Mult)
            and isinstance(node.left, ast.Constant)
            and isinstance(node.left.value, (int, float))
            and isinstance(node.right, ast.Call)
            and ast.unparse(node.right.func).endswith("sigmoid")
        ):
            for gain in (1, 1.5, 3, 4):
                if gain != node.left.value:
                    shown = bench.text.source(node.left)
                    yield f"gate gain {shown} -> {gain}", bench.text.replacing(node.left, str(gain))


def _spreads(bench: Bench) -> Iterator[Idea | None]:
    """Standard deviations of initial weights that are written as sd= or std=."""
    for node in ast.walk(bench.text.tree):
        if not (isinstance(node, ast.keyword) and node.arg in ("sd", "std") and isinstance(node.value, ast.Constant)):
            continue
        value = node.value.value
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            owner = _owner(bench, node)
            written = [repr(float(f"{value * factor:.3g}")) for factor in (0.5, 0.8, 1.25, 2)]
            ways = [
                (f"initial sd of {owner} {value} -> {new}", bench.text.replacing(node.value, new)) for new in written
            ]
            yield _one(bench, f"initial sd of {owner}", "architecture", 0.6, ways)


def _owner(bench: Bench, node: ast.AST) -> str:
    """What a call initialises: the attribute it is assigned to, or its first argument."""
    call = bench.text.parents.get(node)
    above: ast.AST | None = call
    while above is not None and not isinstance(above, ast.stmt):
        above = bench.text.parents.get(above)
    if isinstance(above, ast.Assign):
        return ast.unparse(above.targets[0]).removeprefix("self.")
    if isinstance(call, ast.Call) and call.args:
        return ast.unparse(call.args[0]).removeprefix("self.")[:40]
    return "weights"
