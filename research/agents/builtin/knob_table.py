"""How the numbers of a train.py may move, by the words in their names: scale, limits, and how promising they are.

The table is short on purpose: names of the public scripts and ours fall under it, anything else is judged by its
size. ``worth`` says how often a number is tried before anything is known of it, 1 for the ordinary one; the larger
ones are those whose moves were worth the most in public nights (batch size, width and depth, the rates of embeddings,
weight decay of value embeddings, warm-down, rotary base, initial scale).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Scale = Literal["log", "linear", "power", "rest"]
"""log: by factors; linear: by steps; power: by doublings; rest: 1 - x by factors (momenta and betas)."""


@dataclass(frozen=True)
class Rule:
    """How one number may move.

    Attributes:
        scale: On which scale it is sampled.
        low: Lowest value.
        high: Highest value.
        step: Usual width of one move: a factor on log and rest, a difference on linear, doublings on power.
        worth: How promising, 1 for the ordinary.
        category: What moving it changes.
        integer: Whether it is a whole number.
        quantum: It stays a multiple of this, given by the name of another constant, "" for none.
        off: The value that switches it off, None if there is none.
    """

    scale: Scale
    low: float
    high: float
    step: float
    worth: float
    category: str
    integer: bool = False
    quantum: str = ""
    off: float | None = None


_RATE = Rule("log", 1e-5, 10.0, 1.4, 1.0, "optimizer")
_DECAY = Rule("log", 1e-5, 2.0, 1.6, 0.8, "regularization", off=0.0)
_SHARE = Rule("linear", 0.0, 1.0, 0.1, 0.6, "optimizer", off=0.0)
_MOMENTUM = Rule("rest", 0.3, 0.9995, 1.5, 0.6, "optimizer")

FIXED = frozenset(
    {"SEED", "PEAK", "FLOPS", "REVISION", "TOLERANCE", "UNCOUNTED", "COMPILE", "DTYPE", "ATTENTION", "DEVICES", "VOCAB"}
    | {"VERSION", "BUDGET", "EVAL", "SEQ", "LOG", "PORT", "TIMEOUT", "PRINT", "VERBOSE", "SAVE", "CHECKPOINT", "EVERY"}
)
"""Words of names that are no matter of research: what they hold belongs to the machine, the contract or the display."""

RULES: tuple[tuple[frozenset[str], Rule], ...] = tuple(
    (frozenset(words.split()), rule)
    for words, rule in (
        ("TOTAL BATCH", Rule("power", 256, 2**21, 1, 3.0, "batch", True)),
        ("DEVICE BATCH", Rule("power", 1, 512, 1, 0.3, "batch", True)),
        ("BATCH", Rule("power", 1, 2**21, 1, 1.0, "batch", True)),
        ("DEPTH", Rule("linear", 2, 32, 1, 2.0, "architecture", True)),
        ("LAYERS", Rule("linear", 2, 32, 1, 2.0, "architecture", True)),
        ("WIDTH", Rule("log", 32, 4096, 1.3, 2.5, "architecture", True, "HEAD_DIM")),
        ("ASPECT", Rule("log", 8, 256, 1.25, 2.5, "architecture", True)),
        ("HEAD DIM", Rule("power", 16, 256, 1, 0.8, "attention", True)),
        ("MLP", Rule("linear", 1, 8, 1, 0.6, "architecture", True)),
        ("WINDOW", Rule("power", 1, 64, 1, 1.2, "attention", True)),
        ("ROPE", Rule("log", 1e2, 1e7, 3.0, 1.3, "attention", True)),
        ("GATE CHANNELS", Rule("power", 4, 256, 1, 0.6, "architecture", True)),
        ("QK SHARE", Rule("linear", 0.0, 1.0, 0.25, 0.4, "normalization", off=0.0)),
        ("QK SCALE", Rule("log", 0.5, 2.0, 1.12, 1.2, "attention", off=1.0)),
        ("SOFTCAP", Rule("log", 4.0, 100.0, 1.4, 0.7, "regularization")),
        ("PAIR ROWS", Rule("power", 2**8, 2**20, 1, 1.0, "architecture", True, off=0.0)),
        ("PAIR INIT", Rule("log", 0.01, 1.0, 1.6, 0.8, "architecture", off=0.0)),
        ("X0 INIT", Rule("log", 0.005, 1.0, 1.8, 1.0, "architecture", off=0.0)),
        ("RESIDUAL INIT", Rule("log", 0.3, 2.0, 1.1, 0.5, "architecture", off=1.0)),
        ("INIT", Rule("log", 0.05, 5.0, 1.2, 1.2, "architecture", off=1.0)),
        ("EMBEDDING LR", replace(_RATE, worth=2.0)),
        ("UNEMBEDDING LR", replace(_RATE, worth=1.5)),
        ("MATRIX LR", replace(_RATE, worth=1.6)),
        ("LR FRAC", replace(_SHARE, step=0.05, high=0.5, worth=1.0)),
        ("LR FRACTION", replace(_SHARE, step=0.05, high=0.5, worth=1.0)),
        ("LR", _RATE),
        ("VALUE WD", replace(_DECAY, worth=1.4)),
        ("WD", _DECAY),
        ("DECAY", _DECAY),
        ("BETA", _MOMENTUM),
        ("BETA2", _MOMENTUM),
        ("BETAS", _MOMENTUM),
        ("MOMENTUM STEPS", Rule("log", 10, 5000, 1.6, 0.8, "optimizer", True)),
        ("MOMENTUM", _MOMENTUM),
        ("MUON STEPS", Rule("linear", 1, 5, 1, 0.7, "optimizer", True)),
        ("NS STEPS", Rule("linear", 1, 9, 1, 0.7, "optimizer", True)),
        ("WARMUP STEPS", Rule("log", 1, 2000, 1.6, 0.5, "optimizer", True)),
        ("WARMUP", replace(_SHARE, step=0.02, high=0.3, worth=0.5)),
        ("WARMDOWN", replace(_SHARE, low=0.05, worth=1.3, off=None)),
        ("COOLDOWN", replace(_SHARE, low=0.05, worth=1.3, off=None)),
        ("DROPOUT", replace(_SHARE, step=0.05, high=0.5, worth=0.4, category="regularization")),
        ("FRAC", _SHARE),
        ("FRACTION", _SHARE),
        ("SHARE", _SHARE),
        ("EPS", Rule("log", 1e-14, 1e-2, 10.0, 0.3, "optimizer")),
        ("STEPS", Rule("log", 1, 100_000, 1.6, 0.5, "optimizer", True)),
    )
)
"""Words that a name must hold, and the rule; the first that fits counts."""


def rule_of(name: str, value: float) -> Rule | None:
    """The rule of a constant by its name, else by the size of its value; None for what is not to be moved."""
    words = frozenset(name.upper().split("_"))
    if words & FIXED:
        return None
    for wanted, rule in RULES:
        if wanted <= words or (len(wanted) == 1 and words & {word + "S" for word in wanted}):
            return rule
    return _by_size(value)


def _by_size(value: float) -> Rule | None:
    """A careful rule for a number that nobody named: around itself, by factors."""
    if value == 0:
        return None
    if isinstance(value, int):
        return Rule("log", max(1, value // 8), max(2, value * 8), 1.5, 0.4, "architecture", True) if value > 0 else None
    if 0.5 < value < 1:
        return replace(_MOMENTUM, worth=0.4)
    low, high = sorted((value / 10, value * 10))
    return Rule("log", low, high, 1.4, 0.4, "architecture") if value > 0 else None
