"""Computes the discovery score: six named terms of what a run was worth to the search beyond keep or discard.

It is shown in every review, and decides nothing. A failure scores nothing, a worse result never adds, what deleting
code adds is bounded, and complexity is counted in statements of the syntax tree. docs/how-it-decides.md says why.
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

Niche = Callable[[Run], str]  # names the niche of a run

UNPROMISING = frozenset({"flat", "uncertain", "risky"})  # predictions that do not expect a gain
COSTS = ("complexity", "vram")  # the terms that are taken off
TOTAL = "score"  # name of the sum of all terms


@dataclass(frozen=True)
class ScoreInputs:
    """The values that the terms are computed from."""

    counted: bool  # whether there is a score that is trusted
    gain: float = 0.0  # estimated gain over the incumbent in bpb, above zero is better; 0 for the baseline
    p_near: float = 1.0  # P(no worse than the incumbent by more than a near miss is); 1 for the baseline
    kept: bool = False
    niche_tries: int = 0  # earlier runs in its niche
    category_tries: int = 0  # earlier runs of its category
    emitter_tries: int = 0  # earlier runs of its emitter
    stall: int = 0  # runs since the last keep
    predicted: str | None = None  # the plan's prediction, such as "risky"
    statements_added: int = 0
    statements_removed: int = 0
    peak_vram_mb: float | None = None  # MiB
    baseline_vram_mb: float | None = None  # the baseline's peak, in MiB


def score(facts: ScoreInputs) -> dict[str, float]:
    """Return every term and the score, to four decimals; all zero for a run whose score does not count."""
    net = facts.statements_added - facts.statements_removed
    fitness = SETTINGS.fitness_per_bpb * max(0.0, facts.gain)
    if facts.kept and net < 0:
        fitness = max(fitness, SETTINGS.fitness_simpler)
    tries = (facts.niche_tries, facts.category_tries, facts.emitter_tries)
    niche, category, emitter = (1.0 / math.sqrt(number + 1) for number in tries)
    new = SETTINGS.novelty_niche * niche + SETTINGS.novelty_category * category
    plateau = SETTINGS.information_stall if facts.stall >= SETTINGS.information_stall_from else 0.0
    is_surprise = facts.kept and facts.gain > 0 and facts.predicted in UNPROMISING
    complexity = SETTINGS.complexity_per_statement * net
    if net < 0:
        complexity = -facts.p_near * min(SETTINGS.max_deletion, SETTINGS.deletion_per_statement * -net)
    growth = facts.peak_vram_mb / facts.baseline_vram_mb if facts.peak_vram_mb and facts.baseline_vram_mb else 1.0
    terms = {
        "fitness": fitness,
        "novelty": facts.p_near * (new + SETTINGS.novelty_emitter * emitter),
        "information": facts.p_near * (SETTINGS.information_category * category + plateau),
        "surprise": SETTINGS.surprise_win if is_surprise else 0.0,
        "complexity": complexity,
        "vram": SETTINGS.vram_share * max(0.0, growth - 1.0),
    }
    terms = {name: round(value, 4) + 0.0 if facts.counted else 0.0 for name, value in terms.items()}
    total = sum(-value if name in COSTS else value for name, value in terms.items())
    return {**terms, TOTAL: round(total, 4) + 0.0}


def inputs_of(case: Comparison, verdict: Verdict, niche: Niche, predicted: str | None = None) -> ScoreInputs:
    """Return the values that the terms of a judged run are computed from, with its plan's prediction."""
    run, rival = case.run, case.rival
    if not lineage.is_evidence(run):
        return ScoreInputs(counted=False)
    baseline = lineage.baseline(case.past)
    past = [item.run for item in case.past]
    p_near = 1.0
    if rival is not None and case.keys.of(rival) != case.key:
        p_near = case.belief.p_better(case.key, case.keys.of(rival), -SETTINGS.near_miss_bpb)
    return ScoreInputs(
        counted=True,
        gain=0.0 if verdict.difference is None or verdict.decision == "investigate" else -verdict.difference.mean,
        p_near=p_near,
        kept=verdict.decision == "keep" and not verdict.baseline,
        niche_tries=sum(niche(other) == niche(run) for other in past),
        category_tries=sum(other.category == run.category for other in past),
        emitter_tries=sum(other.emitter == run.emitter for other in past),
        stall=lineage.runs_since_keep(case.past),
        predicted=predicted,
        statements_added=run.statements_added,
        statements_removed=run.statements_removed,
        peak_vram_mb=run.peak_vram_mb,
        baseline_vram_mb=baseline.peak_vram_mb if baseline else None,
    )
