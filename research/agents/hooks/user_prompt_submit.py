"""Turns the switch when a prompt asks for it (UserPromptSubmit), and gives the rules and the branch's state."""

from __future__ import annotations

import time
from typing import Any

from research.agents import autonomy
from research.agents.autonomy import Autonomy
from research.agents.hooks.entry import HookCall
from research.agents.hooks.reviews import open_current_memory, unseen_review
from research.agents.hooks.session_start import best_and_phase
from research.agents.intent import Intent, NamedLimits, intent, read_limits
from research.agents.next_step import launch_line
from research.core.clock import system_clock, utc
from research.core.contract import BRANCHES
from research.store import reads, recent
from research.store.db import Store

_NOT_TURNED = (
    "Autonomous continuation could not be turned on or off as this message asks ({error}). A person who wants it types "
    "`uv run research doctor`, then `uv run research autonomy on` or `off`."
)
_OFF = "Autonomous continuation is now off: finish what was asked and end your turn."
_ON = "Autonomous continuation is now on: go on from experiment to experiment without asking. Limits:"
_STILL_ON = "the loop is still on; to end it, type stop."
_OFF_BY_AGENT = "If this message asks to end it, type `uv run research autonomy off` and end your turn."
_LIMITS_ARE = "A limit is a number of runs, hours, minutes or dollars, or a time of day such as 06:30."
_PROMPT_CHARS = 500
"""Characters of a prompt that the memory's event keeps."""


def answer(call: HookCall) -> dict[str, Any] | None:
    """Answer UserPromptSubmit; what the switch did is said to the person too."""
    branch = call.head.branch
    mark = call.client.wake_mark
    if mark and call.text("prompt").lstrip().startswith(mark):  # the client wakes the agent, no person speaks
        with open_current_memory(call) as store:
            return call.context(review=unseen_review(store, branch))
    try:
        turned = _turn_switch(call, branch)
    except Exception as error:  # the person must learn of a stop that was not carried out
        call.log(f"the switch was not turned: {type(error).__name__}: {error}")
        turned = _NOT_TURNED.format(error=error)
    with open_current_memory(call) as store:
        is_on = autonomy.load(store).enabled
        unread = _STILL_ON if is_on and not turned else ""
        parts = [turned, unread and f"{unread} {_OFF_BY_AGENT}"]
        if branch.startswith(BRANCHES) and not call.is_unreadable(store):
            parts += [_rules(call, store, branch, is_on), unseen_review(store, branch)]
        told = call.context(*parts)
    if told and (turned or unread):
        told["systemMessage"] = f"Autoresearch: {turned or unread}"
    return told


def _rules(call: HookCall, store: Store, branch: str, is_on: bool) -> str:
    """Return the rules for an agent on a branch of experiments, with the branch's state."""
    launch = launch_line(call.environment, reads.plan_of(store, branch))
    return (
        f"Autoresearch hooks are active on {branch}; autonomous continuation is "
        f"{'on until the person types `stop`' if is_on else 'off until the person starts it'}. "
        f"{best_and_phase(store, branch)}\n"
        "Experiments change train.py alone; runner fixes go in separate infrastructure commits. One run : one "
        "`exp:` commit : one row of results.tsv, the public ledger, which the runner writes (a replicate is "
        f"one more row). Trust its review. Launch: {launch}"
    )


def _turn_switch(call: HookCall, branch: str) -> str:
    """Turn the switch if the prompt asks for it; return a sentence about it, "" where it asks for nothing."""
    text = call.text("prompt")
    wish = intent(text)
    if wish is None or (wish != "on" and not call.paths.memory.exists()):
        return ""
    named = read_limits(text, time.localtime())
    with call.open_to_write() as store:
        with store.write():
            before = autonomy.load(store)
            after = _as_wished(store, before, wish, text, named)
            if after is not before:
                autonomy.save(store, after)
                event = {"enabled": after.enabled, "prompt": text[:_PROMPT_CHARS]}
                store.add_event(utc(system_clock()), "autonomy", None, event)
        if before.enabled and not after.enabled:
            _drop_plans(call, store)
    if not after.enabled:
        return _OFF if before.enabled else ""
    said = f"{'The limits of the loop are now:' if before.enabled else _ON} {autonomy.limits_in_words(after)}."
    if named.unread:
        said += f" Not understood as a limit: {', '.join(map(repr, named.unread))}. {_LIMITS_ARE}"
    if not branch.startswith(BRANCHES):
        said += f" It works on {BRANCHES}* branches: create one first (program.md, set-up)."
    return said


def _as_wished(store: Store, before: Autonomy, wish: Intent, text: str, named: NamedLimits) -> Autonomy:
    """Return the switch as a prompt wishes it, the same object where nothing changes."""
    now = time.time()
    if wish == "off" and before.enabled:
        return autonomy.turned_off(before, text, now)
    if wish == "on" or (before.enabled and named.limits) or (wish == "resume" and before.by_itself):
        usd = recent.spent_usd(store, before.first_run)
        return autonomy.turned_on(before, text, now, recent.last_run(store), named.limits, usd)
    return before


def _drop_plans(call: HookCall, store: Store) -> None:
    try:
        store.drop_plans(utc(system_clock()))
    except Exception as error:  # the switch has turned, which is what was asked
        call.log(f"the plan was left as it is: {type(error).__name__}: {error}")
