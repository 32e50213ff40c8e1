"""What must hold between the constants of a train.py for it to run at all, and how far one step may grow it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from research.agents.builtin.evaluate import constants_in_force, surroundings
from research.core.settings import SETTINGS

Values = Mapping[str, Any]

_WIDTHS = ("WIDTH", "MODEL_DIM", "N_EMBD", "D_MODEL")
_DEPTHS = ("DEPTH", "N_LAYER", "N_LAYERS", "NUM_LAYERS")
_ITERATIONS = ("MUON_STEPS", "NS_STEPS")
_MOST_ITERATIONS = 5
"""Coefficients of the polar express that the public scripts carry."""


def violations(tree: ast.Module, profile: str) -> frozenset[str]:
    """What a train.py breaks, one sentence each."""
    known = constants_in_force(tree, profile)
    return frozenset(sentence for sentence, holds in _RULES.items() if not _holds(holds, known))


def broken_by(before: ast.Module, after: ast.Module, profile: str) -> tuple[str, ...]:
    """What a change breaks that held before, growth included."""
    new = sorted(violations(after, profile) - violations(before, profile))
    was, becomes = constants_in_force(before, profile), constants_in_force(after, profile)
    for what, size in (("parameters", parameters), ("activations", activations)):
        ratio = size(becomes) / max(size(was), 1e-9)
        if ratio > SETTINGS.max_growth or ratio < 1 / SETTINGS.max_shrinking:
            new.append(f"{what} would be {ratio:.1f} times what they are")
    return tuple(new)


def parameters(known: Values) -> float:
    """A number that grows like the block parameters."""
    return _first(known, _DEPTHS) * _width(known) ** 2 * (4 + 2 * _number(known, "MLP_RATIO", 4))


def activations(known: Values) -> float:
    """A number that grows like the memory of one forward."""
    rows = _number(known, "DEVICE_BATCH_SIZE", 1)
    return rows * _first(known, _DEPTHS) * _width(known) * (8 + 2 * _number(known, "MLP_RATIO", 4))


def _width(known: Values) -> float:
    width = _first(known, _WIDTHS, 0.0)
    return width or _first(known, _DEPTHS) * _number(known, "ASPECT_RATIO", 1)


def _first(known: Values, names: tuple[str, ...], default: float = 1.0) -> float:
    return next((float(known[n]) for n in names if isinstance(known.get(n), (int, float))), default)


def _number(known: Values, name: str, default: float) -> float:
    value = known.get(name, default)
    return float(value) if isinstance(value, (int, float)) else default


def _holds(rule: Callable[[Values], bool], known: Values) -> bool:
    try:
        return rule(known)
    except (KeyError, ValueError):
        return True  # a constant that is not there, or that needs more than constants
    except (TypeError, ArithmeticError):
        return False


def _heads(known: Values) -> bool:
    head = known["HEAD_DIM"]
    widths = [known[name] for name in _WIDTHS if name in known]
    return head > 0 and head % 2 == 0 and all(width > 0 and width % head == 0 for width in widths)


def _batches(known: Values) -> bool:
    rows, total = known["DEVICE_BATCH_SIZE"], known["TOTAL_BATCH_SIZE"]
    return bool(rows > 0 and total > 0 and total % (rows * known["MAX_SEQ_LEN"]) == 0)


def _fractions(known: Values) -> bool:
    return all(
        0 <= value <= 1
        for name, value in known.items()
        if name.startswith(("WARMUP", "WARMDOWN", "COOLDOWN")) or "FRAC" in name.split("_") or "FRACTION" in name
        if isinstance(value, (int, float)) and "STEPS" not in name
    )


def _ramps(known: Values) -> bool:
    up = _number(known, "WARMUP", _number(known, "WARMUP_RATIO", 0))
    down = _number(known, "WARMDOWN", _number(known, "WARMDOWN_RATIO", 0))
    return up + down <= 1 + 1e-9


def _momenta(known: Values) -> bool:
    names = [n for n in known if n.isupper() and any(word in n for word in ("BETA", "MOMENTUM")) and "STEPS" not in n]
    values = [known[name] for name in names]
    flat = [v for value in values for v in (value if isinstance(value, tuple) else (value,))]
    return all(0 <= value < 1 for value in flat)


_RULES: dict[str, Callable[[Values], bool]] = {
    "the width must be a multiple of HEAD_DIM, and HEAD_DIM even": _heads,
    "TOTAL_BATCH_SIZE must be a multiple of DEVICE_BATCH_SIZE times the context": _batches,
    "fractions lie between 0 and 1": _fractions,
    "warm-up and warm-down fit into the budget": _ramps,
    "momenta and betas lie below 1": _momenta,
    "there are at least two layers": lambda known: min(known[n] for n in _DEPTHS if n in known) >= 2,
    "Muon's iterations have coefficients": lambda known: all(
        1 <= known[name] <= _MOST_ITERATIONS for name in _ITERATIONS if name in known
    ),
    "rates and decays are not negative": lambda known: all(
        value >= 0
        for name, value in known.items()
        if {"LR", "WD", "DECAY"} & set(name.split("_")) and isinstance(value, (int, float))
    ),
    "windows are written with S and L": lambda known: (
        bool(known["WINDOW_PATTERN"]) and set(known["WINDOW_PATTERN"].upper()) <= set("SL")
    ),
    "the gates read channels that exist": lambda known: (
        0 < known["GATE_CHANNELS"] <= min(known[name] for name in _WIDTHS if name in known)
    ),
    "a window holds at least one token": lambda known: known["SHORT_WINDOW"] >= 1,
}


def context_of(profile: str) -> int:
    """Tokens of context of a profile."""
    return int(surroundings(profile)["MAX_SEQ_LEN"])
