"""Plans the next experiment when a run is judged, and records the plan, so that whoever asks later only reads it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from research.core.commit_message import FREE, tag_of
from research.core.contract import BRANCHES
from research.core.errors import ResearchError
from research.core.records import IDEA, REPLICATE, Plan
from research.lab.ideas import next_idea, plan_idea
from research.lab.lab import Lab
from research.runs import preflight
from research.store import reads, recent
from research.store.db import Store
from research.store.open import keep_ideas
from research.verdict.digest import read_digest
from research.verdict.models import Memory

SEED_FACT = "plan_seed"
"""Name of the store's fact that holds the seed of plans."""
POLICY_FACT = "plan_policy"
"""Name of the store's fact that holds the policy that plans."""


def plan_seed(store: Store) -> int:
    """Read the seed of this lab's plans."""
    return int(store.fact(SEED_FACT) or 0)


def memory_of(lab: Lab, store: Store, branch: str) -> Memory:
    """Return the memory of a branch under its present contract, made once for each state of the store."""
    from research.verdict.memory import recall

    state = (branch, reads.state_key(store))
    if lab.recalled is None or lab.recalled[0] != state:
        lab.recalled = (state, recall(reads.history(store), branch))
    return lab.recalled[1]


def next_plan(
    lab: Lab,
    store: Store,
    branch: str,
    in_flight: Sequence[Plan] = (),
    attempt: int = 0,
    writes_code: bool = True,
    cards: Sequence[str] = (),
) -> Plan:
    """Return the pending plan if nothing has changed since it was made, else record a new one and return it.

    Args:
        in_flight: Plans that are being carried out.
        attempt: Number of plans dropped since the last run; another number gives another plan.
        writes_code: Whether the agent can carry out any idea of a person, not only NAME=VALUE.
        cards: The GPU that the run gets, and those of the workers beside it; none where that does not matter.
    """
    from research.search import planner  # loads numpy, which a bare Python that only records may lack
    from research.verdict.seeds import Place

    history = reads.history(store)  # of all branches: their scores count, their decisions do not
    seen = str(sum(item.run.branch == branch for item in history))
    busy = {plan.plan for plan in in_flight}
    card, *others = cards or ("",)
    idea = next_idea(store, writes_code, busy) if history else None
    pending = store.pending_plan()
    if pending and pending.plan not in busy:
        wanted = {"branch": branch, "seen": seen, "card": card, IDEA: str(idea.idea) if idea else None}
        if all(pending.details.get(name) == value for name, value in wanted.items()):
            return pending
        store.close_plan(pending.plan, lab.now_utc(), None)
    memory = memory_of(lab, store, branch)
    if idea and memory.incumbent:
        plan = plan_idea(idea, memory, lab.now_utc(), card)
        store.update_idea(replace(idea, plan=plan.plan))
        keep_ideas(store, lab.paths)
    else:
        policy, place = store.fact(POLICY_FACT) or "discovery", Place(card, tuple(others))
        for seed in itertools.count(plan_seed(store) + attempt):
            plan = planner.plan_with(memory, history, seed, lab.now_utc(), tuple(in_flight), policy, place)
            known = store.plan(plan.plan)
            was_dropped = known and known.closed_utc and not known.run  # it would never pend
            if plan.plan not in busy and not was_dropped:
                break
        brief = planner.prompt(plan, memory)
        plan = replace(plan, details={**plan.details, "brief": brief})
    plan = replace(plan, details={**plan.details, "branch": branch, "seen": seen, "card": card})
    store.add_plan(plan)
    return plan


def plan_ahead(lab: Lab, store: Store, branch: str) -> None:
    """Plan the next experiment after a verdict; where that fails, whoever asks for a plan makes it."""
    if not branch.startswith(BRANCHES):
        return
    try:
        next_plan(lab, store, branch)
        read_digest(store, branch, memory=memory_of(lab, store, branch))
    except (ResearchError, ModuleNotFoundError, ArithmeticError, LookupError, ValueError, TypeError) as error:
        lab.say(f"no plan could be made ({type(error).__name__}: {error}); research next says more")


def plan_again(lab: Lab, store: Store, branch: str) -> None:
    """Plan for a loop that begins, since its plan was dropped when it was turned off."""
    if reads.history(store, branch) and store.pending_plan() is None:
        plan_ahead(lab, store, branch)


def carried_out(store: Store, branch: str, candidate: preflight.Candidate) -> Plan | None:
    """Return the pending plan if a commit carries it out, None where the commit does something else."""
    plan, commit = reads.plan_of(store, branch), candidate.commit
    if plan is None:
        return None
    if plan.kind == REPLICATE:
        return plan if plan.parent in (None, commit.hash) else None
    if not candidate.is_experiment or plan.parent not in (None, commit.parent):
        return None
    if recent.is_measured(store, commit.hash):
        return None
    return plan if tag_of(commit.subject) in (None, plan.emitter or FREE) else None


def close_finished_plans(store: Store, now_utc: str) -> None:
    """Close the plans whose run is on record but whose runner was killed before it could close them."""
    pending = store.pending_plan()
    while pending and (run := store.run_of_plan(pending.plan)):
        store.close_plan(pending.plan, now_utc, run)
        pending = store.pending_plan()
