"""Keeps the next experiment on record: planned when a run is judged, so that whoever asks later only reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from research import repo
from research.lab import Lab
from research.memory.recall import Memory, contract_of, recall
from research.records import Plan, Run
from research.runs.preflight import TARGET
from research.search import planner
from research.store.db import Store
from research.verdict import lineage

SEED_FACT = "plan_seed"
"""Name of the store's fact that holds the seed of plans."""
POLICY_FACT = "plan_policy"
"""Name of the store's fact that holds the policy that plans."""


def plan_seed(store: Store) -> int:
    """The seed of this lab's plans."""
    text = store.fact(SEED_FACT) or ""
    return int(text) if text.isdigit() else 0


def memory_of(lab: Lab, store: Store, branch: str) -> Memory:
    """What is known of a branch under its present contract."""
    history = store.judged(branch)
    return recall(history, branch)


def next_plan(lab: Lab, store: Store, branch: str, in_flight: Sequence[Plan] = (), attempt: int = 0) -> Plan:
    """The pending plan, or a new one that is put on record.

    Args:
        lab: The lab.
        store: Its memory.
        branch: The branch that is worked on.
        in_flight: Plans that are being carried out.
        attempt: Number of plans dropped since the last run; another number gives another plan.
    """
    busy = {plan.plan for plan in in_flight}
    pending = store.pending_plan()
    if pending and pending.plan not in busy and pending.details.get("branch", branch) == branch:
        return pending
    history = store.judged(branch)
    contract = contract_of(history, branch)
    seed = plan_seed(store) + attempt
    plan = planner.plan_for(
        history, branch, contract, seed, lab.now_utc(), tuple(in_flight), store.fact(POLICY_FACT) or "discovery"
    )
    memory = recall(history, branch, contract)
    brief = planner.prompt(plan, memory, lambda commit: repo.blob(lab.places.root, commit, TARGET))
    plan = replace(plan, details={**plan.details, "brief": brief, "branch": branch})
    if all(known.plan != plan.plan for known in store.plans()):
        store.add_plan(plan)
    return plan


def close_finished_plans(store: Store, now_utc: str) -> None:
    """Closes plans whose run is on record: whoever was to close them may have been killed in between."""
    pending = store.pending_plan()
    while pending and (run := _run_of(store, pending)):
        store.close_plan(pending.plan, now_utc, run.run)
        pending = store.pending_plan()


def _run_of(store: Store, plan: Plan) -> Run | None:
    return next((run for run in reversed(store.runs()) if run.plan == plan.plan and run.outcome in _ENDS), None)


_ENDS = frozenset({"scored", "crash", "timeout"})


def incumbent_of(store: Store, branch: str) -> Run | None:
    """The run whose commit a branch stands on."""
    history = store.judged(branch)
    return lineage.incumbent(lineage.of_contract(history, branch, contract_of(history, branch)))
