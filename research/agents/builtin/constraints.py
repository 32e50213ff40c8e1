"""Checks that the constants of a train.py fit each other, so that it runs, and that no change grows it too much."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from research.agents.builtin.hyperparameters import HEAD_SIZES
from research.agents.builtin.source import Source
from research.code.constants import as_number
from research.core.settings import SETTINGS

Values = Mapping[str, Any]

_WIDTHS = ("WIDTH", "MODEL_DIM", "N_EMBD", "D_MODEL")
DEPTHS = ("DEPTH", "N_LAYER", "N_LAYERS", "NUM_LAYERS")


def new_violations(before: Source, after: Source) -> list[str]:
    """Return a sentence for each constraint that held before a change and is broken after it, growth included."""
    old, new = before.values, after.values
    found = [text for text, holds in _CONSTRAINTS.items() if _holds(holds, old) and not _holds(holds, new)]
    ratio = _forward_cost(new) / max(_forward_cost(old), 1e-9)
    if not 1 / SETTINGS.max_shrinking <= ratio <= SETTINGS.max_growth:
        found.append(f"a forward would cost {ratio:.1f} times what it does")
    return found


def _holds(constraint: Callable[[Values], bool], values: Values) -> bool:
    try:
        return constraint(values)
    except (KeyError, ValueError):
        return True  # a constant that is not there, or that needs more than constants
    except (TypeError, ArithmeticError):
        return False


def numbers_of(values: Values, names: Sequence[str]) -> list[float]:
    """Return the values of those constants that are there and are numbers."""
    return [value for name in names if (value := as_number(values.get(name))) is not None]


def _first(values: Values, names: Sequence[str], default: float = 1.0) -> float:
    return next(iter(numbers_of(values, names)), default)


def _forward_cost(values: Values) -> float:
    """Return a number that grows like the rows of a forward times the parameters of the blocks."""
    rows, depth = _first(values, ("DEVICE_BATCH_SIZE",)), _first(values, DEPTHS)
    width = _first(values, _WIDTHS, 0.0) or depth * _first(values, ("ASPECT_RATIO",))
    return rows * depth * width**2 * (2 + _first(values, ("MLP_RATIO",), 4))


def _heads(values: Values) -> bool:
    sizes, widths = numbers_of(values, HEAD_SIZES), numbers_of(values, _WIDTHS)
    return all(size > 0 and width > 0 and width % size == 0 for size in sizes for width in widths)


def _batches(values: Values) -> bool:
    rows, total = values["DEVICE_BATCH_SIZE"], values["TOTAL_BATCH_SIZE"]
    return bool(rows > 0 and total > 0 and total % (rows * values["MAX_SEQ_LEN"]) == 0)


def _ramps(values: Values) -> bool:
    up, down = (_first(values, names, 0) for names in (("WARMUP", "WARMUP_RATIO"), ("WARMDOWN", "WARMDOWN_RATIO")))
    return up + down <= 1 + 1e-9


_CONSTRAINTS: Mapping[str, Callable[[Values], bool]] = {
    "the width must be a multiple of the heads": _heads,
    "TOTAL_BATCH_SIZE must be a multiple of DEVICE_BATCH_SIZE times the context": _batches,
    "warm-up and warm-down must fit into the budget": _ramps,
    "there must be at least two layers": lambda values: min(numbers_of(values, DEPTHS)) >= 2,
    "gates must read channels that exist": lambda values: (
        0 < values["GATE_CHANNELS"] <= min(numbers_of(values, _WIDTHS))
    ),
}
