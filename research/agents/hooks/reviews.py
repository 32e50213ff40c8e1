"""Finds what every hook may have to show: the review of a finished run, once, whichever hook comes first."""

from __future__ import annotations

import os

from research.agents.hooks.entry import Call
from research.core.contract import HAND, SCORE_FILE
from research.core.records import OPEN_DECISIONS, Run, Verdict
from research.core.settings import SETTINGS
from research.store import recent
from research.store.db import Store


def open_current_memory(call: Call) -> Store:
    """Record finished runs that were made by hand, then open the memory; a later hook tries again what fails now."""
    store = call.open_memory()
    try:
        if not _has_new_hand_made(call, store):
            return store
        from research.lab.lab import Lab

        Lab(call.paths, say=call.log).open().close()
    except Exception as error:
        call.log(f"runs made by hand were not recorded: {type(error).__name__}: {error}")
    store.close()
    return call.open_memory()


def _has_new_hand_made(call: Call, store: Store) -> bool:
    if not call.paths.runs.is_dir():
        return False
    with os.scandir(call.paths.runs) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(HAND)]
    return any(
        (call.paths.runs / name / SCORE_FILE).exists() and not recent.is_folder_known(store, name) for name in names
    )


def unseen_review(store: Store, branch: str) -> str:
    """Return the review of a run on a branch that has finished and that no hook has shown yet, "" without one."""
    if not branch:
        return ""
    if name := _newly_judged(store, branch):
        run, verdict = store.run(name), store.verdict(name)
        return _review(run, verdict) if run and verdict else ""
    if name := _newly_failed(store, branch):
        run = store.run(name)
        return _failure(run) if run else ""
    return ""


def _newly_judged(store: Store, branch: str) -> str | None:
    """Return the run that was judged since the last look, to one caller of all that ask at once."""
    fact = f"shown:{branch}"
    if recent.last_verdict(store) <= _number(store.fact(fact)):
        return None
    with store.write():
        seen, last = _number(store.fact(fact)), recent.last_verdict(store)
        name = recent.newly_judged(store, branch, seen) if last > seen else None
        store.set_fact(fact, str(max(seen, last)))
        if name:  # a failure before it is no news any more
            store.set_fact(f"told:{branch}", str(recent.last_run(store)))
    return name


def _newly_failed(store: Store, branch: str) -> str | None:
    """Return the run that ended without a verdict since the last look, to one caller of all that ask at once."""
    fact = f"told:{branch}"
    failed = recent.newly_failed(store, branch, _number(store.fact(fact)))
    if failed is None:
        return None
    with store.write():
        if _number(store.fact(fact)) >= failed[0]:
            return None
        store.set_fact(fact, str(failed[0]))
    return failed[1]


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _review(run: Run, verdict: Verdict) -> str:
    score = f", val_bpb {run.val_bpb:.6f}" if run.val_bpb is not None else ""
    step = (
        "Another seed decides; `uv run research next` says of which commit, and when."
        if verdict.decision in OPEN_DECISIONS
        else "Carry it out in git: uv run research settle."
    )
    return (
        f"Run {run.run} has finished ({run.outcome}{score}) and is recorded: {verdict.decision}. {verdict.why}\n"
        f"{verdict.text.strip()}\n{step} The ledger is written already."
    )[: SETTINGS.context_chars]


def _failure(run: Run) -> str:
    return (
        f"Run {run.run} ended as {run.outcome} and says nothing about the idea: {run.why[: SETTINGS.reason_chars]}. "
        "It is not an experiment's result; mend the cause or run the same commit again."
    )
