"""Decides whether a configuration is kept, replicated, investigated or discarded, by the posterior of its difference.

The judge of real runs and the simulated policy call the same function, so that simulations test the real rule.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from research.core.records import Decision, Estimate
from research.core.settings import SETTINGS, Settings
from research.core.text import chance, listed
from research.verdict.belief import Belief


class Judgement(NamedTuple):
    """A decision about a configuration, and its reasons."""

    decision: Decision
    p_better: float  # P(better than the incumbent)
    difference: Estimate  # val_bpb minus the incumbent's, below zero is better
    why: str  # one sentence


def weigh(
    belief: Belief,
    candidate: Hashable,
    incumbent: Hashable,
    *,
    statements_net: int = 0,
    largest_gain: float = 0.0,
    settings: Settings = SETTINGS,
) -> Judgement:
    """Decide about a configuration against the one that it would replace.

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
    seeds = len(belief.shared_seeds(candidate, incumbent))
    if belief.n(candidate) > settings.max_seeds:  # run often enough, whatever seeds the incumbent has
        seeds = max(seeds, settings.max_seeds)
    usual = max(settings.min_suspect_bpb, settings.suspect_share * belief.mean(incumbent))
    is_suspect = -difference.mean > max(settings.suspect_factor * largest_gain, usual)

    def decide() -> tuple[Decision, str]:
        if is_suspect and belief.n(candidate) == 1:
            return "investigate", "a far larger gain than any so far, so it is measured again first"
        if seeds >= settings.max_seeds and p_better >= settings.keep_p:
            return "keep", f"better on {seeds} seeds together"
        if p_better >= settings.sure_p:
            return "keep", "better, as good as certainly"
        margin = settings.simpler_margin_bpb
        if statements_net < 0 and belief.p_better(candidate, incumbent, -margin) >= settings.simpler_p:
            return "keep", f"as good within {margin:.4f} and {-statements_net} statements shorter"
        if p_better < settings.confirm_p:
            return "discard", "not better, as far as the runs tell"
        if seeds < settings.max_seeds:
            return "replicate", "too close to call on one seed, another seed decides"
        return "discard", f"still undecided after {seeds} seeds, so the gain is too small to matter"

    decision, why = decide()
    return Judgement(decision, p_better, difference, f"{compared(belief, candidate, incumbent)}: {why}")


def compared(belief: Belief, candidate: Hashable, incumbent: Hashable) -> str:
    """Return a difference in words, with the seeds on which it was measured and P(better)."""
    shared = belief.shared_seeds(candidate, incumbent)
    if shared:
        on = f"compared on {listed('seed', shared)}"
    elif belief.common(candidate, incumbent) is not None:
        on = "each compared with what both were made from"
    else:
        on = "measured on no seed of the best so far"
    difference = belief.difference(candidate, incumbent).in_words("+")
    return f"{difference}, {on}, P(better) {chance(belief.p_better(candidate, incumbent))}"
