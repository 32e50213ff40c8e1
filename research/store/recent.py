"""Reads the latest rows by index, for hooks, since an agent waits and the wait must not grow with the history.

A "+" before a column keeps SQLite from walking a whole branch by its index: what is asked for is at the end.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from research.core.records import Decision, Outcome, Run
from research.core.settings import SETTINGS
from research.store.db import RESULTS, Store
from research.store.ledger import ROW_OUTCOMES

_REFUSED = "refused:"
"""Begins the name of the value, one for each branch, that holds its last refused launch: runs before, commit, why."""


class RecentVerdict(NamedTuple):
    """One of the latest verdicts on a branch, with the code that it is about."""

    run: str
    decision: Decision
    why: str
    settled_utc: str | None
    baseline: bool
    commit: str
    fingerprint: str


class LaunchEnd(NamedTuple):
    """The end of one launch of a commit."""

    outcome: Outcome | None  # None while it runs
    counted: bool
    why: str  # one sentence: why it is not counted, or how it ended

    @property
    def is_result(self) -> bool:
        """Return whether it measured the commit: to an end, and counted."""
        return self.counted and self.outcome in ROW_OUTCOMES


def last_run(store: Store) -> int:
    """Return the number of the run that was started last, 0 without one."""
    return int(store.tuples("SELECT MAX(seq) FROM runs")[0][0] or 0)


def last_verdict(store: Store) -> int:
    """Return the number of the verdict that was made last, 0 without one."""
    return int(store.tuples("SELECT MAX(seq) FROM verdicts")[0][0] or 0)


def recent_verdicts(store: Store, branch: str) -> list[RecentVerdict]:
    """Return the latest verdicts on a branch, newest first."""
    rows = store.tuples(
        'SELECT v.run, v.decision, v.why, v.settled_utc, v.baseline, r."commit", r.fingerprint'
        " FROM (SELECT * FROM verdicts ORDER BY seq DESC LIMIT ?) v JOIN runs r ON r.run = v.run"
        " WHERE +r.branch = ? ORDER BY v.seq DESC",
        SETTINGS.recent_rows, branch,
    )  # fmt: skip
    return [RecentVerdict(*row) for row in rows]


def has_baseline(store: Store, branch: str) -> bool:
    """Check whether a branch has a baseline."""
    sql = "SELECT 1 FROM verdicts v JOIN runs r ON r.run = v.run WHERE v.baseline = 1 AND +r.branch = ? LIMIT 1"
    return bool(store.tuples(sql, branch))


def newly_judged(store: Store, branch: str, after: int) -> list[str]:
    """Return the runs on a branch that a rule judged after a verdict's number, in that order.

    What a verdict changes about earlier runs is no news of them, so only a run's first verdict counts.
    """
    rows = store.tuples(
        "SELECT v.run FROM verdicts v JOIN runs r ON r.run = v.run WHERE v.seq > ? AND +r.branch = ?"
        " AND v.rule <> 'person' AND NOT EXISTS (SELECT 1 FROM verdicts e WHERE e.run = v.run AND e.seq < v.seq)"
        " ORDER BY v.seq",
        after, branch,
    )  # fmt: skip
    return [str(name) for (name,) in rows]


def newly_failed(store: Store, branch: str, after: int) -> tuple[int, str] | None:
    """Return number and name of the latest run on a branch that ended without a verdict, if newer than a number."""
    rows = store.tuples(
        "SELECT seq, run FROM runs WHERE seq > ? AND +branch = ? AND outcome IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM verdicts WHERE verdicts.run = runs.run) ORDER BY seq DESC LIMIT 1",
        max(after, last_run(store) - SETTINGS.recent_rows), branch,
    )  # fmt: skip
    return (int(rows[0][0]), str(rows[0][1])) if rows else None


def launches_of(store: Store, commit: str) -> list[LaunchEnd]:
    """Return the ends of all launches of a commit, in order of start.

    They are found by their names, which hold the commit's digits: the names have an index, commits have none.
    """
    rows = store.tuples(
        "SELECT outcome, counted, why FROM runs WHERE run IN (SELECT run FROM runs WHERE run LIKE ?)"
        ' AND "commit" = ? ORDER BY seq',
        f"%-{commit[:7]}-%", commit,
    )  # fmt: skip
    return [LaunchEnd(*row) for row in rows]


def is_measured(store: Store, commit: str) -> bool:
    """Check whether a launch of a commit measured it."""
    return any(launch.is_result for launch in launches_of(store, commit))


def measured_twin(store: Store, branch: str, fingerprint: str) -> Run | None:
    """Return the latest run of a program, first on the branch, then on others; None without one.

    It is of the contract that the branch has now, or of the lab's latest contract where the branch has none.
    """
    latest = "SELECT contract FROM runs WHERE contract IS NOT NULL{} ORDER BY seq DESC LIMIT 1"
    rows = store.tuples(
        f"SELECT run FROM runs{RESULTS} AND fingerprint = ? AND contract = COALESCE"
        f"(({latest.format(' AND +branch = ?')}), ({latest.format('')})) ORDER BY branch = ? DESC, seq DESC LIMIT 1",
        fingerprint, branch, branch,
    )  # fmt: skip
    return store.run(str(rows[0][0])) if rows else None


def note_refusal(store: Store, at_utc: str, branch: str, commit: str, why: str) -> None:
    """Record a refused launch."""
    store.add_event(at_utc, "refused", None, {"branch": branch, "commit": commit, "why": why})
    store.set_fact(_REFUSED + branch, json.dumps([last_run(store), commit, why]))


def last_refusal(store: Store, branch: str) -> tuple[str, str]:
    """Return the commit of the last launch and why it was refused, "" for both where something was launched since."""
    after, commit, why = json.loads(store.fact(_REFUSED + branch) or '[-1, "", ""]')
    return (str(commit), str(why)) if after == last_run(store) else ("", "")


def is_folder_known(store: Store, folder: str) -> bool:
    """Check whether the run of a folder is on record."""
    return bool(store.tuples("SELECT 1 FROM runs WHERE folder = ? AND folder <> ''", folder))


def spent_usd(store: Store, after: int) -> float:
    """Return the estimated cost of the runs that were started after a number."""
    return float(store.tuples("SELECT SUM(cost_usd) FROM runs WHERE seq > ?", after)[0][0] or 0.0)
