"""Checks what must hold between the constants of a train.py for it to run, and how far one change may grow it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from research.agents.builtin.hyperparameters import HEAD_SIZES
from research.agents.builtin.source import Source
from research.code.constants import as_number
from research.core.settings import SETTINGS

Values = Mapping[str, Any]

_WIDTHS = ("WIDTH", "MODEL_DIM", "N_EMBD", "D_MODEL")
DEPTHS = ("DEPTH", "N_LAYER", "N_LAYERS", "NUM_LAYERS")
_ITERATIONS = ("MUON_STEPS", "NS_STEPS")
MAX_ITERATIONS = 5
"""Steps of Muon's iteration for which the public scripts carry coefficients."""


def violations(source: Source) -> frozenset[str]:
    """Return the constraints that a train.py breaks."""
    return frozenset(text for text, holds in _CONSTRAINTS.items() if not _holds(holds, source.values))


def new_violations(before: Source, after: Source) -> list[str]:
    """Return the constraints that a change breaks and that held before, growth included."""
    found = sorted(violations(after) - violations(before))
    for what, size in (("parameters", parameters), ("activations", activations)):
        ratio = size(after.values) / max(size(before.values), 1e-9)
        if not 1 / SETTINGS.max_shrinking <= ratio <= SETTINGS.max_growth:
            found.append(f"{what} would be {ratio:.1f} times what they are")
    return found


def parameters(values: Values) -> float:
    """Return a number that grows like the block parameters."""
    return _first(values, DEPTHS) * _width(values) ** 2 * (4 + 2 * _first(values, ("MLP_RATIO",), 4))


def activations(values: Values) -> float:
    """Return a number that grows like the memory of one forward."""
    size = _first(values, DEPTHS) * _width(values) * (8 + 2 * _first(values, ("MLP_RATIO",), 4))
    return _first(values, ("DEVICE_BATCH_SIZE",)) * size


def _width(values: Values) -> float:
    return _first(values, _WIDTHS, 0.0) or _first(values, DEPTHS) * _first(values, ("ASPECT_RATIO",))


def _first(values: Values, names: Sequence[str], default: float = 1.0) -> float:
    return next(numbers_of(values, names), default)


def numbers_of(values: Values, names: Sequence[str]) -> Iterator[float]:
    """Yield the values of those constants that are there and are numbers."""
    for name in names:
        if (value := as_number(values.get(name))) is not None:
            yield value


def _named(values: Values, words: str) -> Iterator[float]:
    """Yield the numbers, those in tuples too, of the constants whose names hold one of some words."""
    for name, value in values.items():
        parts = set(name.split("_"))
        if parts & set(words.split()) and not parts & {"STEP", "STEPS"}:
            for item in value if isinstance(value, tuple) else (value,):
                if (found := as_number(item)) is not None:
                    yield found


def _holds(constraint: Callable[[Values], bool], values: Values) -> bool:
    try:
        return constraint(values)
    except (KeyError, ValueError):
        return True  # a constant that is not there, or that needs more than constants
    except (TypeError, ArithmeticError):
        return False


def _heads(values: Values) -> bool:
    sizes, widths = list(numbers_of(values, HEAD_SIZES)), list(numbers_of(values, _WIDTHS))
    return all(size > 0 and width > 0 and width % size == 0 for size in sizes for width in widths) and (
        values.get("HEAD_DIM", 2) % 2 == 0
    )


def _batches(values: Values) -> bool:
    rows, total = values["DEVICE_BATCH_SIZE"], values["TOTAL_BATCH_SIZE"]
    return bool(rows > 0 and total > 0 and total % (rows * values["MAX_SEQ_LEN"]) == 0)


def _ramps(values: Values) -> bool:
    up, down = (_first(values, names, 0) for names in (("WARMUP", "WARMUP_RATIO"), ("WARMDOWN", "WARMDOWN_RATIO")))
    return up + down <= 1 + 1e-9


_FRACTIONS = "WARMUP WARMDOWN COOLDOWN FRAC FRACTION DROPOUT"
_MOMENTA = "BETA BETAS BETA1 BETA2 MOMENTUM"

_CONSTRAINTS: Mapping[str, Callable[[Values], bool]] = {
    "the width must be a multiple of the heads, and HEAD_DIM even": _heads,
    "TOTAL_BATCH_SIZE must be a multiple of DEVICE_BATCH_SIZE times the context": _batches,
    "fractions must lie between 0 and 1": lambda v: all(0 <= value <= 1 for value in _named(v, _FRACTIONS)),
    "warm-up and warm-down must fit into the budget": _ramps,
    "momenta and betas must lie below 1": lambda v: all(0 <= value < 1 for value in _named(v, _MOMENTA)),
    "there must be at least two layers": lambda v: min(numbers_of(v, DEPTHS)) >= 2,
    "Muon's iterations must have coefficients": lambda v: all(
        1 <= value <= MAX_ITERATIONS for value in numbers_of(v, _ITERATIONS)
    ),
    "rates and decays must not be negative": lambda v: all(value >= 0 for value in _named(v, "LR WD DECAY")),
    "windows must be written with S and L": lambda v: (
        bool(v["WINDOW_PATTERN"]) and set(v["WINDOW_PATTERN"].upper()) <= set("SL")
    ),
    "gates must read channels that exist": lambda v: 0 < v["GATE_CHANNELS"] <= min(numbers_of(v, _WIDTHS)),
    "a window must hold at least one token": lambda v: v["SHORT_WINDOW"] >= 1,
}
