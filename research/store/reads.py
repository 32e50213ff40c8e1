"""Narrow reads for whoever looks at a long history: the columns that are needed, and JSON only where something is.

A whole record of 10,000 runs takes a second to read, what memory folds a tenth of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from research.core.records import Idea, Judged, Plan, Run, Verdict
from research.store.db import ENDED, RESULTS, Store

_RUN = (
    'run, origin, branch, "commit", started_utc, parent, subject, emitter, seed, device, fingerprint, contract,'
    " finished_utc, outcome, metrics, val_bpb, peak_vram_mb, failure, suspect, additions, deletions, category, delta,"
    " statements_added, statements_removed, plan, CASE WHEN metrics IS NULL THEN phases_s ELSE '{}' END AS phases_s,"
    " '' AS folder, json_patch('{}', json_object('machine', json_extract(facts, '$.machine'),"
    " 'gpu_uuid', json_extract(facts, '$.gpu_uuid'), 'device_class', json_extract(facts, '$.device_class'),"
    " 'kernels', json_extract(facts, '$.kernels'), 'initial_values', json_extract(facts, '$.initial_values'),"
    " 'stopped_at', json_extract(facts, '$.stopped_at'), 'race', json_extract(facts, '$.race'))) AS facts"
)
"""Columns of a run that decide something, and the facts that say under which condition it ran and what was foretold of
it; other fields keep their defaults, as do the phases of a run with metrics."""
_VERDICT = "seq, run, decision, rule, why, created_utc, baseline, incumbent, p_better"
"""Columns of a verdict without estimate, difference, terms, text and settling."""


def history(store: Store, branch: str | None = None) -> list[Judged]:
    """Reads what Store.judged() does, in the parts that memory, planner and judge need."""
    return store.judged(branch, _RUN, _VERDICT)


def state_key(store: Store) -> str:
    """Returns a text that changes whenever a run ends, is judged or leaves the memory."""
    row = store.tuples(
        "SELECT (SELECT COUNT(*) FROM runs WHERE outcome IS NOT NULL),"
        " (SELECT MAX(seq) FROM verdicts), (SELECT MAX(seq) FROM events WHERE kind = 'void')"
    )[0]
    return "/".join(str(value or 0) for value in row)


def other_contracts(store: Store, branch: str, contract: str | None) -> list[tuple[str, int]]:
    """Returns the other contracts of a branch with how many results each has, the latest first."""
    return [
        (str(name), int(count))
        for name, count in store.tuples(
            f"SELECT contract, COUNT(*) FROM runs{RESULTS} AND branch = ? AND contract IS NOT NULL"
            " AND contract <> ? GROUP BY contract ORDER BY MAX(seq) DESC",
            branch, contract or "",
        )
    ]  # fmt: skip


def something_waits(store: Store) -> bool:
    """Checks whether a run has no end or no verdict yet, so that somebody has to look after it."""
    rows = store.tuples(
        f"SELECT 1 FROM runs WHERE outcome IS NULL UNION ALL SELECT 1 FROM runs{RESULTS}"
        " AND run NOT IN (SELECT run FROM verdicts) LIMIT 1"
    )
    return bool(rows)


def is_measured(store: Store, commit: str) -> bool:
    """Checks whether a run of a commit ended with a result."""
    rows = store.tuples(f'SELECT 1 FROM runs WHERE "commit" = ? AND {ENDED} LIMIT 1', commit)
    return bool(rows)


def plan_of(store: Store, branch: str) -> Plan | None:
    """Reads the pending plan of a branch, None where what is pending is another's."""
    plan = store.pending_plan()
    return plan if plan and plan.details.get("branch", branch) == branch else None


@dataclass(frozen=True)
class IdeaStatus:
    """A person's idea with what became of it.

    Attributes:
        idea: The idea.
        status: The decision on its run, the outcome of a run without a score, else "waiting", "needs_agent" (only who
            writes code can try it), "running" or "dropped".
        run: The run that tried it, None before it ended.
        verdict: The latest verdict on that run.
    """

    idea: Idea
    status: str
    run: Run | None = None
    verdict: Verdict | None = None


def ideas(store: Store) -> list[IdeaStatus]:
    """Reads every idea of a person with what became of it, oldest first."""
    going = {run.plan for run in store.open_runs()}
    return [_with_status(store, idea, idea.plan is not None and idea.plan in going) for idea in store.ideas()]


def _with_status(store: Store, idea: Idea, is_running: bool) -> IdeaStatus:
    run, verdict = (store.run(idea.run), store.verdict(idea.run)) if idea.run else (None, None)
    if run is not None:
        status = verdict.decision if verdict and run.outcome == "scored" else str(run.outcome)
        return IdeaStatus(idea, status, run, verdict)
    if idea.closed_utc:
        return IdeaStatus(idea, "dropped")
    return IdeaStatus(idea, "running" if is_running else "waiting" if idea.assignment else "needs_agent")


def latest_reviewed(store: Store) -> str | None:
    """Finds the run that was reviewed last; what its verdict meant for earlier runs is no review of them."""
    rows = store.tuples("SELECT run FROM verdicts WHERE text <> '' GROUP BY run ORDER BY MIN(seq) DESC LIMIT 1")
    return str(rows[0][0]) if rows else None


@dataclass(frozen=True)
class Foreign:
    """Rows of other ledgers and memories, which are never judged.

    Attributes:
        rows: How many.
        scored: How many have a score.
        commit: The commit with the lowest score among those that were kept there, "" if none was.
        val_bpb: That score, in bpb.
    """

    rows: int
    scored: int
    commit: str = ""
    val_bpb: float | None = None


def foreign(store: Store) -> Foreign | None:
    """Counts what was imported, None if nothing was."""
    ((rows, scored),) = store.tuples("SELECT COUNT(*), COUNT(val_bpb) FROM runs WHERE origin = 'import'")
    if not rows:
        return None
    kept = store.tuples(
        "SELECT \"commit\", val_bpb FROM runs WHERE origin = 'import' AND val_bpb IS NOT NULL AND 'keep' IN"
        " (json_extract(facts, '$.status'), lower(json_extract(facts, '$.recommendation')))"
        " ORDER BY val_bpb, seq LIMIT 1"
    )
    return Foreign(rows, scored, *kept[0]) if kept else Foreign(rows, scored)
