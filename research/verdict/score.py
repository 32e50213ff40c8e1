"""The discovery score: six named terms that say what a run was worth to the search beyond keep or discard.

It is shown in every review; it decides nothing and pays nobody. Its terms are those of the older control plane with
their faults mended: a failure earns nothing, being worse never pays, deleting is bounded, and complexity is counted in
statements of the syntax tree. docs/how-it-decides.md says where and why.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from research.core.records import Run, Verdict
from research.core.settings import SETTINGS
from research.verdict import lineage

if TYPE_CHECKING:  # it loads numpy, which a review on record is read without
    from research.verdict.comparison import Comparison

Niche = Callable[[Run], str]
"""Names the niche of a run."""

UNPROMISING = frozenset({"flat", "uncertain", "risky"})
"""Predictions that do not expect a gain."""


@dataclass(frozen=True)
class Facts:
    """What the terms are made of.

    Attributes:
        counted: Whether there is a score, and nothing speaks against it.
        gain: Estimated gain over the incumbent in bpb, above zero is better; 0 for the baseline.
        p_near: P(at most a near miss worse than the incumbent); 1 for the baseline.
        kept: Whether the verdict is keep.
        niche_tries: Earlier runs in its niche.
        category_tries: Earlier runs that changed the same kind of thing.
        emitter_tries: Earlier runs of its emitter.
        stall: Runs since the last keep.
        predicted: What was predicted before the run, None if nothing was.
        statements_added: Statements of the syntax tree that the change added.
        statements_removed: Statements that it removed.
        peak_vram_mb: Its peak memory in MiB, None if unknown.
        baseline_vram_mb: The baseline's.
    """

    counted: bool
    gain: float = 0.0
    p_near: float = 1.0
    kept: bool = False
    niche_tries: int = 0
    category_tries: int = 0
    emitter_tries: int = 0
    stall: int = 0
    predicted: str | None = None
    statements_added: int = 0
    statements_removed: int = 0
    peak_vram_mb: float | None = None
    baseline_vram_mb: float | None = None


def fitness(facts: Facts) -> float:
    """What the estimated gain is worth; a shorter program that is kept as equal earns a fixed sum."""
    worth = SETTINGS.fitness_per_bpb * max(0.0, facts.gain)
    if facts.kept and facts.statements_removed > facts.statements_added:
        return max(worth, SETTINGS.fitness_simpler)
    return worth


def novelty(facts: Facts) -> float:
    """How new niche, kind of change and emitter are, as far as the run is no clear loss."""
    new = SETTINGS.novelty_niche * _rare(facts.niche_tries) + SETTINGS.novelty_category * _rare(facts.category_tries)
    return facts.p_near * (new + SETTINGS.novelty_emitter * _rare(facts.emitter_tries))


def information(facts: Facts) -> float:
    """How much is learned: more of a kind of change rarely tried, and in a plateau; nothing from a clear loss."""
    plateau = SETTINGS.information_stall if facts.stall >= SETTINGS.information_stall_from else 0.0
    return facts.p_near * (SETTINGS.information_category * _rare(facts.category_tries) + plateau)


def surprise(facts: Facts) -> float:
    """A kept gain against a stated prediction; a promise that was not kept is worth nothing."""
    return SETTINGS.surprise_win if facts.kept and facts.gain > 0 and facts.predicted in UNPROMISING else 0.0


def complexity(facts: Facts) -> float:
    """What the program's growth in statements costs; below zero for a shrinking one, bounded and not for a loss."""
    net = facts.statements_added - facts.statements_removed
    if net >= 0:
        return SETTINGS.complexity_per_statement * net
    return -facts.p_near * min(SETTINGS.max_deletion, SETTINGS.deletion_per_statement * -net)


def vram(facts: Facts) -> float:
    """What more peak memory than the baseline's costs; 0 where one is unknown."""
    if not facts.peak_vram_mb or not facts.baseline_vram_mb:
        return 0.0
    return SETTINGS.vram_share * max(0.0, facts.peak_vram_mb / facts.baseline_vram_mb - 1.0)


TERMS: dict[str, Callable[[Facts], float]] = {
    "fitness": fitness,
    "novelty": novelty,
    "information": information,
    "surprise": surprise,
    "complexity": complexity,
    "vram": vram,
}
"""The terms by name; the last two are costs."""
COSTS = ("complexity", "vram")
TOTAL = "score"
"""Name of their sum, the costs taken off."""


def score(facts: Facts) -> dict[str, float]:
    """Every term and the score, to four decimals; all zero for a run whose score does not count."""
    terms = {name: round(term(facts), 4) + 0.0 if facts.counted else 0.0 for name, term in TERMS.items()}
    total = sum(-value if name in COSTS else value for name, value in terms.items())
    return {**terms, TOTAL: round(total, 4) + 0.0}


def facts_of(case: Comparison, verdict: Verdict, niche: Niche, predicted: str | None = None) -> Facts:
    """What a judged run's terms are made of.

    Args:
        case: The run among those it was compared with.
        verdict: The verdict on it.
        niche: Names the niche of a run.
        predicted: What its plan predicted.
    """
    run = case.run
    if not lineage.is_evidence(run):
        return Facts(counted=False)
    began = lineage.baseline(case.past)
    past = [item.run for item in case.past]
    return Facts(
        counted=True,
        gain=0.0 if verdict.difference is None or verdict.decision == "investigate" else -verdict.difference.mean,
        p_near=_p_near(case),
        kept=verdict.decision == "keep" and not verdict.baseline,
        niche_tries=sum(niche(other) == niche(run) for other in past),
        category_tries=sum(other.category == run.category for other in past),
        emitter_tries=sum(other.emitter == run.emitter for other in past),
        stall=lineage.runs_since_keep(case.past),
        predicted=predicted,
        statements_added=run.statements_added,
        statements_removed=run.statements_removed,
        peak_vram_mb=run.peak_vram_mb,
        baseline_vram_mb=began.peak_vram_mb if began else None,
    )


def _rare(tries: int) -> float:
    return 1.0 / math.sqrt(tries + 1)


def _p_near(case: Comparison) -> float:
    """P(the configuration is at most a near miss worse than what it competes with)."""
    other = case.before if case.is_tip else case.incumbent
    if other is None or case.keys.of(other) == case.key:
        return 1.0
    return case.belief.p_better(case.key, case.keys.of(other), -SETTINGS.near_miss_bpb)
