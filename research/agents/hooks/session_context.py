"""What SessionStart and UserPromptSubmit say of where the lab stands: the summary's rows, brought up to date.

The rows were stored when the last run was judged; the plan and HEAD are looked at now. Of a branch that has none, a
glance tells what it can.
"""

from __future__ import annotations

from research.agents.hooks.git_fast import commit_of, subject_of
from research.agents.hooks.wire import loads, mapping
from research.verdict import summary_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from research.agents.hooks.entry import Call
    from research.store.glance import Glance

REASON_CHARS = 300
"""How much of a plan's reason is shown."""
BASELINE_PHASE = "baseline"
"""The phase of a branch on which nothing was measured."""
_ENDED = ("scored", "crash", "timeout")
"""Outcomes that are a result."""


def pending_plan(store: Glance | None, branch: str) -> tuple[dict[str, Any], str]:
    """The plan that is pending on a branch, empty without one, and its phase, "" where it says none."""
    plan = (store.pending_plan() if store is not None else None) or {}
    details = mapping(str(plan.get("details") or "{}"))
    if details.get("branch", branch) != branch:
        return {}, ""
    return plan, str(details.get("phase") or "")


def stored_rows(store: Glance | None, branch: str) -> list[summary_rows.Row]:
    """The rows of a branch's summary as they were stored; those of a branch without any tell what a glance can."""
    try:
        rows = loads((store.fact(summary_rows.SUMMARY_FACT + branch) if store is not None else None) or "[]")
        told = [(str(name), str(text)) for name, text in rows]
    except (ValueError, TypeError):  # of an earlier form
        told = []
    return told or _glanced(store, branch)


def _glanced(store: Glance | None, branch: str) -> list[summary_rows.Row]:
    recent = store.recent(branch) if store is not None else []
    if store is None or not (recent or store.has_baseline(branch)):
        return [
            ("Baseline", f"{summary_rows.NO_BASELINE}; the first scored run is it"),
            (summary_rows.BEST, summary_rows.NO_BEST),
            ("Runs", "none recorded"),
            (summary_rows.PHASE, BASELINE_PHASE),
            (summary_rows.PLAN, summary_rows.NO_PLAN),
        ]
    runs = []
    for row in recent[:5]:
        score = f"{row['val_bpb']:.6f}" if row["val_bpb"] is not None else "crash"
        runs.append(f"{row['run']}: {score}, {row['decision']} @ {row['commit'][:7]}")
    first = [f"{row['val_bpb']:.6f} @ {row['commit'][:7]}" for row in recent if row["baseline"] and row["val_bpb"]]
    ask = "uv run research summary says it"
    return [
        ("Baseline", first[0] if first else ask),
        (summary_rows.BEST, ask),
        *summary_rows.section("Latest runs", runs),
        (summary_rows.PLAN, summary_rows.NO_PLAN),
    ]


def summary(call: Call, store: Glance | None, branch: str) -> str:
    """What the lab knows of a branch, with the plan that is pending and the warnings about HEAD."""
    plan, phase = pending_plan(store, branch)
    line = ""
    if plan:
        reason = str(plan["reason"])[:REASON_CHARS]
        line = summary_rows.plan_line(plan["emitter"], plan["category"], plan["parent"], plan["kind"], reason)
    warnings = _of_head(call.root, store, plan.get("emitter"))
    rows = summary_rows.brought_up_to_date(stored_rows(store, branch), line, phase, warnings)
    return summary_rows.as_text(rows)


def _of_head(root: str, store: Glance | None, planned: str | None) -> list[str]:
    head = commit_of(root)
    if not head:
        return []
    measured = store is not None and any(run["outcome"] in _ENDED for run in store.runs_of(head))
    return summary_rows.head_warnings(head, subject_of(root, head), measured, planned)


def in_short(store: Glance | None, branch: str) -> str:
    """The best configuration and the phase, in one line."""
    rows = dict(stored_rows(store, branch))
    phase = pending_plan(store, branch)[1] or rows.get(summary_rows.PHASE)
    return f"Best: {rows[summary_rows.BEST]}." + (f" Phase: {phase}." if phase else "")
