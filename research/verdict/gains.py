"""The one difference that is shown for a change, and for all that stands against the baseline: what verdicts believe.

Raw means of what was kept say too much: it was kept for looking good. A verdict's difference is free of that, so
headline, tables and charts take theirs from here, and what stands is the sum of the steps that led to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from research.core.records import Estimate, Judged, Verdict
from research.verdict.comparable import Keys
from research.verdict.models import Known, Memory
from research.verdict.recall import baseline_of


@dataclass(frozen=True)
class Gain:
    """A configuration's believed change of val_bpb (below zero is better), against which other, and P(better)."""

    against: str
    change: Estimate
    p_better: float | None


def gains_of(history: Sequence[Judged], verdicts: Sequence[Verdict]) -> Mapping[str, Gain]:
    """Configuration to what is believed of its change.

    Args:
        history: The runs, in order.
        verdicts: Every verdict on them, oldest first.
    """
    keys = Keys(item.run for item in history)
    runs = {item.run.run: item.run for item in history}
    found: dict[str, Gain] = {}
    kept: set[str] = set()
    for verdict in verdicts:
        run = runs.get(verdict.run)
        if run is None:
            continue
        key = keys.of(run)
        other, before = keys.of_commit(verdict.incumbent), found.get(key)
        # What stands is measured again against what it took the place of. An older one is weighed against what came
        # after it, which is no step that led to it.
        against = before.against if before and other == key else other
        is_step = against != key if key not in kept else before is not None and against == before.against
        if verdict.difference is not None and is_step:
            found[key] = Gain(against, verdict.difference, verdict.p_better)
        if verdict.decision == "keep":
            kept.add(key)
    return found


def against_baseline(one: Known, memory: Memory, gains: Mapping[str, Gain]) -> Estimate | None:
    """What is believed of a configuration's val_bpb minus the baseline's; None for the baseline and without both.

    The steps between them added up. What is not known of them together is no more than for the two ends alone, since a
    value in between counts once for and once against. Where no verdict says (the greedy rule believes nothing), the
    difference of the two values.
    """
    base = baseline_of(memory)
    if base is None or base.key == one.key:
        return None
    ends = apart(one.estimate, base.estimate)
    steps: list[Estimate] = []
    met, key = {one.key}, one.key
    while key != base.key:
        step = gains.get(key)
        if step is None or step.against in met:
            return ends
        steps.append(step.change)
        met.add(key := step.against)
    if len(steps) == 1:
        return steps[0]
    reach = math.hypot(*(step.high - step.low for step in steps)) / 2
    if ends is not None:
        reach = min(reach, (ends.high - ends.low) / 2)
    mean = sum(step.mean for step in steps)
    return Estimate(mean, mean - reach, mean + reach, ends.n if ends else steps[0].n)


def apart(one: Estimate | None, other: Estimate | None) -> Estimate | None:
    """One value minus another, their spreads taken together; None without both."""
    if one is None or other is None:
        return None
    mean, reach = one.mean - other.mean, math.hypot(one.high - one.low, other.high - other.low) / 2
    return Estimate(mean, mean - reach, mean + reach, one.n + other.n)
