"""Reads parts of the memory, so that no view has to load a long history whole."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

from research.core.records import Idea, Judged, Plan, Run, Verdict
from research.store.db import RESULTS, Store
from research.store.ledger import says_kept
from research.store.rows import SECRET_FIELDS

_RUN = ", ".join(f'"{item.name}"' for item in fields(Run) if item.name not in SECRET_FIELDS)
_VERDICT = "seq, run, decision, rule, why, created_utc, baseline, incumbent, p_better"


def history(store: Store, branch: str | None = None) -> list[Judged]:
    """Read the judged runs as Store.judged() does, without audit scores and without verdicts' numbers and reviews."""
    return store.judged(branch, _RUN, _VERDICT)


def state_key(store: Store) -> str:
    """Return a text that changes whenever a run ends, is judged or leaves the memory."""
    row = store.tuples(
        "SELECT (SELECT COUNT(*) FROM runs WHERE outcome IS NOT NULL),"
        " (SELECT MAX(seq) FROM verdicts), (SELECT MAX(seq) FROM events WHERE kind = 'void')"
    )[0]
    return "/".join(str(value or 0) for value in row)


def other_contracts(store: Store, branch: str, contract: str | None) -> list[tuple[str, int]]:
    """Return the other contracts of a branch with how many results each has, the latest first."""
    return [
        (str(name), int(count))
        for name, count in store.tuples(
            f"SELECT contract, COUNT(*) FROM runs{RESULTS} AND branch = ? AND contract IS NOT NULL"
            " AND contract <> ? GROUP BY contract ORDER BY MAX(seq) DESC",
            branch, contract or "",
        )
    ]  # fmt: skip


def something_waits(store: Store) -> bool:
    """Check whether a run has no end or no verdict yet, so that somebody has to look after it."""
    rows = store.tuples(
        f"SELECT 1 FROM runs WHERE outcome IS NULL UNION ALL SELECT 1 FROM runs{RESULTS}"
        " AND run NOT IN (SELECT run FROM verdicts) LIMIT 1"
    )
    return bool(rows)


def plan_of(store: Store, branch: str) -> Plan | None:
    """Read the pending plan of a branch, None where what is pending is another's."""
    plan = store.pending_plan()
    return plan if plan and plan.details.get("branch", branch) == branch else None


WAITING = ("waiting", "needs_agent")
"""The two states of an idea that was not begun: in the second it waits for an agent that writes code."""


class IdeaStatus(NamedTuple):
    """A person's idea and its result."""

    idea: Idea
    status: str
    """The decision on its run, the outcome of a run without a score, else one of WAITING, "running", "dropped" (given
    up for a reason) or "withdrawn" (by a person)."""
    run: Run | None = None  # the run that tried it, None before it ended
    verdict: Verdict | None = None  # the latest on that run


def ideas(store: Store) -> list[IdeaStatus]:
    """Read every idea of a person with its result, oldest first."""
    going = {run.plan for run in store.open_runs()}
    found = []
    for idea in store.ideas():
        run, verdict = (store.run(idea.run), store.verdict(idea.run)) if idea.run else (None, None)
        if run is not None:
            status = verdict.decision if verdict and run.outcome == "scored" else str(run.outcome)
        elif idea.closed_utc:
            status = "dropped" if idea.why else "withdrawn"
        elif idea.plan is not None and idea.plan in going:
            status = "running"
        else:
            status = WAITING[0 if idea.assignment else 1]
        found.append(IdeaStatus(idea, status, run, verdict))
    return found


def latest_reviewed(store: Store) -> str | None:
    """Find the run that was reviewed last, by the first review of each run."""
    rows = store.tuples("SELECT run FROM verdicts WHERE text <> '' GROUP BY run ORDER BY MIN(seq) DESC LIMIT 1")
    return str(rows[0][0]) if rows else None


@dataclass(frozen=True)
class Foreign:
    """A count of the rows that were imported from other ledgers."""

    rows: int
    scored: int  # rows with a score
    commit: str = ""  # of the lowest score that was kept there, "" without one
    val_bpb: float | None = None  # that score


def foreign(store: Store) -> Foreign | None:
    """Count what was imported, None if nothing was."""
    rows = store.tuples(
        "SELECT \"commit\", val_bpb, json_extract(facts, '$.status'), json_extract(facts, '$.recommendation')"
        " FROM runs WHERE origin = 'import' ORDER BY val_bpb, seq"
    )
    if not rows:
        return None
    scored = [row for row in rows if row[1] is not None]
    kept = next((row[:2] for row in scored if any(says_kept(word or "") for word in row[2:])), ())
    return Foreign(len(rows), len(scored), *kept)
