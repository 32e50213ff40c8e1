"""Keeps the queue of a person's ideas, which are tried before the planner's own."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Collection
from dataclasses import replace

from research.code.constants import assignments
from research.code.syntax_tree import parse
from research.core import git
from research.core.errors import ResearchError
from research.core.records import EXPERIMENT, IDEA, PERSON, Idea, Plan
from research.core.settings import SETTINGS
from research.core.text import quoted
from research.lab.lab import Lab
from research.runs.preflight import TARGET
from research.store.db import Store
from research.store.open import keep_ideas
from research.verdict.models import Memory

SET_NAME, SET_VALUE = "set_name", "set_value"
"""Names of a plan's details that hold the constant and the value of an idea NAME=VALUE."""


def add_idea(lab: Lab, store: Store, text: str) -> Idea:
    """Put an idea at the end of the queue.

    Raises:
        ResearchError: if it sets a constant that train.py does not have.
    """
    idea = Idea(0, text, lab.now_utc())
    content = git.blob(lab.work, "HEAD", TARGET) if idea.assignment else None
    if idea.assignment and content is not None:
        name, names = idea.assignment[0], [name for name, _ in assignments(parse(content).body)]
        if name not in names:
            near = difflib.get_close_matches(name, names, 3)
            step = f"Did you mean {' or '.join(near)}?" if near else f"See them: grep -n '^[A-Z_]* = ' {TARGET}"
            raise ResearchError(f"{TARGET} has no constant {name}.", step)
    idea = replace(idea, idea=store.add_idea(idea))
    keep_ideas(store, lab.paths)
    return idea


def next_idea(store: Store, writes_code: bool, busy: Collection[str]) -> Idea | None:
    """Return the first idea that waits and is in no busy plan; if nobody writes code, the first NAME=VALUE."""
    ideas = (idea for idea in store.ideas() if idea.is_waiting and idea.plan not in busy)
    return next((idea for idea in ideas if writes_code or idea.assignment), None)


def plan_idea(lab: Lab, store: Store, idea: Idea, memory: Memory) -> Plan:
    """Return the plan that carries an idea out on the best so far; its details hold what an agent is told."""
    from research.search.emitters.base import Emitter  # loads numpy, which a bare Python that only records may lack

    now, parent = lab.now_utc(), memory.incumbent.commit if memory.incumbent else None
    name = hashlib.sha256(f"idea {idea.idea} {idea.created_utc} {parent} {now}".encode()).hexdigest()[:12]
    details = {IDEA: str(idea.idea)}
    if idea.assignment:
        details |= {SET_NAME: idea.assignment[0], SET_VALUE: idea.assignment[1]}
    reason = f"A person asks for it: {quoted(idea.text, SETTINGS.reason_chars)}."
    plan = Plan(name, now, PERSON, None, parent, EXPERIMENT, reason, details=details)
    words = quoted(idea.text, SETTINGS.idea_chars).replace("{", "{{").replace("}", "}}")
    order = f"carry out what this person asks for, as one change: {words}"
    brief = Emitter(PERSON, "try what a person asks for", order, "uncertain").brief(plan, memory)
    store.update_idea(replace(idea, plan=name))
    keep_ideas(store, lab.paths)
    return replace(plan, details={**details, "brief": brief})


def give_up_idea(lab: Lab, store: Store, plan: Plan, why: str) -> None:
    """Note why a plan's idea came to no run; other plans have none."""
    for idea in store.ideas():
        if str(idea.idea) == plan.details.get(IDEA):
            store.update_idea(replace(idea, closed_utc=lab.now_utc(), why=why))
            keep_ideas(store, lab.paths)
