"""Finds the review of a finished run, which the first hook that comes after it shows, once."""

from __future__ import annotations

from research.agents.hooks.entry import HookCall
from research.core.contract import HAND_PREFIX, SCORE_FILE
from research.core.records import OPEN_DECISIONS
from research.core.settings import SETTINGS
from research.core.text import count_of
from research.store import recent
from research.store.db import Store

_REVIEWS_SHOWN = 3
"""Reviews shown in full at once; a night makes more."""


def open_current_memory(call: HookCall) -> Store:
    """Record finished runs that were made by hand, then open the memory; what fails is tried again by a later hook."""
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


def _has_new_hand_made(call: HookCall, store: Store) -> bool:
    scores = call.paths.runs.glob(f"{HAND_PREFIX}*/{SCORE_FILE}")
    return any(not recent.is_folder_known(store, score.parent.name) for score in scores)


def unseen_review(store: Store, branch: str, with_step: bool = True) -> str:
    """Return the reviews of the runs on a branch that have finished and that no hook has shown yet, "" without one.

    Of runs that ended without a verdict the latest is shown, unless one was judged too: then it is no news any more.
    with_step says whether to add the command to type next, which an order that follows names itself.
    """
    if not branch or not any(_news(store, branch)):
        return ""
    with store.write():  # of hooks that ask at once, one shows it
        judged, failed = _news(store, branch)
        seen = f"{recent.last_verdict(store)} {failed[0] if failed else _seen(store, branch)[1]}"
        store.set_fact(f"shown:{branch}", seen)
    if not judged:
        return _failure(store, failed[1], with_step) if failed else ""
    first, last = judged[:-_REVIEWS_SHOWN], judged[-_REVIEWS_SHOWN:]
    have = "has" if len(first) == 1 else "have"
    more = [f"{count_of(len(first), 'more run')} {have} finished: uv run research summary"] if first else []
    return "\n\n".join([*more, *(_review(store, name, with_step) for name in last)])


def _seen(store: Store, branch: str) -> tuple[int, int]:
    """Return the numbers of the last verdict and of the last run without one that were shown."""
    numbers = [int(word) for word in (store.fact(f"shown:{branch}") or "").split() if word.isdecimal()]
    verdict, run = (*numbers, 0, 0)[:2]
    return verdict, run


def _news(store: Store, branch: str) -> tuple[list[str], tuple[int, str] | None]:
    """Return the runs that were judged since the last look, and the last that ended without a verdict."""
    verdict, run = _seen(store, branch)
    judged = recent.newly_judged(store, branch, verdict) if recent.last_verdict(store) > verdict else []
    return judged, recent.newly_failed(store, branch, run)


def _review(store: Store, name: str, with_step: bool) -> str:
    run, verdict = store.run(name), store.verdict(name)
    if run is None or verdict is None:
        return ""
    score = f", val_bpb {run.val_bpb:.6f}" if run.val_bpb is not None else ""
    lines = [line for line in verdict.text.strip().split("\n") if not line.startswith("Next: ")]
    text = f"Run {name} has finished ({run.outcome}{score}) and is recorded: {verdict.decision}. {verdict.why}\n"
    text = (text + "\n".join(lines))[: SETTINGS.context_chars]
    if not with_step:
        return text
    if verdict.decision in OPEN_DECISIONS:
        return f"{text}\nAnother seed decides; of which commit, and when, says: uv run research next"
    if verdict.settled_utc:
        return f"{text}\nIt is carried out in git."
    return f"{text}\nCarry it out in git: uv run research settle"


def _failure(store: Store, name: str, with_step: bool) -> str:
    run = store.run(name)
    if run is None:
        return ""
    step = " Mend the cause, or launch the same commit again." if run.counted else " Then launch it again."
    text = f"Run {name} ended as {run.outcome} and says nothing about the idea: {run.why[: SETTINGS.refusal_chars]}."
    return text + step * with_step
