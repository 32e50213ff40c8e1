"""Gives the agent its next order when its turn ends (Stop), on a branch of experiments, while autonomy is on."""

from __future__ import annotations

import time
from typing import Any

from research.agents import autonomy
from research.agents.autonomy import Autonomy
from research.agents.hooks.entry import HookCall
from research.agents.hooks.reviews import open_current_memory, unseen_review
from research.agents.next_step import TOLD_FACT, Situation, next_order
from research.core.clock import system_clock, utc
from research.core.contract import BRANCHES
from research.core.settings import SETTINGS
from research.store import recent
from research.store.db import Store

_WAITED_FOR = ("run_experiment.py", "modal_gpu.py", "research replicate", "sleep ")
"""Parts of the commands that launch a run or wait for one."""
_EVENT_CHARS = 2000
"""Characters of an order that the memory's event keeps."""


def answer(call: HookCall) -> dict[str, Any] | None:
    """Answer Stop."""
    if not call.head.branch.startswith(BRANCHES) or _will_be_woken(call):
        return None
    with open_current_memory(call) as store:
        if not autonomy.load(store).enabled:
            return None
        here = Situation(call.paths, call.head, store, call.client, call.environment)
        with store.write():  # looking around takes a moment, in which the switch may have been turned off
            state = autonomy.load(store)
            return _continue(store, here, state) if state.enabled else None


def _will_be_woken(call: HookCall) -> bool:
    """Return whether a run, or a wait for one, goes on in the background, so that its end wakes the agent."""
    tasks = call.payload.get("background_tasks")  # only Claude Code has them
    found = [task for task in tasks if isinstance(task, dict)] if isinstance(tasks, list) else []
    commands = [str(task.get("command") or "") for task in found if task.get("status") == "running"]
    return any(part in command for command in commands for part in _WAITED_FOR)


def _continue(store: Store, here: Situation, state: Autonomy) -> dict[str, Any] | None:
    """Return the order to go on, or end the loop where a limit is reached or nothing happens any more."""
    order = next_order(here, SETTINGS.order_words)
    launched, usd = recent.last_run(store) - state.first_run, recent.spent_usd(store, state.first_run)
    reason = autonomy.reached_limit(state, time.time(), launched, usd)
    if reason and order.kind != "wait":  # a client may end a run in progress with the turn
        return _end_loop(store, state, reason)
    if not order.text:
        return None
    progress = f"{recent.last_run(store)} {recent.last_verdict(store)}"
    after, reason = autonomy.continued(state, progress)
    if reason:
        return _end_loop(store, state, reason)
    autonomy.save(store, after)
    if order.kind == "missing":
        store.set_fact(TOLD_FACT, here.missing)
    if review := unseen_review(store, here.branch, with_step=False):
        order = next_order(here, SETTINGS.order_words_beside_review)
    text = f"{review}\n\n{order.text}".strip()
    event = {"kind": order.kind, "order": text[:_EVENT_CHARS]}
    store.add_event(utc(system_clock()), "stop_continue", None, event)
    return {"decision": "block", "reason": text[: SETTINGS.context_chars]}


def _end_loop(store: Store, state: Autonomy, reason: str) -> dict[str, Any]:
    """Turn the switch off; return the answer that tells the person why."""
    autonomy.save(store, autonomy.turned_off(state, reason, time.time(), by_itself=True))
    store.add_event(utc(system_clock()), "autonomy", None, {"enabled": False, "reason": reason})
    return {"systemMessage": f'Autoresearch: the loop has ended. {reason} Say "continue" to go on.'}
