"""Narrow reads for whoever looks at a long history: the columns that are needed, and JSON only where something is.

A whole record of 10,000 runs takes a second to read, what memory folds a tenth of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from research.core.records import Decision, Failure, Judged, Metrics, Plan, Run, Verdict
from research.store.db import TELLING, Store

_RUN = (
    'run, origin, branch, "commit", started_utc, parent, subject, emitter, seed, device, fingerprint, contract,'
    " finished_utc, outcome, metrics, val_bpb, peak_vram_mb, failure, suspect, additions, deletions, category, delta,"
    " statements_added, statements_removed, plan, CASE WHEN metrics IS NULL THEN phases_s ELSE '{}' END"
)
_VERDICT = "seq, run, decision, rule, why, created_utc, baseline, incumbent, p_better"

_Verdicts = Mapping[str, list[tuple[int, Verdict]]]


@dataclass(frozen=True)
class Scored:
    """One believable score and whose it is."""

    run: str
    branch: str
    contract: str | None
    commit: str
    fingerprint: str
    val_bpb: float


def history(store: Store, branch: str | None = None) -> list[Judged]:
    """The same as Store.judged(), in the parts that memory, planner and judge read.

    Left at their defaults are: folder, backend, gpu, train_sha256, harness, contract_key, exit codes, the true-byte and
    audit scores, why, cost and facts of runs, and the phases of those with metrics; estimate, difference, terms, text
    and settling of verdicts.
    """
    where = TELLING + (" AND branch = ?" if branch is not None else "")
    rows = store.tuples(f"SELECT {_RUN} FROM runs{where} ORDER BY seq", *([branch] if branch is not None else []))
    verdicts = _verdicts(store)
    return [_judged(_run(row), verdicts) for row in rows]


def _verdicts(store: Store) -> _Verdicts:
    known: dict[str, list[tuple[int, Verdict]]] = {}
    for seq, run, decision, rule, why, at, baseline, incumbent, p in store.tuples(
        f"SELECT {_VERDICT} FROM verdicts ORDER BY seq"
    ):
        known.setdefault(run, []).append(
            (seq, Verdict(run, decision, rule, why, at, bool(baseline), incumbent, p_better=p))
        )
    return known


def _judged(run: Run, verdicts: _Verdicts) -> Judged:
    found = verdicts.get(run.run)
    if not found:
        return Judged(run)
    order, verdict = found[-1]
    return Judged(run, verdict, order, tuple((place, past.decision) for place, past in found[:-1]))


def _run(row: tuple[Any, ...]) -> Run:
    run, origin, branch, commit, started, parent, subject, emitter, seed, device, fingerprint, contract, *more = row
    finished, outcome, metrics, val_bpb, peak_vram_mb, failure, suspect, additions, deletions, *change = more
    category, delta, statements_added, statements_removed, plan, phases_s = change
    return Run(
        run,
        "",
        origin,
        branch,
        commit,
        started,
        parent,
        subject,
        emitter,
        seed,
        device=device,
        fingerprint=fingerprint,
        contract=contract,
        finished_utc=finished,
        outcome=outcome,
        metrics=Metrics(**json.loads(metrics)) if metrics else None,
        val_bpb=val_bpb,
        peak_vram_mb=peak_vram_mb,
        failure=Failure(**json.loads(failure)) if failure else None,
        suspect=tuple(json.loads(suspect)) if suspect != "[]" else (),
        additions=additions,
        deletions=deletions,
        category=category,
        delta=json.loads(delta) if delta != "{}" else {},
        statements_added=statements_added,
        statements_removed=statements_removed,
        plan=plan,
        phases_s=json.loads(phases_s) if phases_s != "{}" else {},
    )


def state_key(store: Store) -> str:
    """A text that changes whenever a run starts, ends or is judged."""
    row = store.tuples(
        "SELECT (SELECT MAX(seq) FROM runs), (SELECT COUNT(*) FROM runs WHERE outcome IS NULL),"
        " (SELECT MAX(seq) FROM verdicts)"
    )[0]
    return "/".join(str(value or 0) for value in row)


def latest_verdict(store: Store, branch: str | None = None) -> Verdict | None:
    """The verdict that was made last, whole, on any branch or on one."""
    where = "" if branch is None else " WHERE run IN (SELECT run FROM runs WHERE branch = ?)"
    rows = store.tuples(
        f"SELECT run FROM verdicts{where} ORDER BY seq DESC LIMIT 1", *([branch] if branch is not None else [])
    )
    return store.verdict(rows[0][0]) if rows else None


def scores(store: Store) -> list[Scored]:
    """Every believable score of this lab, in order of start: what the noise is fitted to."""
    rows = store.tuples(
        "SELECT run, branch, contract, \"commit\", fingerprint, val_bpb FROM runs WHERE outcome = 'scored'"
        " AND counted = 1 AND val_bpb IS NOT NULL AND suspect = '[]' AND origin <> 'import' ORDER BY seq"
    )
    return [Scored(*row) for row in rows]


def decisions(store: Store) -> dict[str, Decision]:
    """The decision that holds for every judged run."""
    return dict(store.tuples("SELECT run, decision FROM verdicts ORDER BY seq"))


def something_waits(store: Store) -> bool:
    """Whether a run has no end or no verdict yet, so that somebody has to look after it."""
    rows = store.tuples(
        "SELECT 1 FROM runs WHERE outcome IS NULL UNION ALL SELECT 1 FROM runs WHERE counted = 1"
        " AND outcome IN ('scored', 'crash', 'timeout') AND run NOT IN (SELECT run FROM verdicts) LIMIT 1"
    )
    return bool(rows)


def is_measured(store: Store, commit: str) -> bool:
    """Whether a run of a commit ended with a result."""
    rows = store.tuples(
        "SELECT 1 FROM runs WHERE \"commit\" = ? AND outcome IN ('scored', 'crash', 'timeout') LIMIT 1", commit
    )
    return bool(rows)


def plan_of(store: Store, branch: str) -> Plan | None:
    """The pending plan of a branch, None where what is pending is another's."""
    plan = store.pending_plan()
    return plan if plan and plan.details.get("branch", branch) == branch else None


def latest_reviewed(store: Store) -> str | None:
    """The run that was reviewed last; what its verdict meant for earlier runs is no review of them."""
    rows = store.tuples("SELECT run FROM verdicts WHERE text <> '' GROUP BY run ORDER BY MIN(seq) DESC LIMIT 1")
    return str(rows[0][0]) if rows else None
