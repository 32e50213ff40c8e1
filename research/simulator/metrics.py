"""Measures simulated nights: one night in numbers, and means with intervals over many nights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from research.core.records import Estimate
from research.simulator.night import SimulatedNight

Z95 = 1.96
"""Half width of a 95 % interval in standard errors: nights are counted in hundreds."""


class Measures(NamedTuple):
    """One night in numbers. Gains are in bpb, higher is better."""

    shipped_bpb: float  # true gain of the shipped configuration
    claimed_bpb: float  # the gain that the policy claims for it
    keeps: float  # changes that were kept
    false_keeps: float  # those of them whose true effect was not positive
    replicate_share: float  # share of the GPU time that was spent on replicates
    crashes: float
    runs: float
    stopped: float  # runs that were stopped
    better: float  # runs that would have scored lower than the tip's with the same seed
    better_stopped: float  # those of them that were stopped


def measure(night: SimulatedNight) -> Measures:
    """Return the measures of one night."""
    return Measures(
        shipped_bpb=night.shipped_gain_bpb,
        claimed_bpb=night.claimed_gain_bpb,
        keeps=len(night.keep_effects_bpb),
        false_keeps=sum(effect >= 0 for effect in night.keep_effects_bpb),
        replicate_share=sum(run.gpu_s for run in night.history if run.replicate_of is not None) / night.spent_s,
        crashes=sum(run.crash is not None for run in night.history),
        runs=len(night.history),
        stopped=sum(run.stopped_at is not None for run in night.history),
        better=night.better,
        better_stopped=night.better_stopped,
    )


def mean(values: Sequence[float]) -> Estimate:
    """Return the mean of many nights with its 95 % interval."""
    n = len(values)
    middle = sum(values) / n
    if n < 2:
        return Estimate(middle, -math.inf, math.inf, n)
    half = Z95 * math.sqrt(sum((value - middle) ** 2 for value in values) / (n - 1) / n)
    return Estimate(middle, middle - half, middle + half, n)


def ratio(above: Sequence[float], below: Sequence[float]) -> Estimate:
    """Return the ratio of two sums over the same nights with its 95 % interval (linearised; paired by night)."""
    n, total = len(above), sum(below)
    if total == 0:
        return Estimate(math.nan, math.nan, math.nan, n)
    middle = sum(above) / total
    spread = mean([(a - middle * b) * n / total for a, b in zip(above, below, strict=True)])
    return Estimate(middle, middle + spread.low - spread.mean, middle + spread.high - spread.mean, n)


@dataclass(frozen=True)
class PolicyRow:
    """One policy over many nights; intervals are 95 %, those of comparisons paired by night.

    "Better" runs would have scored lower than the tip's with the same seed.
    """

    policy: str
    shipped_bpb: Estimate  # true gain of the shipped configurations, in bpb
    gain_ratio: Estimate  # that gain as a multiple of the gain of the policy that it is compared with
    gain_difference: Estimate  # the difference of the two, in bpb
    keeps: Estimate  # changes kept a night
    false_share: Estimate  # share of kept changes whose true effect was not positive
    claim_ratio: Estimate  # claimed over true gain
    replicate_share: Estimate  # share of the GPU time spent on replicates
    crashes: Estimate  # crashes a night
    runs: Estimate  # runs a night
    stopped: Estimate  # runs stopped a night
    better_stopped_share: Estimate  # share of the better runs that were stopped


def policy_row(policy: str, nights: Sequence[Measures], others: Sequence[Measures]) -> PolicyRow:
    """Summarize a policy's nights, paired with those of another policy on the same landscapes and seeds."""

    def each(name: str, among: Sequence[Measures] = nights) -> list[float]:
        return [getattr(night, name) for night in among]

    shipped, against = each("shipped_bpb"), each("shipped_bpb", others)
    return PolicyRow(
        policy=policy,
        shipped_bpb=mean(shipped),
        gain_ratio=ratio(shipped, against),
        gain_difference=mean([a - b for a, b in zip(shipped, against, strict=True)]),
        keeps=mean(each("keeps")),
        false_share=ratio(each("false_keeps"), each("keeps")),
        claim_ratio=ratio(each("claimed_bpb"), shipped),
        replicate_share=mean(each("replicate_share")),
        crashes=mean(each("crashes")),
        runs=mean(each("runs")),
        stopped=mean(each("stopped")),
        better_stopped_share=ratio(each("better_stopped"), each("better")),
    )
