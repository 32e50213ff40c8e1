"""Draws values for a number by Optuna's tree-structured Parzen estimator (Bergstra 2011) over all that is known of it.

The only importer of Optuna, and only when a value is drawn: everything else in research starts without it.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from research.agents.builtin.hyperparameters import Hyperparameter
from research.core.settings import SETTINGS
from research.verdict.models import Trial


def sample(
    number: Hyperparameter, trials: Sequence[Trial], values: Mapping[str, Any], reach: float, rng: random.Random
) -> Iterator[float]:
    """Yield values to try, each far enough from the present one that noise does not hide the move.

    Args:
        number: What is moved.
        trials: What was tried with its constant.
        values: The constants in force.
        reach: How far values may lie from the present one, in usual moves.
        rng: The source of randomness.
    """
    space = number.space
    low, high = _interval(number, reach)
    seen = {number.value, space.value(space.position(number.value))}
    for position in _positions(low, high, _levels(number, trials, values), rng) if low < high else ():
        value = space.value(position)
        if value not in seen and _is_a_move(number, value):
            seen.add(value)
            yield value


def _interval(number: Hyperparameter, reach: float) -> tuple[float, float]:
    """Return the ends of the part of the axis that is searched; an empty one where the value is none of its space."""
    space, centre = number.space, number.value
    if space.scale == "complement" and not 0 <= centre < 1:
        return 0.0, 0.0
    if space.scale in ("log", "log2") and centre <= 0:  # switched off: anything may be right
        centre, reach = math.sqrt(space.low * space.high), max(reach, SETTINGS.wide_reach)
    middle, width = space.position(centre), max(reach, 1.0) * space.stride
    lowest, highest = space.position(min(space.low, centre)), space.position(max(space.high, centre))
    return max(middle - width, lowest), min(middle + width, highest)


def _is_a_move(number: Hyperparameter, value: float) -> bool:
    if number.space.integer or number.value <= 0:
        return value != number.value
    distance = abs(number.space.position(value) - number.space.position(number.value))
    return distance >= SETTINGS.min_move * number.space.stride


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
                known = {"position": position}
                study.add_trial(optuna.trial.create_trial(params=known, distributions=space, value=level))
        return [study.ask(space).params["position"] for _ in range(SETTINGS.values_a_constant)]
