"""Names what a night runs before anything is planned: the baseline, or a tip that was never measured."""

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

JobKind = Literal["baseline", "replicate", "experiment", "check"]
"""What a run is for: "check" asks whether what ran before still does."""


@dataclass(frozen=True)
class Job:
    """One run to make.

    Attributes:
        kind: What it is for.
        commit: What runs.
        what: Words for people.
        plan: The plan that it carries out, None without one.
        usage: What the agent used to make it.
        is_anew: Whether its contract is thought to be new, so that it runs on the seed that ideas run on.
    """

    kind: JobKind
    commit: str
    what: str
    plan: Plan | None = None
    usage: Usage = NOTHING_USED
    is_anew: bool = False

    @property
    def is_idea(self) -> bool:
        """Return whether it runs what an agent has just made, so that a failure may be the agent's."""
        return self.kind == "experiment" and self.plan is not None


class BaselineFails(ResearchError):
    """What was never changed does not come to a score.

    Args:
        run: The latest attempt.
    """

    def __init__(self, run: Run) -> None:
        why = run.failure.signature if run.failure else run.why or str(run.outcome)
        super().__init__(
            f"The baseline does not come to a score: {why.rstrip('.')}.",
            f"See why: {log_command(run.folder)}. Mend train.py and commit it; then type the same command again.",
        )


def owed(history: Sequence[Judged], tip: str, in_flight: Collection[str], since_utc: str = "") -> Job | None:
    """Returns the run that is due before anything new is tried, None if nothing is.

    Args:
        history: The judged runs of the branch under its contract.
        tip: The branch's commit.
        in_flight: Commits that are being run.
        since_utc: When the night began: what ended an earlier one may be mended.

    Raises:
        BaselineFails: if the baseline crashed, or failed otherwise too often.
    """
    baseline = lineage.baseline(history)
    if baseline is None:
        failed = [item.run for item in history if item.run.commit == tip and item.run.started_utc >= since_utc]
        if failed and (failed[-1].outcome == "crash" or len(failed) >= SETTINGS.baseline_attempts):
            raise BaselineFails(failed[-1])
        return Job("baseline", tip, "baseline")
    known = {item.run.commit for item in history}
    if tip not in known and tip not in in_flight:
        return Job("experiment", tip, "the branch's tip, which was never measured")
    return None


def confirmation(history: Sequence[Judged], running: Collection[str]) -> Job | None:
    """Returns the run that measures the best so far on a second seed, None where that was done or none beats the rest.

    Args:
        history: The judged runs of the branch under its contract.
        running: Fingerprints of what is being run.
    """
    best, baseline = lineage.incumbent(history), lineage.baseline(history)
    if best is None or baseline is None or lineage.is_same(best, baseline) or best.fingerprint in running:
        return None
    same = (item.run for item in history if lineage.is_same(item.run, best))
    if len({run.seed for run in same if lineage.is_evidence(run)}) > 1:
        return None
    return Job("replicate", best.commit, f"a second seed of the best so far: {best.subject}")


def may_start(job: Job, busy: int) -> bool:
    """Checks whether a job may run beside others: nothing can be compared before there is a baseline."""
    return job.kind != "baseline" or busy == 0


def owed_plan(job: Job, now_utc: str) -> Plan:
    """Makes a plan for a run that nobody planned, so that the planner plans around it."""
    kind = EXPERIMENT if job.kind == "experiment" else REPLICATE
    return Plan(f"owed-{job.commit[:12]}", now_utc, None, None, job.commit, kind, job.what)
