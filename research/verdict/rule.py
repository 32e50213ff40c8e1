"""Decides about a configuration: keep, replicate, investigate or discard, from the posterior of its difference.

The judge of real runs and the simulated policy call this one function, so what was chosen in simulation is what
decides at night.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from research.core.records import Decision, Estimate
from research.core.settings import SETTINGS, Settings
from research.core.text import chance, listed
from research.verdict.belief import Belief


@dataclass(frozen=True)
class Judgement:
    """What the rule decides about a configuration.

    Attributes:
        decision: What to do with it.
        p_better: P(its value is lower than the incumbent's).
        difference: Its value minus the incumbent's, in bpb, with a 95 % interval and the runs of both.
        why: One sentence.
    """

    decision: Decision
    p_better: float
    difference: Estimate
    why: str


def weigh(
    belief: Belief,
    candidate: Hashable,
    incumbent: Hashable,
    *,
    statements_net: int = 0,
    largest_gain: float = 0.0,
    settings: Settings = SETTINGS,
) -> Judgement:
    """Decide about a configuration that has at least one score.

    Args:
        belief: The posterior of all runs of the contract.
        candidate: The configuration to decide about.
        incumbent: The one that it would replace.
        statements_net: Statements that the candidate has more than its parent; below zero it is shorter.
        largest_gain: Largest gain kept so far, in bpb, above zero.
        settings: The thresholds.

    Raises:
        KeyError: if one of the two has no score.
    """
    difference = belief.difference(candidate, incumbent)
    p_better = belief.p_better(candidate, incumbent)
    p_as_good = belief.p_better(candidate, incumbent, -settings.simpler_margin_bpb)
    seeds = len(belief.shared_seeds(candidate, incumbent))
    if belief.n(candidate) > settings.max_seeds:  # run often enough, whatever seeds the incumbent has
        seeds = max(seeds, settings.max_seeds)
    usual = max(settings.min_suspect_bpb, settings.suspect_share * belief.mean(incumbent))
    suspect = -difference.mean > max(settings.suspect_factor * largest_gain, usual)
    decision, why = _decide(p_better, p_as_good, suspect, seeds, belief.n(candidate), statements_net, settings)
    return Judgement(decision, p_better, difference, f"{compared(belief, candidate, incumbent)}: {why}")


def compared(belief: Belief, candidate: Hashable, incumbent: Hashable) -> str:
    """Say what a difference is and on which seeds it was measured."""
    change, p_better = belief.difference(candidate, incumbent), belief.p_better(candidate, incumbent)
    shared = belief.shared_seeds(candidate, incumbent)
    on = f"compared on {listed('seed', shared)}" if shared else "measured on no seed of the best so far"
    return f"{change.mean:+.6f} [{change.low:+.6f}, {change.high:+.6f}], {on}, P(better) {chance(p_better)}"


def _decide(
    p_better: float, p_as_good: float, suspect: bool, seeds: int, runs: int, statements_net: int, settings: Settings
) -> tuple[Decision, str]:
    """Return the decision and its reason."""
    if suspect and runs == 1:
        return "investigate", "a far larger gain than any so far, so it is measured again first"
    if seeds >= settings.max_seeds and p_better >= settings.keep_p:
        return "keep", f"better on {seeds} seeds together"
    if p_better >= settings.sure_p:
        return "keep", "better, as good as certainly"
    if statements_net < 0 and p_as_good >= settings.simpler_p:
        return "keep", f"as good within {settings.simpler_margin_bpb:.4f} and {-statements_net} statements shorter"
    if seeds < settings.max_seeds and p_better >= settings.confirm_p:
        return "replicate", "too close to call on one seed, another seed decides"
    if seeds >= settings.max_seeds and p_better >= settings.confirm_p:
        return "discard", f"still undecided after {seeds} seeds, so the gain is too small to matter"
    return "discard", "not better, as far as the runs tell"
