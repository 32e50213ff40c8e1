"""Keeps the queue of a person's ideas, which are tried before the planner's own."""

from __future__ import annotations

import ast
import builtins
import contextlib
import difflib
import hashlib
import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import replace

from research.code.constants import assignments
from research.code.syntax_tree import parse, parse_expression
from research.core import git
from research.core.errors import ResearchError
from research.core.records import EXPERIMENT, IDEA, PERSON, RUN_SEED, Idea, Plan
from research.core.settings import SETTINGS
from research.core.text import any_of, quoted
from research.lab.lab import Lab
from research.runs.preflight import TARGET
from research.store.db import Store
from research.store.open import keep_ideas
from research.store.reads import WAITING, ideas
from research.verdict.models import Memory

SET_NAME, SET_VALUE = "set_name", "set_value"
"""Names of a plan's details that hold the constant and the value of an idea NAME=VALUE."""
_SETTING = re.compile(r"\s*([A-Za-z_]\w*(?:\[\d+\])?)\s*=(?!=)(.+)", re.S)
"""A name in any case, or one of several values, as NAME[1], and the value that it is to get."""


def add_idea(lab: Lab, store: Store, text: str) -> Idea:
    """Add an idea to the end of the queue.

    Raises:
        ResearchError: if it sets a constant that train.py does not have, a part of one, or to no value.
    """
    idea = Idea(0, text, lab.now_utc())
    name, value = idea.assignment or (_set_name(text), "")
    program = _program(lab) if name else None
    if program:
        _require_constant(name, dict(assignments(program.body)))
    if value and not _is_expression(value):
        try_it = f"uv run research idea try {shlex.quote(text)}"
        step = f"Queue one constant at a time, or words for a coding agent: {try_it}"
        raise ResearchError(f"{value!r} is no value that {name} can have.", step)
    if value and program and (unknown := _unknown_names(name, value, program)):
        as_text = shlex.quote(f'{name}="{value.strip()}"')
        step = f"If a text is meant, quote it: uv run research idea {as_text}"
        raise ResearchError(f"{TARGET} knows no name {any_of(unknown)}.", step)
    idea = replace(idea, idea=store.add_idea(idea))
    keep_ideas(store, lab.paths)
    return idea


def _program(lab: Lab) -> ast.Module | None:
    """Return the syntax tree of HEAD's train.py, None where there is none or it does not parse."""
    content = git.blob(lab.work, "HEAD", TARGET)
    with contextlib.suppress(SyntaxError):
        return parse(content) if content is not None else None
    return None


def _require_constant(name: str, known: Mapping[str, ast.expr]) -> None:
    """Raise a ResearchError where train.py has no constant of this name, or where it names one value of several."""
    if name in known:
        return
    whole = name.partition("[")[0].strip()
    if whole != name and whole in known:
        step = f"Give all of them: uv run research idea '{whole}={ast.unparse(known[whole])}'"
        raise ResearchError(f"{whole} holds several values, of which an idea can't set one.", step)
    capitals = name.upper()
    near = [capitals] if capitals in known else difflib.get_close_matches(capitals, known, 3)
    step = f"Did you mean {' or '.join(near)}?" if near else f"See them: grep -n '^[A-Z][A-Z0-9_]* = ' {TARGET}"
    raise ResearchError(f"{TARGET} has no constant {name}.", step)


def _unknown_names(name: str, value: str, program: ast.Module) -> list[str]:
    """Return the names in a constant's new value that Python does not know, nor train.py above the constant."""
    known = {*dir(builtins)}
    for node in program.body:
        if name in dict(assignments([node])):
            break
        known |= _names(node) | {part.asname or part.name for part in ast.walk(node) if isinstance(part, ast.alias)}
    new = parse_expression(value)
    return sorted(_names(new) - _names(new, ast.Store) - known)


def _names(tree: ast.AST, context: type[ast.expr_context] = ast.expr_context) -> set[str]:
    return {part.id for part in ast.walk(tree) if isinstance(part, ast.Name) and isinstance(part.ctx, context)}


def _set_name(text: str) -> str:
    """Return the name that a text NAME=VALUE sets, "" for any other text, which has no expression as its value."""
    match = _SETTING.fullmatch(text)
    return match[1] if match and _is_expression(match[2]) else ""


def _is_expression(text: str) -> bool:
    """Check whether a text parses as one expression."""
    try:
        parse_expression(text)
    except SyntaxError:
        return False
    return True


def withdraw_idea(lab: Lab, store: Store, number: int) -> bool:
    """Take a waiting idea out of the queue; return whether the pending plan was to carry it out.

    Raises:
        ResearchError: if there is no such idea, or it does not wait any more.
    """
    with store.write():
        found = next((one for one in ideas(store) if one.idea.idea == number), None)
        if found is None:
            raise ResearchError(f"There is no idea {number}.", "See them: uv run research idea")
        if found.status not in WAITING:
            raise ResearchError(f"Idea {number} does not wait any more.", "What became of it: uv run research idea")
        store.update_idea(replace(found.idea, closed_utc=lab.now_utc(), why=""))
        pending = store.pending_plan()
        is_planned = pending is not None and pending.details.get(IDEA) == str(number)
        if pending and is_planned:
            store.close_plan(pending.plan, lab.now_utc(), None)
    keep_ideas(store, lab.paths)
    return is_planned


def next_idea(store: Store, writes_code: bool, busy: Collection[str]) -> Idea | None:
    """Return the first waiting idea that is in no busy plan; if the agent writes no code, the first NAME=VALUE."""
    waiting = (idea for idea in store.ideas() if idea.is_waiting and idea.plan not in busy)
    return next((idea for idea in waiting if writes_code or idea.assignment), None)


def plan_idea(idea: Idea, memory: Memory, now: str, card: str = "") -> Plan:
    """Return the plan that carries an idea out on the best so far, on a GPU, with the agent's brief in its details."""
    from research.search.emitters.base import Emitter  # loads numpy, which a bare Python that only records may lack
    from research.verdict.seeds import Place, experiment_seed

    parent = memory.incumbent.commit if memory.incumbent else None
    name = hashlib.sha256(f"idea {idea.idea} {idea.created_utc} {parent} {now}".encode()).hexdigest()[:12]
    tip = memory.incumbent.key if memory.incumbent else None
    details = {IDEA: str(idea.idea), RUN_SEED: str(experiment_seed(memory.belief, tip, Place(card)))}
    if idea.assignment:
        details |= {SET_NAME: idea.assignment[0], SET_VALUE: idea.assignment[1]}
    reason = f"A person asks for it: {quoted(idea.text, SETTINGS.reason_chars)}."
    plan = Plan(name, now, PERSON, None, parent, EXPERIMENT, reason, details=details)
    words = quoted(idea.text, SETTINGS.idea_chars).replace("{", "{{").replace("}", "}}")
    order = f"carry out what this person asks for, as one change: {words}"
    brief = Emitter(PERSON, "try what a person asks for", order, "uncertain").brief(plan, memory)
    return replace(plan, details={**details, "brief": brief})


def give_up_idea(lab: Lab, store: Store, plan: Plan, why: str) -> None:
    """Close the idea of a plan that came to no run, with the reason; do nothing for a plan without an idea."""
    for idea in store.ideas():
        if str(idea.idea) == plan.details.get(IDEA):
            store.update_idea(replace(idea, closed_utc=lab.now_utc(), why=why))
            keep_ideas(store, lab.paths)
