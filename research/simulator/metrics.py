"""What a simulated night was worth: measures of one night, and means with intervals over many, paired by landscape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from research.core.records import Estimate
from research.simulator.night import Night

Z95 = 1.96
"""Half width of a 95 % interval in standard errors: nights are counted in hundreds."""
SECONDS_A_MINUTE = 60.0


@dataclass(frozen=True)
class Measures:
    """One night in numbers; gains in bpb, higher is better.

    Attributes:
        shipped_bpb: True gain of the shipped configuration over the baseline.
        tip_bpb: True gain of the tip at the end.
        claimed_bpb: Gain that the policy claims for what it ships.
        regret: What the tip lacked of the reachable gain, over the night's GPU time, in bpb times minutes.
        keeps: Changes kept.
        false_keeps: Those of them whose true effect was not positive.
        niches: Category and growth pairs in which something ran to its end.
        replicate_share: Share of the GPU time spent on replicates.
        crashes: Runs that crashed.
        gpu_minutes: GPU time of the night.
    """

    shipped_bpb: float
    tip_bpb: float
    claimed_bpb: float
    regret: float
    keeps: float
    false_keeps: float
    niches: float
    replicate_share: float
    crashes: float
    gpu_minutes: float


def measure(night: Night) -> Measures:
    """The measures of one night."""
    reach = night.landscape.reachable()
    gpu_s = sum(trial.gpu_s for trial in night.trials)
    lacking = zip(night.trials[1:], night.tip_gains_bpb, strict=False)  # a run is paid for by the tip before it
    niches = {
        (t.category, (t.additions > t.deletions) - (t.additions < t.deletions)) for t in night.trials if not t.crash
    }
    return Measures(
        shipped_bpb=night.shipped_gain_bpb,
        tip_bpb=night.tip_gains_bpb[-1],
        claimed_bpb=night.claimed_gain_bpb,
        regret=sum((reach - gain) * trial.gpu_s / SECONDS_A_MINUTE for trial, gain in lacking),
        keeps=len(night.keeps),
        false_keeps=sum(keep.effect_bpb >= 0 for keep in night.keeps),
        niches=len(niches - {(None, 0)}),
        replicate_share=sum(t.gpu_s for t in night.trials if t.replicate_of is not None) / gpu_s,
        crashes=sum(t.crash is not None for t in night.trials),
        gpu_minutes=gpu_s / SECONDS_A_MINUTE,
    )


def mean(values: Sequence[float]) -> Estimate:
    """Mean of many nights with its 95 % interval."""
    n = len(values)
    middle = sum(values) / n
    if n < 2:
        return Estimate(middle, -math.inf, math.inf, n)
    half = Z95 * math.sqrt(sum((value - middle) ** 2 for value in values) / (n - 1) / n)
    return Estimate(middle, middle - half, middle + half, n)


def ratio(above: Sequence[float], below: Sequence[float]) -> Estimate:
    """Ratio of two sums over the same nights with its 95 % interval (linearised; paired)."""
    n, total = len(above), sum(below)
    if total == 0:
        return Estimate(math.nan, math.nan, math.nan, n)
    middle = sum(above) / total
    spread = mean([(a - middle * b) * n / total for a, b in zip(above, below, strict=True)])
    return Estimate(middle, middle + spread.low - spread.mean, middle + spread.high - spread.mean, n)


@dataclass(frozen=True)
class Row:
    """One policy over many nights; intervals are 95 %.

    Attributes:
        policy: Its name.
        values: Every measure's mean, by the names of Measures.
        gain_over_first: Paired difference of the shipped gain against the first policy, in bpb.
        gain_ratio: The same as a ratio.
        false_share: Share of kept changes whose true effect was not positive.
        overclaim: Claimed minus true gain, in bpb.
        claim_ratio: Claimed over true gain.
    """

    policy: str
    values: dict[str, Estimate]
    gain_over_first: Estimate
    gain_ratio: Estimate
    false_share: Estimate
    overclaim: Estimate
    claim_ratio: Estimate


def row(policy: str, nights: Sequence[Measures], first: Sequence[Measures]) -> Row:
    """Aggregates a policy's nights, paired with those of the first policy on the same landscapes and seeds."""
    names = [f.name for f in fields(Measures)]
    columns = dict(zip(names, zip(*(astuple(night) for night in nights), strict=True), strict=True))
    shipped, against = columns["shipped_bpb"], [night.shipped_bpb for night in first]
    return Row(
        policy=policy,
        values={name: mean(column) for name, column in columns.items()},
        gain_over_first=mean([a - b for a, b in zip(shipped, against, strict=True)]),
        gain_ratio=ratio(shipped, against),
        false_share=ratio(columns["false_keeps"], columns["keeps"]),
        overclaim=mean([c - s for c, s in zip(columns["claimed_bpb"], shipped, strict=True)]),
        claim_ratio=ratio(columns["claimed_bpb"], shipped),
    )
