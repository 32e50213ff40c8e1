"""Compares the gain of a configuration on the audit text with that of the same runs on val, for the page alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from research.core.records import Run
from research.core.settings import SETTINGS
from research.verdict.belief import Belief
from research.verdict.evidence import machine_of
from research.verdict.lineage import is_evidence

Scores = Mapping[tuple[int, str], Sequence[Run]]  # one configuration's runs by seed and card


@dataclass(frozen=True)
class AuditGain:
    """A configuration's scores minus the baseline's on both texts, as the same pairs of runs measured them, in bpb."""

    audit: float
    val: float
    pairs: int  # of runs with one seed on one card, in the step that has fewest

    @property
    def holds(self) -> Literal["yes", "partly", "no", "unclear"]:
        """Return whether the gain on val is on the audit text too; "unclear" where val as measured shows no gain.

        Seed and card move both scores of a run alike, so their gains are compared with each other, not with the noise.
        """
        if self.val >= 0:
            return "unclear"
        return "yes" if self.audit <= SETTINGS.audit_share * self.val else "partly" if self.audit < 0 else "no"


def audit_gains(runs_of: Mapping[str, Iterable[Run]], belief: Belief, baseline: str) -> dict[str, AuditGain]:
    """Return the gains of the configurations that can be compared with the baseline, by their names.

    Each is compared with its parent on the seeds and cards that both ran with, the parent with its own, and so on: a
    night on several cards may never have run the baseline where its last change ran. One that shares none with its
    parent is compared with the baseline itself.

    Args:
        runs_of: Runs of each configuration; those that are no evidence or have no audit score are left out.
        belief: The posterior, which knows each configuration's parent.
        baseline: Name of the baseline.
    """
    scores = {name: _by_condition(runs) for name, runs in runs_of.items()}
    found = {}
    for name in scores:
        steps: list[AuditGain] = []
        at = name
        while at != baseline and at in scores:
            candidates = (str(belief.parent(at)), baseline)
            above = next((one for one in candidates if scores.get(one, {}).keys() & scores[at].keys()), None)
            if above is None:
                break
            steps.append(_step(scores[at], scores[above]))
            at = above
        if steps and at == baseline:
            totals = sum(step.audit for step in steps), sum(step.val for step in steps)
            found[name] = AuditGain(*totals, min(step.pairs for step in steps))
    return found


def _by_condition(runs: Iterable[Run]) -> Scores:
    found: dict[tuple[int, str], list[Run]] = defaultdict(list)
    for run in runs:
        if is_evidence(run) and run.audit_bpb is not None:
            found[run.seed, machine_of(run)].append(run)
    return found


def _step(mine: Scores, theirs: Scores) -> AuditGain:
    """Return the mean differences over the conditions that both have."""
    shared = [(mine[at], theirs[at]) for at in mine if at in theirs]
    audit = fmean(_mean(run.audit_bpb for run in one) - _mean(run.audit_bpb for run in two) for one, two in shared)
    val = fmean(_mean(run.val_bpb for run in one) - _mean(run.val_bpb for run in two) for one, two in shared)
    return AuditGain(audit, val, len(shared))


def _mean(scores: Iterable[float | None]) -> float:
    return fmean(score for score in scores if score is not None)
