"""Finds the runs that a night makes without a plan, and tells a failing machine from bad candidates."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from research.agents.clients.base import NOTHING_USED, Usage
from research.core.commands import log_command
from research.core.errors import ResearchError
from research.core.records import EXPERIMENT, REPLICATE, Judged, Plan, Run
from research.core.settings import SETTINGS
from research.verdict import lineage

JobKind = Literal["baseline", "contract", "tip", "replicate", "check", "idea"]
"""The purpose of a run: the baseline; the branch's tip under a contract that is new here ("contract"), or since it was
never measured ("tip"); another seed; a check that the machine still runs the best; an agent's new commit ("idea")."""

ALONE = frozenset({"baseline", "contract", "check"})
"""Kinds of jobs during which no other runs: the others are compared with them, or depend on their result."""
NOT_THE_CANDIDATES = "the machine, not the candidates"
"""Beginning of the reason of a night that ended because its machine failed."""


class CannotGoOn(ResearchError):
    """The night can't go on before a person has mended something."""


@dataclass(frozen=True)
class Job:
    """One run that a night has to make."""

    kind: JobKind
    commit: str  # full hash
    what: str  # words for people
    plan: Plan | None = None  # that it carries out, None for a run without a plan
    usage: Usage = NOTHING_USED  # tokens and dollars that its agent used

    def as_plan(self, now_utc: str) -> Plan:
        """Return its plan, or one that is made for it, so that the planner plans around it."""
        kind = EXPERIMENT if self.kind == "tip" else REPLICATE
        return self.plan or Plan(f"due-{self.commit[:12]}", now_utc, None, None, self.commit, kind, self.what)


def due(history: Sequence[Judged], tip: str, in_flight: Collection[str], since_utc: str = "") -> Job | None:
    """Return the run that is due before anything new is tried, None if nothing is.

    Raises:
        CannotGoOn: if the baseline crashed in this night, or failed otherwise too often.
    """
    if lineage.baseline(history) is None:
        failed = [item.run for item in history if item.run.commit == tip and item.run.started_utc >= since_utc]
        if failed and (failed[-1].outcome == "crash" or len(failed) >= SETTINGS.baseline_attempts):
            run = failed[-1]
            why = run.failure.signature if run.failure else run.why or str(run.outcome)
            raise CannotGoOn(
                f"The baseline does not come to a score: {why.rstrip('.')}.",
                f"See why: {log_command(run.folder)}. Mend train.py and commit it; then type the same command again.",
            )
        return Job("baseline", tip, "baseline")
    if tip not in in_flight and all(item.run.commit != tip for item in history):
        return Job("tip", tip, "the branch's tip, which was never measured")
    return None


def confirmation(history: Sequence[Judged], running: Collection[str]) -> Job | None:
    """Return the run of the best so far on a second seed; None where that was done, or where the baseline is best."""
    best, baseline = lineage.incumbent(history), lineage.baseline(history)
    if best is None or baseline is None or lineage.is_same(best, baseline) or best.fingerprint in running:
        return None
    same = (item.run for item in history if lineage.is_same(item.run, best))
    if len({run.seed for run in same if lineage.is_evidence(run)}) > 1:
        return None
    return Job("replicate", best.commit, f"a second seed of the best so far: {best.subject}")


def crashes_alike(before: Sequence[Run], run: Run) -> tuple[Run, ...]:
    """Return the latest crashes in a row with one signature, each of another edit, after one more run has ended."""
    if run.failure is None or run.outcome not in ("crash", "timeout"):
        return ()
    alike = [other for other in before if other.failure and other.failure.signature == run.failure.signature]
    is_known = any(other.fingerprint == run.fingerprint for other in alike)
    return tuple(alike) if is_known else (*alike, run)


def blame(crashed: Sequence[Run]) -> str:
    """Return the sentence that blames the machine for crashes of different edits and then of the best so far."""
    text = crashed[-1].failure.text if crashed[-1].failure else ""
    edits = f"{len(crashed) - 1} different edits, and then the best so far, which ran before,"
    return f"{NOT_THE_CANDIDATES}: {edits} end with {text}"
