"""Measures what simulated nights were worth: one night in numbers, and means with intervals over many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from research.core.records import Estimate
from research.simulator.night import Night

Z95 = 1.96
"""Half width of a 95 % interval in standard errors: nights are counted in hundreds."""


@dataclass(frozen=True)
class Measures:
    """One night in numbers; gains in bpb, higher is better.

    Attributes:
        shipped_bpb: True gain of the shipped configuration over the baseline.
        claimed_bpb: Gain that the policy claims for what it ships.
        keeps: Changes kept.
        false_keeps: Those of them whose true effect was not positive.
        replicate_share: Share of the GPU time spent on replicates.
        crashes: Runs that crashed.
        runs: Runs in all.
        stopped: Runs that were stopped.
        better: Runs that came, or would have come, to a lower score than the tip's with the same seed.
        better_stopped: Those of them that were stopped.
    """

    shipped_bpb: float
    claimed_bpb: float
    keeps: float
    false_keeps: float
    replicate_share: float
    crashes: float
    runs: float
    stopped: float
    better: float
    better_stopped: float


def measure(night: Night) -> Measures:
    """Return the measures of one night."""
    replicates_s = sum(run.gpu_s for run in night.history if run.replicate_of is not None)
    return Measures(
        shipped_bpb=night.shipped_gain_bpb,
        claimed_bpb=night.claimed_gain_bpb,
        keeps=len(night.keeps),
        false_keeps=sum(keep.effect_bpb >= 0 for keep in night.keeps),
        replicate_share=replicates_s / sum(run.gpu_s for run in night.history),
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
class Row:
    """One policy over many nights; intervals are 95 %, and paired by night where it is compared.

    Attributes:
        policy: Its name.
        shipped_bpb: True gain of what it ships, in bpb.
        gain_ratio: That gain as a multiple of the gain of the policy that it is compared with.
        gain_difference: The difference of the two, in bpb.
        keeps: Changes kept a night.
        false_share: Share of kept changes whose true effect was not positive.
        claim_ratio: Claimed over true gain.
        replicate_share: Share of the GPU time spent on replicates.
        crashes: Crashes a night.
        runs: Runs a night.
        stopped: Runs stopped a night.
        better_stopped_share: Share of the runs that would have scored lower than the tip's with the same seed that were
            stopped.
    """

    policy: str
    shipped_bpb: Estimate
    gain_ratio: Estimate
    gain_difference: Estimate
    keeps: Estimate
    false_share: Estimate
    claim_ratio: Estimate
    replicate_share: Estimate
    crashes: Estimate
    runs: Estimate
    stopped: Estimate
    better_stopped_share: Estimate


def row(policy: str, nights: Sequence[Measures], others: Sequence[Measures]) -> Row:
    """Summarize a policy's nights, paired with those of another policy on the same landscapes and seeds."""
    shipped, claimed = [night.shipped_bpb for night in nights], [night.claimed_bpb for night in nights]
    against, keeps = [night.shipped_bpb for night in others], [night.keeps for night in nights]
    return Row(
        policy=policy,
        shipped_bpb=mean(shipped),
        gain_ratio=ratio(shipped, against),
        gain_difference=mean([a - b for a, b in zip(shipped, against, strict=True)]),
        keeps=mean(keeps),
        false_share=ratio([night.false_keeps for night in nights], keeps),
        claim_ratio=ratio(claimed, shipped),
        replicate_share=mean([night.replicate_share for night in nights]),
        crashes=mean([night.crashes for night in nights]),
        runs=mean([night.runs for night in nights]),
        stopped=mean([night.stopped for night in nights]),
        better_stopped_share=ratio([night.better_stopped for night in nights], [night.better for night in nights]),
    )
