"""Defines the verb next, which shows the next plan and the prompt that an agent would get, and changes nothing."""

from __future__ import annotations

import click

from research.agents.next_step import launch_line
from research.cli.kit import json_option, open_memory, show, this_lab
from research.core import git
from research.core.records import REPLICATE
from research.lab.ideas import next_idea, plan_idea
from research.lab.plan import POLICY_FACT, plan_seed
from research.lab.twin import same_program
from research.report.usage import night_in_progress
from research.store import reads, recent
from research.verdict.summary import plan_line


@click.command("next")
@click.option("--seed", type=int, help="Plan anew with this seed, whatever is pending.")
@json_option
def next_(seed: int | None, as_json: bool) -> None:
    lab = this_lab()
    root = lab.paths.root
    head = git.head(root)
    branch, commit = head.branch, head.commit
    with open_memory(lab) as store:
        pending = reads.plan_of(store, branch) if seed is None else None
        known = pending is not None and "brief" in pending.details
        history = [] if known else reads.history(store)
        chosen = plan_seed(store) if seed is None else seed
        idea = next_idea(store, True, ()) if seed is None else None
        policy = store.fact(POLICY_FACT) or "discovery"
        night = night_in_progress(store, lab)
        is_new = commit is not None and not recent.has_baseline(store, branch)
        is_measured = commit is not None and recent.is_measured(store, commit)
        again = is_new and same_program(root, store, branch, commit or "") is not None  # measured on another branch
    if pending is not None and known:
        plan, prompt = pending, pending.details["brief"]
    else:
        from research.search import planner  # loads numpy, which a plan that is on record does without
        from research.verdict.memory import recall

        memory = recall(history, branch)
        if pending is None and idea and memory.incumbent:
            plan = plan_idea(idea, memory, lab.now_utc())
        else:
            plan = pending or planner.plan_with(memory, history, chosen, lab.now_utc(), policy=policy)
        prompt = plan.details.get("brief") or planner.prompt(plan, memory)
    if plan.kind != REPLICATE or not plan.parent:
        is_elsewhere = is_measured and plan.parent and commit != plan.parent
        back = f"HEAD is at {commit}. First type: git reset --keep {plan.parent}\n\n" if is_elsewhere else ""
        prompt = f"{prompt}\n\n{back}Launch: {launch_line(lab.environment, plan, again)}"
    fields = ("plan", "emitter", "category", "parent", "kind", "reason")
    found = {name: getattr(plan, name) for name in fields}
    found |= {"pending": pending is not None, "phase": plan.details.get("phase", "")}
    on = f"A night is going on: {night}. It makes the next run itself: launch none.\n\n" if night else ""
    state = "Pending" if pending is not None else "Would be planned now"
    text = f"{on}{state}: {plan_line(plan)}\n\nThe agent would get:\n\n{prompt}"
    show("next", {"plan": found, "prompt": prompt}, text, as_json)
