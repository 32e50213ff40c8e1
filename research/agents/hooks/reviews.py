"""Finds what every hook may have to show: the review of a finished run, once, whichever hook comes first."""

from __future__ import annotations

import os

from research.agents.hooks.entry import Call
from research.core.contract import HAND, SCORE_FILE
from research.core.records import OPEN_DECISIONS, Run, Verdict
from research.core.settings import SETTINGS
from research.store import recent
from research.store.db import Store

_REVIEWS_SHOWN = 3
"""Reviews shown in full at once; a night makes more."""


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


def unseen_review(store: Store, branch: str, with_step: bool = True) -> str:
    """Return the reviews of the runs on a branch that have finished and that no hook has shown yet, "" without one.

    Args:
        store: The memory.
        branch: The branch.
        with_step: Whether to say what to type next, which an order that follows says itself.
    """
    if not branch:
        return ""
    if names := _newly_judged(store, branch):
        first, last = names[:-_REVIEWS_SHOWN], names[-_REVIEWS_SHOWN:]
        found = [(store.run(name), store.verdict(name)) for name in last]
        texts = [_review(run, verdict, with_step) for run, verdict in found if run and verdict]
        more = [f"{len(first)} more runs have finished: uv run research summary"] if first else []
        return "\n\n".join([*more, *texts])
    if name := _newly_failed(store, branch):
        run = store.run(name)
        return _failure(run, with_step) if run else ""
    return ""


def _newly_judged(store: Store, branch: str) -> list[str]:
    """Return the runs that were judged since the last look, to one caller of all that ask at once."""
    fact = f"shown:{branch}"
    if recent.last_verdict(store) <= _number(store.fact(fact)):
        return []
    with store.write():
        seen, last = _number(store.fact(fact)), recent.last_verdict(store)
        names = recent.newly_judged(store, branch, seen) if last > seen else []
        store.set_fact(fact, str(max(seen, last)))
        if names:  # a failure before them is no news any more
            store.set_fact(f"told:{branch}", str(recent.last_run(store)))
    return names


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


def _review(run: Run, verdict: Verdict, with_step: bool) -> str:
    score = f", val_bpb {run.val_bpb:.6f}" if run.val_bpb is not None else ""
    lines = [line for line in verdict.text.strip().split("\n") if not line.startswith("Next: ")]
    step = "\nCarry it out in git: uv run research settle"
    if verdict.decision in OPEN_DECISIONS:
        step = "\nAnother seed decides; of which commit, and when, says: uv run research next"
    elif verdict.settled_utc:
        step = "\nIt is carried out in git."
    text = "\n".join(
        [
            f"Run {run.run} has finished ({run.outcome}{score}) and is recorded: {verdict.decision}. {verdict.why}",
            *lines,
        ]
    )
    return text[: SETTINGS.context_chars] + (step if with_step else "")


def _failure(run: Run, with_step: bool) -> str:
    text = f"Run {run.run} ended as {run.outcome} and says nothing about the idea: {run.why[: SETTINGS.refusal_chars]}."
    step = " Mend the cause, or launch the same commit again." if run.counted else " Then launch it again."
    return text + (step if with_step else "")
