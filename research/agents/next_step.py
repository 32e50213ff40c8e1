"""Writes the next order for an agent whose turn ended: a short text from one situation, facts first.

Text of others (subjects, reasons from logs) is bounded, on one line, and quoted as data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from research.agents.policy.protected import restore_advice
from research.agents.state import LOCAL, Situation, launch_seed
from research.core.commands import launch_command, replicate_command
from research.core.commit_message import EXPERIMENT, FREE
from research.core.records import OPEN_DECISIONS, Plan
from research.core.settings import SETTINGS
from research.core.text import clean, quoted
from research.runs.backend import DEVICE_TAKEN
from research.store.recent import RecentVerdict


@dataclass(frozen=True)
class Order:
    """What to do next: its kind, and the text; an empty text lets the agent stop."""

    kind: Literal["wait", "settle", "replicate", "missing", "dirty", "baseline", "run", "twin", "plan"]
    text: str


def next_order(here: Situation, words: int) -> Order:
    """Return the first thing that is to be done, in so many words at most."""
    if here.running:
        return Order(
            "wait",
            f"Run {here.running[0].run} is still in progress. Start nothing else. {here.client.rejoining} After its "
            "end, read `uv run research last-review`.",
        )
    if here.gone:
        return Order(
            "settle",
            f"Run {here.gone[0].run} ended without its runner (it was interrupted; that says nothing about the idea). "
            "Type `uv run research settle`, which records that, and then launch HEAD again if it is not measured.",
        )
    if here.subject.startswith(EXPERIMENT) and not here.measured:  # settling would drop HEAD, and is refused
        return _work_tree_order(here) or _verdict_order(here) or _plan_order(here, words)
    return _verdict_order(here) or _work_tree_order(here) or _plan_order(here, words)


def _verdict_order(here: Situation) -> Order | None:
    """Return the order to carry out the oldest verdict that git has not followed, else to measure an open one again."""
    by_run: dict[str, RecentVerdict] = {}
    by_code: dict[str, RecentVerdict] = {}
    for verdict in here.verdicts:
        by_run.setdefault(verdict.run, verdict)
        by_code.setdefault(verdict.fingerprint or verdict.commit, verdict)
    waiting = [v for v in by_run.values() if not v.settled_utc and v.decision not in OPEN_DECISIONS]
    if waiting:
        verdict = waiting[-1]
        return Order(
            "settle",
            f"Run {verdict.run} is judged: {verdict.decision} ({_quoted(verdict.why)}). Carry that out in git: "
            "`uv run research settle`. It moves the branch only where nothing is lost; if it says what is in the way, "
            "do that first.",
        )
    undecided = next((v for v in by_code.values() if v.decision in OPEN_DECISIONS), None)
    if undecided is None or here.plan is not None:  # the plan knows which seed tells most, and of which configuration
        return None
    look = " It gains far more than anything before, so look at its diff too." * (undecided.decision == "investigate")
    text = f"Run {undecided.run} is undecided ({_quoted(undecided.why)}): it needs another seed.{look}"
    return Order("replicate", f"{text}{_refusal(here, undecided.commit)}\n{_replicate(here, undecided.commit)}")


def _work_tree_order(here: Situation) -> Order | None:
    """Return the order that data, train.py or HEAD ask for, None where the work tree is ready for an idea."""
    if here.missing:
        return Order("missing", "" if here.is_told else f"{here.missing}\nThen end your turn.")
    if here.fixed and (here.measured or not _refusal(here, here.head)):  # a refusal says what is to be done itself
        return Order("dirty", restore_advice(here.fixed))
    if here.is_dirty:
        return Order(
            "dirty",
            "train.py has changes that are not committed. If they are the one idea to be tested, commit them: "
            f"`{here.commit_line}`. If not, drop them: `git restore --staged --worktree train.py`.",
        )
    refusal = _refusal(here, here.head)
    if not here.has_baseline:
        text = f"This branch has no baseline yet.{refusal} Measure train.py as it is:\n{_launch(here)}"
        return Order("baseline", text)
    head = f"HEAD {here.head[:7]} {quoted(here.subject, 90)}"
    if here.twin and not here.measured:
        return Order(
            "twin",
            f"{head} is the same program as run {here.twin}, so it would not be measured again. Take it back: "
            f"`git reset --keep {here.way_back[:7]}`. Then try another idea.",
        )
    is_experiment = here.subject.startswith(EXPERIMENT)
    if not here.measured and (here.not_counted or is_experiment):
        why = _quoted(here.not_counted) if is_experiment else here.not_counted  # of others it says what to type
        lost = f" Its last launch did not count: {why}." if here.not_counted else ""
        return Order("run", f"{head} is not measured yet.{lost or refusal}\n{_launch(here)}")
    return None


def _refusal(here: Situation, commit: str) -> str:
    """Return why the last launch of a commit was refused and what comes first, "" where it was not."""
    if not here.refusal or here.refused != commit:
        return ""
    why = clean(" ".join(here.refusal.split()), SETTINGS.refusal_chars)
    then = "Wait with `sleep 100` first." if why.startswith(DEVICE_TAKEN) else "Mend that first."
    return f" The last launch was refused:\n{why}\n{then}"


def _quoted(text: str) -> str:
    return quoted(text, SETTINGS.quoted_chars)


def _launch(here: Situation) -> str:
    line = launch_command(here.options, launch_seed(here.plan))
    return (
        f"Type, from the top of the repository{here.client.launching}: {line}\n"
        f"{here.client.waiting} After its end, read `uv run research last-review` and type `uv run research settle`. "
        f"{here.client.advice}"
    )


def _replicate(here: Situation, commit: str) -> str:
    options = "" if here.options == LOCAL else here.options
    if here.plan and here.plan.run_seed is not None and here.plan.parent == commit:
        options = f"--seed {here.plan.run_seed} {options}".rstrip()
    return (
        f"Type{here.client.launching}: {replicate_command(commit[:7], options)} > run.log 2>&1\n"
        f"{here.client.waiting} After its end, read `uv run research last-review`. {here.client.advice}"
    )


def _plan_order(here: Situation, words: int) -> Order:
    """Return what the lab wants tried next; of a long brief the end is left out, not what to type."""
    plan = here.plan
    if plan and plan.kind == "replicate" and plan.parent:
        text = f"Measure {plan.parent[:7]} once more ({_quoted(plan.reason)}).{_refusal(here, plan.parent)}"
        text += f"\n{_replicate(here, plan.parent)}"
        return Order("replicate", text)
    emitter = (plan.emitter if plan else None) or FREE
    rest = (
        f"{_return_to_parent(here)}One idea, train.py only. Commit it before the run: `{here.commit_line}`.\n"
        f"{_launch(here)}\nDo not ask for confirmation."
    )
    return Order("plan", f"{_cut(_idea(plan, emitter), words - len(rest.split(' ')))}\n\n{rest}")


def _return_to_parent(here: Situation) -> str:
    """Return the order to go to the plan's parent first, "" where HEAD is it or holds what no run has recorded."""
    parent = here.plan.parent if here.plan else None
    if not parent or parent == here.head or not here.measured:
        return ""
    return (
        f"First type `git reset --keep {parent[:7]}`: this idea starts from there, and what {here.head[:7]} changed "
        "stays recorded.\n"
    )


def _idea(plan: Plan | None, emitter: str) -> str:
    if plan is None:
        return (
            "Next experiment: choose it yourself. `uv run research summary` says what is known, what nearly worked and "
            "what failed; take the idea with the best expected gain that was not tried."
        )
    if brief := plan.details.get("brief"):
        return brief
    return f"Next experiment: {emitter}, category {plan.category or 'any'}. Why: {_quoted(plan.reason)}."


def _cut(text: str, words: int) -> str:
    parts = text.split(" ")
    return text if len(parts) <= words else " ".join(parts[:words]) + " … (`uv run research next` shows all of it)"
