"""Values for one number by Optuna's tree-structured Parzen estimator (Bergstra 2011) over all that is known of it.

The only importer of Optuna, and only when a value is drawn: everything else in research starts without it.
"""

from __future__ import annotations

import ast
import math
import random
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from research.agents.builtin.evaluate import UNKNOWN, evaluate
from research.agents.builtin.knob_table import Rule
from research.agents.builtin.knobs import Knob
from research.core.settings import SETTINGS
from research.verdict.models import Trial


@dataclass(frozen=True)
class Range:
    """Where values are drawn from, on the rule's own scale.

    Attributes:
        rule: The scale.
        low: Lower end, transformed.
        high: Upper end, transformed.
        quantum: Values are multiples of this, 0 for any.
    """

    rule: Rule
    low: float
    high: float
    quantum: float = 0.0

    def value(self, place: float) -> float:
        """The value at a place of the scale."""
        value = from_scale(self.rule, place)
        if self.quantum:
            value = max(1, round(value / self.quantum)) * self.quantum
            return min(max(round(value), self.rule.low), self.rule.high)
        return rounded(self.rule, value)


def rounded(rule: Rule, value: float) -> float:
    """A value as people would write it, within its limits: more than two digits are below the noise."""
    if rule.scale == "power":
        value = 2 ** round(to_scale(rule, value))
    elif rule.scale == "rest":
        value = 1 - float(f"{1 - value:.2g}")
    else:
        value = float(f"{value:.2g}")
    return min(max(round(value) if rule.integer else round(value, 12), rule.low), rule.high)


def to_scale(rule: Rule, value: float) -> float:
    """A value on its rule's scale, where equal distances mean equal moves."""
    if rule.scale == "linear":
        return value
    if rule.scale == "rest":
        return -math.log(max(1 - value, 1e-9))
    value = max(value, 1e-15)
    return math.log2(value) if rule.scale == "power" else math.log(value)


def from_scale(rule: Rule, place: float) -> float:
    """The way back from to_scale()."""
    if rule.scale == "linear":
        return place
    if rule.scale == "rest":
        return 1 - math.exp(-place)
    return 2.0**place if rule.scale == "power" else math.exp(place)


def usual_step(rule: Rule) -> float:
    """One usual move, on the rule's scale."""
    return math.log(rule.step) if rule.scale in ("log", "rest") else rule.step


def range_of(knob: Knob, reach: float, known: dict[str, Any]) -> Range | None:
    """The range around what a knob is now, within its limits; None if there is none."""
    rule = knob.rule
    centre = knob.value
    if rule.scale in ("log", "power") and centre <= 0:
        centre, reach = math.sqrt(rule.low * rule.high), max(reach, SETTINGS.wide_reach)
    if rule.scale == "rest" and not 0 <= centre < 1:
        return None
    place, width = to_scale(rule, centre), max(reach, 1.0) * usual_step(rule)
    low = max(place - width, to_scale(rule, min(rule.low, centre)))
    high = min(place + width, to_scale(rule, max(rule.high, centre)))
    quantum = known.get(rule.quantum, 0) if rule.quantum else 0
    quantum = quantum if isinstance(quantum, (int, float)) else 0
    if quantum:  # the next multiple must be within reach
        low = min(low, to_scale(rule, max(quantum, centre - quantum)))
        high = max(high, to_scale(rule, centre + quantum))
    return Range(rule, low, high, quantum) if high > low else None


def observations(knob: Knob, trials: Sequence[Trial], known: dict[str, Any]) -> list[tuple[float, float]]:
    """(value, level) for what is known of a knob: levels in bpb, lower is better, chained over the moves made.

    The first value seen has level 0; each move's gain over its parent leads to the next level.
    """
    levels: dict[float, float] = {}
    crashed: list[float] = []
    for trial in trials:
        before, after = (value_of(knob, text, known) for text in (trial.before, trial.after))
        if before is None or after is None or before == after:
            continue
        levels.setdefault(before, 0.0)
        if trial.known.gain is not None:
            levels[after] = levels[before] - trial.known.gain.mean
        elif trial.known.estimate is None:
            crashed.append(after)
    levels.setdefault(knob.value, 0.0)
    worst = max(levels.values()) + SETTINGS.crash_penalty_bpb
    return [*levels.items(), *((value, worst) for value in crashed if value not in levels)]


def value_of(knob: Knob, text: str, known: dict[str, Any]) -> float | None:
    """The number that a recorded value means for this knob, None if it means none."""
    try:
        value = evaluate(ast.parse(text, mode="eval").body, known)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if knob.index is not None:
        value = value[knob.index] if isinstance(value, tuple) and knob.index < len(value) else UNKNOWN
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def draw(
    knob: Knob, trials: Sequence[Trial], known: dict[str, Any], reach: float, rng: random.Random
) -> Iterator[float]:
    """Values to try, the sampler's first; each differs from what the knob is by more than noise would hide."""
    where = range_of(knob, reach, known)
    if where is None:
        return
    seen = {where.value(to_scale(knob.rule, knob.value)), knob.value}
    for place in _places(where, observations(knob, trials, known), rng.randrange(2**31)):
        value = where.value(place)
        if value not in seen and _is_a_move(knob, value):
            seen.add(value)
            yield value


def _is_a_move(knob: Knob, value: float) -> bool:
    if knob.rule.integer or knob.value <= 0:
        return value != knob.value
    apart = abs(to_scale(knob.rule, value) - to_scale(knob.rule, knob.value))
    return apart >= SETTINGS.min_move * usual_step(knob.rule)


def _places(where: Range, observed: list[tuple[float, float]], seed: int) -> Iterator[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental features announce themselves; nothing here depends on them
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        line = optuna.distributions.FloatDistribution(where.low, where.high)
        space: dict[str, optuna.distributions.BaseDistribution] = {"place": line}
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=SETTINGS.tpe_startup_trials)
        study = optuna.create_study(sampler=sampler)
        for value, level in observed:
            place = to_scale(where.rule, value)
            if where.low <= place <= where.high:
                study.add_trial(optuna.trial.create_trial(params={"place": place}, distributions=space, value=level))
        drawn = [study.ask(space).params["place"] for _ in range(SETTINGS.values_a_constant)]
    yield from drawn
