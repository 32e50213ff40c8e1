"""Thresholds of the room search: plans, phases, what is measured again, credit, emitters and their briefs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, init=False, repr=False, eq=False)
class SearchSettings:
    """The thresholds that the room search decides by."""

    # Plans ------------------------------------------------------------------------------------------------------------
    replay_runs: int = 400
    """Latest runs that a plan is made from: effects are learned from 300, and an emitter's credit halves in 23."""
    in_flight_stride: int = 1_000_003
    """Distance of the seeds that plans made side by side draw from: a prime, so that night seeds don't meet them."""
    ideas_before_replicates: int = 3
    """Ideas that a night tries before it measures anything twice: five runs then try at least three ideas."""
    repeat_after_runs: int = 12
    """Runs from which one seed is run twice, once, to tell repeats from seeds; a shorter night takes the prior."""
    threshold_margin_bpb: float = 0.0005
    """Margin of the policy "threshold": about one standard deviation of a run at the published size."""
    paired_margin_bpb: float = 0.0007
    """Margin of the policy "paired", on the mean of two seeds: on tuning nights about 10 % of its keeps are false (20 %
    at 0.0002, 15 % at 0.0004, 8 % at 0.0008), and it ships 1.04 times greedy's gain, whatever the margin."""

    # Phases and near misses -------------------------------------------------------------------------------------------
    near_miss_age: int = 25
    """Experiments after which a near miss is too old to be combined: the tip has moved on."""
    archive_stall: int = 20
    """Experiments without an improvement after which an archive parent has its turn: one idea in twenty helps."""
    archive_share: float = 0.1
    """Share of experiments that then start from the archive: a bounded price for leaving a basin."""
    archive_reach: int = 5
    """Places in the order of belief from which archive parents are drawn; later ones lie too far back."""
    recombine_share: float = 0.1
    """Share of experiments that go to the recombinator while the phase is recombine, so that others have their turn."""

    # Credit -----------------------------------------------------------------------------------------------------------
    min_cost: float = 0.5
    """Cost of the shortest crash, in usual runs: thinking of it took its time as well."""
    max_cost: float = 2.0
    """Cost of the longest run, in usual runs: nothing runs much longer than its budget."""
    credit_fade: float = 0.97
    """Share of a run's weight that is left after the next one: half after 23 runs, for skills change within a night."""
    max_credit: float = 4.0
    """Largest credit of one run, in recent averages: one lucky hit is no skill."""
    emitter_start: float = 0.7
    """Share of a free agent's gain that an order is assumed to leave: random orders leave 83 % in simulation."""
    emitter_prior_n: float = 6.0
    """Weight of that assumption, in runs."""
    emitter_floor: float = 0.04
    """Share of orders that go to the emitter with the fewest runs lately, whatever is known of it: each stays alive."""
    order_p: float = 0.9
    """P(ordering an emitter brings more than leaving the agent free) from which it is ordered."""

    # Emitters and briefs ----------------------------------------------------------------------------------------------
    looks_an_anomaly: int = 2
    """Looks that one anomaly is worth before it is left alone."""
    fashion_share: float = 0.5
    """Share of the latest experiments from which one kind of change is a fashion: half of them."""
    brief_chars: int = 2_200
    """Longest brief for an agent: about 550 tokens, facts first."""
    brief_neighbours: int = 5
    """Earlier results nearby that a brief tells: what an agent can weigh at once."""
    quote_subject_chars: int = 90
    """Length at which text of others (subjects, signatures) is cut in a brief."""
