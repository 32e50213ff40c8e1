"""The rule that decides: from the evidence for a change to keep, replicate, investigate or discard.

The judge of real runs and the simulated policy ask this one function, so what was tuned in simulation is what decides
at night. It weighs a change's gain against the distribution of all effects (research.verdict.effects), and calls for
another run only between the two probabilities that decide by themselves (Wald's sequential test, 1945, with a limit).
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

from research.core.records import Decision, Estimate
from research.core.settings import SETTINGS, Settings
from research.verdict.beliefs import Beliefs
from research.verdict.distributions import t_quantile
from research.verdict.effects import Belief, noise_sd, normal_cdf, p_below_zero
from research.verdict.evidence import Evidence


@dataclass(frozen=True)
class Weighed:
    """What the rule decides about a configuration.

    Attributes:
        decision: What to do with it.
        p_better: P(its true value is lower than the incumbent's).
        difference: Its believed true value minus the incumbent's, in bpb, with a 95 % interval and the runs of both.
        why: One sentence.
    """

    decision: Decision
    p_better: float
    difference: Estimate
    why: str


def weigh(
    beliefs: Beliefs,
    candidate: Hashable,
    incumbent: Hashable,
    *,
    statements_net: int = 0,
    largest_gain: float = 0.0,
    settings: Settings = SETTINGS,
) -> Weighed:
    """Decides about a configuration that has at least one score.

    Args:
        beliefs: All runs of the contract, and what they say of values and effects. With the incumbent's ancestors the
            luck that it was chosen for is taken off its value, with its other children the luck that they deny.
        candidate: The configuration to decide about.
        incumbent: The one that stands.
        statements_net: Statements that the candidate has more than its parent; below zero it is shorter.
        largest_gain: Largest gain believed so far, in bpb, above zero.
        settings: The thresholds.

    Raises:
        KeyError: if one of the two has no run.
    """
    evidence, effects = beliefs.evidence, beliefs.effects
    runs = evidence.n(candidate)
    error = noise_sd(evidence) / math.sqrt(runs)
    own_p = 1.0
    if beliefs.parents.get(candidate, incumbent) == incumbent:
        gap = beliefs.over(candidate, incumbent)
        effect, p_better = effects.posterior(gap), effects.p_better(gap)
    else:  # made from something else: its own line says what to expect of it
        effect = beliefs.apart(candidate, incumbent)
        gap = (effect.mean, effect.sd)
        p_better = p_below_zero(effect)
        own_p = effects.p_better(beliefs.gap(candidate)) if beliefs.parent(candidate) is not None else 1.0
    difference = _estimate(effect, evidence, runs + evidence.n(incumbent))
    p_as_good = normal_cdf((settings.simpler_margin_bpb - gap[0]) / max(gap[1], settings.rounding_bpb))
    suspect = -gap[0] > max(settings.suspect_factor * largest_gain, settings.min_suspect_bpb)
    noisy = evidence.noise().n < settings.min_noise_n or (
        error > settings.replicate_ratio * effects.size and may_repeat(evidence, settings)
    )
    decision, why = _decide(p_better, own_p, p_as_good, suspect, noisy, runs, statements_net, settings)
    return Weighed(decision, p_better, difference, f"{_told(difference, p_better, runs)}: {why}")


def may_repeat(evidence: Evidence, settings: Settings = SETTINGS) -> bool:
    """Whether replicates took less than the share of all runs that they may take."""
    repeats = evidence.noise().n
    return repeats < settings.replicates_share * (repeats + len(evidence))


def _decide(
    p_better: float,
    own_p: float,
    p_as_good: float,
    suspect: bool,
    noisy: bool,
    runs: int,
    statements_net: int,
    settings: Settings,
) -> tuple[Decision, str]:
    """The decision and its reason."""
    if suspect and runs == 1:
        return "investigate", "far more than anything seen so far, so it is measured again before it is believed"
    if p_better >= settings.keep_p and own_p >= settings.own_keep_p:
        return "keep", "better, as good as certainly" if p_better >= settings.interval_share else "probably better"
    if statements_net < 0 and p_as_good >= settings.simpler_p:
        return "keep", f"as good within {settings.simpler_margin_bpb:.4f} and {-statements_net} statements shorter"
    if p_better >= settings.keep_p:
        return "discard", f"better, but by what it was made from (P(its own change is) {own_p:.2f})"
    if p_better < settings.discard_p:
        return "discard", "not better, as far as one can tell"
    if noisy and runs < settings.max_replicates:
        return "replicate", "too close to call, another seed decides"
    if runs > 1 and p_better >= settings.tie_keep_p:
        return "keep", f"probably better after {runs} runs"
    if runs > 1:
        return "discard", f"still undecided after {runs} runs, so the gain is too small to matter"
    return "discard", "too close to call, and a new idea is worth more than another seed"


def _estimate(effect: Belief, evidence: Evidence, n: int) -> Estimate:
    """An effect with its 95 % interval; Student's t allows for what is not known of the noise."""
    reach = effect.sd * t_quantile(0.5 + 0.5 * SETTINGS.interval_share, evidence.noise().dof)
    return Estimate(effect.mean, effect.mean - reach, effect.mean + reach, n)


def _told(difference: Estimate, p_better: float, runs: int) -> str:
    """The evidence in words."""
    of = "1 run" if runs == 1 else f"{runs} runs"
    return f"{difference.mean:+.6f} [{difference.low:+.6f}, {difference.high:+.6f}] from {of}, P(better) {p_better:.2f}"
