"""Finds the numbers of a train.py that an experiment may move, the space of each, and values to try.

Values come from Optuna's tree-structured Parzen estimator (Bergstra 2011) over all that is known of a number. Optuna is
imported only when a value is drawn: everything else in research starts without it.
"""

from __future__ import annotations

import ast
import math
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from research.agents.builtin.source import Setting, Source
from research.code.constants import as_number, evaluate
from research.code.syntax_tree import parse_expression
from research.core.settings import SETTINGS
from research.verdict.models import Trial

HEAD_SIZES = ("HEAD_DIM", "N_HEAD", "N_HEADS", "NUM_HEADS")
"""Constants of which a model's width is a multiple."""


@dataclass(frozen=True)
class Space:
    """The space of values that one number may take.

    Attributes:
        scale: Its axis: "log" moves by factors, "linear" by steps, "log2" by doublings, "complement" (momenta and
            betas) by factors of 1 - x.
        low: Lowest value.
        high: Highest value.
        step: Usual length of a move: a factor, a difference, a number of doublings, a factor of 1 - x.
        weight: Weight with which it is drawn before anything is known of it, 1 for an ordinary number.
        integer: Whether it is a whole number.
        off: The value at which it does nothing, None if there is none.
        multiple: What it must be a multiple of.
    """

    scale: Literal["log", "linear", "log2", "complement"]
    low: float
    high: float
    step: float
    weight: float = 1.0
    integer: bool = False
    off: float | None = None
    multiple: float = 1

    def position(self, value: float) -> float:
        """Return a value's place on the axis, where equal distances are equal moves."""
        if self.scale == "linear":
            return value
        if self.scale == "complement":
            return -math.log(max(1 - value, 1e-9))
        return math.log2(max(value, 1e-15)) if self.scale == "log2" else math.log(max(value, 1e-15))

    def value(self, position: float) -> float:
        """Return the value at a place on the axis, within the limits, with two digits: a third is below the noise."""
        if self.scale == "linear":
            value = float(f"{position:.2g}")
        elif self.scale == "complement":
            value = 1 - float(f"{math.exp(-position):.2g}")
        else:
            value = 2.0 ** round(position) if self.scale == "log2" else float(f"{math.exp(position):.2g}")
        if self.multiple > 1:
            value = max(1, round(value / self.multiple)) * self.multiple
        return min(max(round(value) if self.integer else round(value, 12), self.low), self.high)

    def between(self, start: float, end: float, share: float) -> float:
        """Return the value at a share of the way from one value to another, on the axis, or plainly where one is 0."""
        if min(start, end) <= 0 and self.scale != "complement":
            return self.value(self.position(start + share * (end - start)))
        return self.value((1 - share) * self.position(start) + share * self.position(end))

    @property
    def stride(self) -> float:
        """Return the usual move, as a distance on the axis."""
        return math.log(self.step) if self.scale in ("log", "complement") else self.step


_RATE = Space("log", 1e-5, 10.0, 1.4)
_DECAY = Space("log", 1e-5, 2.0, 1.6, 0.8, off=0.0)
_FRACTION = Space("linear", 0.0, 1.0, 0.1, 0.6, off=0.0)
_MOMENTUM = Space("complement", 0.3, 0.9995, 1.5, 0.6)

_WIDTHS = "WIDTH, EMBD, MODEL DIM, D MODEL"
_SPACES: Mapping[str, Space] = {
    # Words of a name, or others behind a comma; the first entry whose words the name holds counts. The weights are high
    # where moves were worth the most in public nights: batch size, width, depth, rates of embeddings, warm-down.
    "TOTAL BATCH": Space("log2", 256, 2**21, 1, 3.0, True),
    "DEVICE BATCH": Space("log2", 1, 512, 1, 0.3, True),
    "BATCH": Space("log2", 1, 2**21, 1, 1.0, True),
    "DEPTH, LAYER": Space("linear", 2, 32, 1, 2.0, True),
    _WIDTHS: Space("log", 32, 4096, 1.3, 2.5, True),
    "ASPECT": Space("log", 8, 256, 1.25, 2.5, True),
    "HEAD DIM": Space("log2", 16, 256, 1, 0.8, True),
    "MLP": Space("linear", 1, 8, 1, 0.6, True),
    "WINDOW": Space("log2", 1, 64, 1, 1.2, True),
    "ROPE": Space("log", 1e2, 1e7, 3.0, 1.3, True),
    "GATE CHANNEL": Space("log2", 4, 256, 1, 0.6, True),
    "QK SHARE": Space("linear", 0.0, 1.0, 0.25, 0.4, off=0.0),
    "QK SCALE": Space("log", 0.5, 2.0, 1.12, 1.2, off=1.0),
    "SOFTCAP": Space("log", 4.0, 100.0, 1.4, 0.7),
    "PAIR ROW": Space("log2", 2**8, 2**20, 1, 1.0, True),
    "X0 INIT": Space("log", 0.005, 1.0, 1.8, 1.0, off=0.0),
    "RESIDUAL INIT": Space("log", 0.3, 2.0, 1.1, 0.5, off=1.0),
    "INIT": Space("log", 0.05, 5.0, 1.2, 1.2, off=1.0),
    "EMBEDDING LR": replace(_RATE, weight=2.0),
    "UNEMBEDDING LR": replace(_RATE, weight=1.5),
    "MATRIX LR": replace(_RATE, weight=1.6),
    "LR FRAC, LR FRACTION": replace(_FRACTION, step=0.05, high=0.5, weight=1.0),
    "LR": _RATE,
    "VALUE WD": replace(_DECAY, weight=1.4),
    "WD, DECAY": _DECAY,
    "MOMENTUM STEP": Space("log", 10, 5000, 1.6, 0.8, True),
    "BETA, BETA1, BETA2, MOMENTUM": _MOMENTUM,
    "MUON STEP, NS STEP": Space("linear", 1, 5, 1, 0.7, True),  # public scripts carry coefficients of five steps
    "WARMUP STEP": Space("log", 1, 2000, 1.6, 0.5, True),
    "WARMUP": replace(_FRACTION, step=0.02, high=0.3, weight=0.5),
    "WARMDOWN, COOLDOWN": replace(_FRACTION, low=0.05, weight=1.3, off=None),
    "DROPOUT": replace(_FRACTION, step=0.05, high=0.5, weight=0.4),
    "FRAC, FRACTION, SHARE": _FRACTION,
    "EPS": Space("log", 1e-14, 1e-2, 10.0, 0.3),
    "STEP": Space("log", 1, 100_000, 1.6, 0.5, True),
}


def space_of(name: str, value: float, values: Mapping[str, Any]) -> Space | None:
    """Return the space of a constant by the words of its name, else by the size of its value; None for 0."""
    words = set(name.upper().split("_"))
    words |= {word.removesuffix("S") for word in words}
    for names, space in _SPACES.items():
        if any(words.issuperset(wanted.split()) for wanted in names.split(", ")):
            heads = (as_number(values.get(size)) for size in HEAD_SIZES) if names == _WIDTHS else ()
            return replace(space, multiple=next(filter(None, heads), 1))
    if value <= 0:
        return None
    if isinstance(value, int):
        return Space("log", max(1, value // 8), value * 8, 1.5, 0.4, True)
    return replace(_MOMENTUM, weight=0.4) if 0.5 < value < 1 else Space("log", value / 10, value * 10, 1.4, 0.4)


@dataclass(frozen=True)
class Hyperparameter:
    """One number in a train.py that an experiment may move.

    Attributes:
        constant: Name of the constant that holds it.
        index: Its place in a tuple, None outside one.
        value: Its value.
        node: Its expression in the tree.
        space: The values that it may take.
        written: Its source text.
    """

    constant: str
    index: int | None
    value: float
    node: ast.expr
    space: Space
    written: str

    @property
    def name(self) -> str:
        """Return its name as people write it: MATRIX_LR, ADAM_BETAS[1]."""
        return self.constant if self.index is None else f"{self.constant}[{self.index}]"

    def format(self, value: float) -> str:
        """Return a value as it would be written in this place."""
        if isinstance(self.node, ast.BinOp) and value > 0:
            return f"2**{round(math.log2(value))}"
        if self.space.integer:
            written = f"{round(value):_}" if "_" in self.written else str(round(value))
            return repr(float(written)) if isinstance(self.value, float) else written
        return repr(float(f"{value:.3g}" if abs(value) < 1 else f"{value:.4g}"))

    def parse(self, text: str, values: Mapping[str, Any]) -> float | None:
        """Return the number that a recorded text of the constant held in this place, None if it held none."""
        try:
            found = evaluate(parse_expression(text), values)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
        if self.index is None:
            return as_number(found)
        return as_number(found[self.index]) if isinstance(found, tuple) and self.index < len(found) else None


def hyperparameters(source: Source) -> tuple[Hyperparameter, ...]:
    """Return every number that an experiment may move."""
    return tuple(found for setting in source.settings for found in _in_setting(source, setting))


def _in_setting(source: Source, setting: Setting) -> Iterator[Hyperparameter]:
    node = setting.node
    items: list[tuple[int | None, ast.expr]] = [(None, node)]
    if isinstance(node, ast.Tuple):
        items = list(enumerate(node.elts))
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv | ast.Div | ast.Mult):
        sides = [side for side in (node.left, node.right) if _number(side) is not None]
        items = [(None, sides[0])] if len(sides) == 1 else []  # the 8 of T // 8
    for index, item in items:
        value = _number(item)
        space = None if value is None else space_of(setting.name, value, source.values)
        if value is not None and space is not None and _fits(item, value, space):
            yield Hyperparameter(setting.name, index, value, item, space, source.text(item))


def _fits(node: ast.expr, value: float, space: Space) -> bool:
    """Return whether the space is that of a number so written: 2**n moves by doublings, 100 is no share."""
    is_size = isinstance(node, ast.BinOp)
    suits_kind = (space.scale == "log2" or not is_size) and (not space.integer or value == round(value))
    return suits_kind and (value <= 1 or space.high > 1)


def _number(node: ast.expr) -> float | None:
    """Return the number that an expression writes, a literal or a power of two such as 2**18; None for any other."""
    is_size = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and evaluate(node.left, {}) == 2
    return as_number(evaluate(node, {})) if is_size or isinstance(node, ast.Constant | ast.UnaryOp) else None


def sample(
    number: Hyperparameter, trials: Sequence[Trial], values: Mapping[str, Any], reach: float, rng: random.Random
) -> Iterator[float]:
    """Yield values to try, no farther than reach usual moves, and far enough that noise does not hide the move."""
    space, centre = number.space, number.value
    here = space.position(centre)
    if space.scale in ("log", "log2") and centre <= 0:  # switched off: anything may be right
        centre, reach = math.sqrt(space.low * space.high), max(reach, SETTINGS.wide_reach)
    middle, width = space.position(centre), max(reach, 1.0) * space.stride
    low = max(middle - width, space.position(min(space.low, centre)))
    high = min(middle + width, space.position(max(space.high, centre)))
    seen = {number.value, space.value(here)}
    for position in _positions(low, high, _levels(number, trials, values), rng):
        value = space.value(position)
        if value not in seen and abs(space.position(value) - here) >= SETTINGS.min_move * space.stride:
            seen.add(value)
            yield value


def _levels(number: Hyperparameter, trials: Sequence[Trial], values: Mapping[str, Any]) -> dict[float, float]:
    """Return the level of every position that was tried: in bpb, lower is better.

    The first value has level 0, and each move's gain over its parent leads from one level to the next.
    """
    levels: dict[float, float] = {}
    crashed: list[float] = []
    for trial in trials:
        before, after = number.parse(trial.before, values), number.parse(trial.after, values)
        if before is None or after is None or before == after:
            continue
        levels.setdefault(before, 0.0)
        if trial.known.gain is not None:
            levels[after] = levels[before] - trial.known.gain.mean
        elif trial.known.estimate is None:
            crashed.append(after)
    levels.setdefault(number.value, 0.0)
    worst = max(levels.values()) + SETTINGS.crash_penalty_bpb
    levels = {**dict.fromkeys(crashed, worst), **levels}
    return {number.space.position(value): level for value, level in levels.items()}


def _positions(low: float, high: float, levels: Mapping[float, float], rng: random.Random) -> list[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental features announce themselves; nothing here depends on them
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        space: dict[str, optuna.distributions.BaseDistribution] = {
            "position": optuna.distributions.FloatDistribution(low, high)
        }
        sampler = optuna.samplers.TPESampler(seed=rng.randrange(2**31), n_startup_trials=SETTINGS.tpe_startup_trials)
        study = optuna.create_study(sampler=sampler)
        for position, level in levels.items():
            if low <= position <= high:
                tried = optuna.trial.create_trial(params={"position": position}, distributions=space, value=level)
                study.add_trial(tried)
        return [study.ask(space).params["position"] for _ in range(SETTINGS.values_a_constant)]
