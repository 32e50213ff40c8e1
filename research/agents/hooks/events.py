"""SessionStart, UserPromptSubmit, PostToolUse and Stop: what is known goes in, the next order comes out at the end."""

from __future__ import annotations

import os
import time

from research.agents import autonomy
from research.agents.hooks.entry import context
from research.agents.hooks.git_fast import branch_of
from research.agents.hooks.pre_tool_use import SEEN, lab_options
from research.agents.hooks.wire import dumps
from research.store.glance import glance, number_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from research.agents.hooks.entry import Call
    from research.store.glance import Glance

_NOT_TURNED = "The person asked to turn autonomous continuation on or off, and the switch could not be turned"
_BY_HAND = "Tell them to type `uv run research doctor`, then `uv run research autonomy on` or `off`."
HAND = "hand-"
CONTEXT_CHARS = 6_000
"""Where a text is cut without asking the settings, whose loading an ordinary hook can't wait for; a test holds both
together."""


ORDER_WORDS = 700
"""Longest order where the switch does not say."""
LEAST_WORDS = 250
"""What an order keeps beside a review: its own words, and the beginning of its brief."""
WORD_CHARS = 4
"""Letters of a review that count as a word of the order: it is full of numbers, which take more tokens."""
_SIGNS = (
    "stop", "halt", "pause", "quit", "abort", "cease", "desist", "autonom", "loop", "continue", "resume", "go on",
    "keep", "carry on", "proceed", "kick", "experiment", "summari", "hold", "enough", "call it",
    "no more", "no further", "runs", "a run",
)  # fmt: skip
"""Every order of the phrase book holds one of these; without one, the book need not be opened."""


def _utc(now: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))


def _experimental(branch: str) -> bool:
    return branch.startswith("autoresearch/")


# News ---------------------------------------------------------------------------------------------------------------


def news(call: Call) -> str:
    """The review of a run that finished and that no hook has shown yet; whichever hook comes first shows it, once."""
    branch = branch_of(call.root)
    with glance(call.discovery, call.log) as store:
        text = _news(store, branch) if store is not None and branch else ""
    _looked(call)
    return text[:CONTEXT_CHARS]


def _looked(call: Call) -> None:
    path = os.path.join(call.discovery, SEEN)
    try:
        with open(path, "a", encoding="utf-8"):
            os.utime(path)
    except OSError:
        pass


def _news(store: Glance, branch: str) -> str:
    name = f"shown:{branch}"
    shown = number_of(store.fact(name))
    rows = store.verdicts_after(shown, branch)
    if rows and store.advance(name, rows[0]["seq"]):
        store.advance(f"told:{branch}", store.last("runs"))
        return _review(rows[0])
    if not rows and (last := store.last("verdicts")) > shown:
        store.advance(name, last)
    told = f"told:{branch}"
    failed = store.failed_after(number_of(store.fact(told)), branch)
    if failed and store.advance(told, failed[0]["seq"]):
        row = failed[0]
        return (
            f"Run {row['run']} ended as {row['outcome']} and says nothing about the idea: {str(row['why'])[:300]}. "
            "It is not an experiment's result; mend the cause or run the same commit again."
        )
    return ""


def _review(row: dict[str, Any]) -> str:
    score = f", val_bpb {row['val_bpb']:.6f}" if row["val_bpb"] is not None else ""
    head = f"Run {row['run']} has finished ({row['outcome']}{score}) and is recorded: {row['decision']}. {row['why']}"
    step = (
        "It needs another seed: uv run research replicate."
        if row["decision"] in ("replicate", "investigate")
        else "Carry it out in git: uv run research settle."
    )
    return f"{head}\n{str(row['text'] or '').strip()}\n{step} The ledger is written already."


# Hand-made runs -----------------------------------------------------------------------------------------------------


def import_hand_made(call: Call) -> None:
    """Takes in finished runs that were made by hand; what can't be now is at the next look, and keeps no hook."""
    try:
        _import_hand_made(call)
    except Exception as error:
        call.log(f"runs made by hand were not taken in: {type(error).__name__}: {error}")


def _import_hand_made(call: Call) -> None:
    """Looks for them when the folder of runs changed since the last look."""
    runs = os.path.join(call.root, "results", "runs")
    note = os.path.join(call.discovery, ".hand-made")
    try:
        stamp = os.stat(runs).st_mtime_ns
    except OSError:
        return
    try:
        with open(note, encoding="utf-8") as file:
            seen, *pending = file.read().split("\n")
    except OSError:
        seen, pending = "", []
    if seen != str(stamp):
        with os.scandir(runs) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(HAND)]
        with glance(call.discovery, call.log) as store:
            pending = [name for name in names if store is None or not store.knows_folder(name)]
    done = [name for name in pending if name and os.path.exists(os.path.join(runs, name, "score.json"))]
    if done:
        from pathlib import Path

        from research.core.paths import LabPaths
        from research.lab.lab import Lab

        Lab(LabPaths(Path(call.root)), say=call.log).open().close()
        pending = [name for name in pending if name not in done]
    if done or seen != str(stamp):
        os.makedirs(call.discovery, exist_ok=True)
        with open(note, "w", encoding="utf-8") as file:
            file.write("\n".join([str(stamp), *pending]))


# Contexts -----------------------------------------------------------------------------------------------------------


def session_start(call: Call) -> dict[str, Any] | None:
    """Answers SessionStart: where the lab stands, also after a compaction or /clear."""
    if call.driven:
        return None
    from research.agents.hooks.session_context import summary

    import_hand_made(call)
    branch = branch_of(call.root)
    with glance(call.discovery, call.log) as store:
        on = store is not None and autonomy.load(store).enabled
        parts = [
            f"Autoresearch, session {call.text('source') or 'startup'}. Branch: {branch or '(detached)'}. "
            f"Autonomy: {'on' if on else 'off'}.",
            summary(call, store, branch),
        ]
        if store is not None and _experimental(branch):
            parts.append(_news(store, branch))
    parts.append(
        "Protocol: program.md. `uv run research summary` says all of this and more. The memory in results/ and "
        "results.tsv is the runner's: read it through the verbs, never write or commit it."
    )
    return context("SessionStart", "\n\n".join(part for part in parts if part)[:CONTEXT_CHARS])


def prompt(call: Call) -> dict[str, Any] | None:
    """Answers UserPromptSubmit: notes what the person says about going on, and says how things stand."""
    if call.driven:
        return None
    branch = branch_of(call.root)
    try:
        said = _note(call, branch)
    except Exception as error:  # a stop that is not heard must be known of
        call.log(f"the switch was not turned: {type(error).__name__}: {error}")
        said = f"{_NOT_TURNED} now ({error}). {_BY_HAND}"
    import_hand_made(call)
    with glance(call.discovery, call.log) as store:
        on = store is not None and autonomy.load(store).enabled
        parts = [said] if said else []
        if _experimental(branch):
            from research.agents.hooks.session_context import in_short

            parts.append(
                f"Autoresearch hooks are active on {branch}; autonomous continuation is "
                f"{'on' if on else 'off until the person starts it'}. {in_short(store, branch)}\n"
                "Experiments change train.py alone; runner fixes go in separate infrastructure commits. One run : one "
                "`exp:` commit : one row of results.tsv, the public ledger, which the runner writes (a replicate is "
                "one more row). Trust its review. Launch: "
                f"python scripts/run_experiment.py {lab_options(call.environment)} -- uv run train.py > run.log 2>&1"
            )
            parts.append(_news(store, branch) if store is not None else "")
    return context("UserPromptSubmit", "\n\n".join(part for part in parts if part)[:CONTEXT_CHARS])


def _note(call: Call, branch: str) -> str:
    """Turns the switch if the prompt says so; returns a sentence about it."""
    text = call.text("prompt")
    if not any(word in text.casefold() for word in _SIGNS):
        return ""
    from research.agents.intent import intent, limits

    wish = intent(text)
    if wish is None:
        return ""
    if wish != "off" and not os.path.exists(os.path.join(call.discovery, "memory.db")):
        if wish == "resume":
            return ""
        _make_store(call)
    now = time.time()
    with glance(call.discovery, call.log) as store:
        if store is None:
            there = os.path.exists(os.path.join(call.discovery, "memory.db"))
            return f"{_NOT_TURNED}: the lab's memory can't be read. {_BY_HAND}" if there else ""
        before = autonomy.load(store)
        if wish == "resume" and not (before.by_itself and not before.enabled):
            return ""
        if wish == "off" and not before.enabled:
            return ""
        if wish == "off":
            after = autonomy.turned_off(before, text, now)
            said = "Autonomous continuation is now off: finish what was asked and end your turn."
        else:
            after = autonomy.turned_on(before, text, now, store.last("runs"), limits(text))
            said = "Autonomous continuation is now on: go on from experiment to experiment without asking."
            if not _experimental(branch):
                said += " It works on autoresearch/* branches: create one first (program.md, set-up)."
        autonomy.save(store, after)
        store.add_event(_utc(now), "autonomy", dumps({"enabled": after.enabled, "prompt": text[:500]}))
        if not after.enabled:
            try:
                store.drop_plans(_utc(now))
            except Exception as error:  # the switch has turned, which is what was asked
                call.log(f"the plan was left as it is: {type(error).__name__}: {error}")
    return said if after.enabled != before.enabled else ""


def _make_store(call: Call) -> None:
    from pathlib import Path

    from research.core.paths import LabPaths
    from research.store.open import open_store

    open_store(LabPaths(Path(call.root)), _utc(time.time()), call.log).close()


def after_tool(call: Call) -> dict[str, Any] | None:
    """Answers PostToolUse: the review of a run that has finished, whatever command this was."""
    if call.driven:
        return None
    import_hand_made(call)
    return context("PostToolUse", news(call))


# Stop ---------------------------------------------------------------------------------------------------------------


def stop(call: Call) -> dict[str, Any] | None:
    """Answers Stop: the next order, while autonomy is on, on a branch of experiments, within the limits."""
    branch = branch_of(call.root)
    if call.driven or not _experimental(branch):
        return None
    import_hand_made(call)
    now = time.time()
    with glance(call.discovery, call.log) as store:
        if store is None:
            return None
        held = store.fact(autonomy.FACT)
        state = autonomy.read(held)
        if not state.enabled:
            return None
        launched = store.last("runs") - state.first_run
        usd = store.spent_usd(state.first_run) if state.usd else 0.0
        reason = autonomy.reached(state, now, launched, usd)
        from research.agents.next_step import next_order
        from research.agents.state import look

        here = look(call.root, branch, store, lab_options(call.environment), call.environment)
        words = state.order_words or ORDER_WORDS
        order = next_order(here, words)
        if reason and order.kind != "wait":  # codex exec ends a run in progress with the turn
            return _let_go(call, store, held, state, reason, now)
        if not order.text:
            return None
        progress = f"{here.head} {store.last('runs')} {store.last('verdicts')}"
        if reason := autonomy.went_on(state, progress, _digest(call.text("last_assistant_message"))):
            return _let_go(call, store, held, state, reason, now)
        if not store.exchange(autonomy.FACT, held, dumps(state.as_dict())):
            return stop(call)  # the switch was turned meanwhile: what it says now is what holds
        if order.kind == "no-data":
            store.set_fact("told_of_data", "1")
        if review := _news(store, branch):
            order = next_order(here, max(LEAST_WORDS, words - len(review) // WORD_CHARS))
        text = "\n\n".join(part for part in (review, order.text) if part)
        store.add_event(_utc(now), "stop_continue", dumps({"kind": order.kind, "order": text[:2000]}))
    _looked(call)
    return {"decision": "block", "reason": text[:CONTEXT_CHARS]}


def _let_go(
    call: Call, store: Glance, held: str | None, state: autonomy.Autonomy, reason: str, now: float
) -> dict[str, Any] | None:
    """Ends the loop with a message, unless the switch was turned meanwhile."""
    after = autonomy.turned_off(state, reason, now, by_itself=True)
    if not store.exchange(autonomy.FACT, held, dumps(after.as_dict())):
        return stop(call)
    store.add_event(_utc(now), "autonomy", dumps({"enabled": False, "reason": reason}))
    return {"systemMessage": f'Autoresearch: the loop has ended. {reason} Say "continue" to go on.'}


def _digest(text: str) -> str:
    from zlib import crc32

    return f"{crc32(' '.join(text.split()).encode('utf-8', 'replace')):08x}-{len(text)}" if text.strip() else ""
