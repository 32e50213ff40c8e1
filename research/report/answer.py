"""Puts the result of a night into words: what was found, how sure that is, what to type, and what to try next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from research.agents.clients import CLIENTS
from research.agents.night.command import night_command, one_run, one_run_of_an_agent, replicate_command
from research.core import records
from research.core.commands import log_command
from research.core.settings import SETTINGS
from research.core.text import any_of, chance, clean
from research.report.data import PageData, ShownConfiguration
from research.report.text import plain, share, span, times
from research.store.reads import IdeaStatus

FIRST_NIGHT = "uv run research night --max-runs 5"
"""The command that a newcomer types first."""


@dataclass(frozen=True)
class Answer:
    """The answer to "what was gained?"."""

    head: str  # a line that can stand alone
    text: str  # the numbers behind it
    todo: str  # what to do next, as the words before the command
    command: str  # the line to type
    is_good: bool  # whether a gain is confirmed


@dataclass(frozen=True)
class Suggestion:
    """One thing to try next."""

    title: str
    why: str
    command: str  # the line that does it, "" while a night goes on


def answer(data: PageData) -> Answer:
    """Return the answer that a person wants to know first."""
    return Answer(*_found(data), *_todo(data), is_good=data.proven is not None)


def how_sure(one: ShownConfiguration) -> str:
    """Return in words how sure it is that a configuration beats the baseline."""
    gain = one.against_baseline
    if one.beats_baseline:
        return "confirmed"
    return "probably real" if gain and gain.high < 0 else "may be luck"


def take_command(one: ShownConfiguration) -> str:
    """Return the line that merges a configuration, with the changes that it builds on, into main, and comes back."""
    return f"git checkout main && git merge {one.known.commit[:12]} && git checkout -"


def _found(data: PageData) -> tuple[str, str]:
    """Return what was found, in one line and in some sentences."""
    if not data.rows:
        if data.is_running or data.is_night_on:
            return "The first run is not over yet", "When it is over, this page says what it found."
        return "No runs yet", "After the first run this page says what it found."
    best, base, gain = data.best, data.baseline, data.gain
    if not best or not best.known.estimate or not base or not base.known.estimate:
        return "No score yet", "No run came to a score that can be trusted."
    before, now = base.known.estimate.mean, best.known.estimate.mean
    if best is base or gain is None:
        value = f"val_bpb {plain(before)}, measured {times(base.known.estimate.n)}"
        return "Nothing beats the baseline yet", f"The baseline is the best so far: {value}. Lower is better."
    head = f"{share(-gain.mean, before)} lower than the baseline, {how_sure(best)}"
    if gain.mean >= 0:
        head = "Nothing beats the baseline for sure"
    elif data.proven and data.proven is not best and (sure := data.proven.against_baseline):
        head = f"{share(-gain.mean, before)} lower than the baseline; {share(-sure.mean, before)} confirmed"
    most = f"{share(-gain.low, before)} lower"
    least = f"{share(-gain.high, before)}" if gain.high < 0 else f"from {share(gain.high, before)} higher"
    text = (
        f"Best so far: val_bpb {plain(now)} against the baseline’s {plain(before)} ({least} to {most}, 95 % interval),"
        f" measured {times(best.known.estimate.n)}: {how_sure(best)}. "
    )
    own = best.known.change
    if len(data.kept) <= 1 or not own:
        return head, f"{text}It is one change: “{best.title}”."
    last = f"“{best.title}”, is {plain(-own.mean)} of the {plain(-gain.mean)}"
    return head, f"{text}That is {len(data.kept)} kept changes together; the last, {last}."


def _todo(data: PageData) -> tuple[str, str]:
    """Return what to do next, and the command for it."""
    best, night, hours = data.best, data.night, data.run_s / 3600
    minutes = f" (about {span(hours)})" if data.run_s >= 60 else " (less than a minute)" if data.run_s else ""
    if data.is_recorded:
        return "This night was recorded in another repository. Make one of your own:", FIRST_NIGHT
    if data.is_night_on or data.is_running:
        return "The night goes on by itself. To watch it in a terminal:", "uv run research watch"
    if night and night.finished_utc is None:
        return "The night was cut off. Go on where it ended:", night_command(night)
    if not data.rows:
        return "Begin: nothing else is needed, no GPU, no key, no data set:", FIRST_NIGHT
    if not best or not best.known.estimate:
        latest = data.rows[-1].run
        if latest.outcome == "crash" and latest.folder:
            return "See why the last run crashed, mend train.py and commit it:", log_command(latest.folder)
        return "See what is missing:", "uv run research doctor"
    if best is not data.baseline and best.beats_baseline:
        return "Take it, with all that it builds on, onto main:", take_command(best)
    if best is not data.baseline:
        return f"Confirm it{minutes}:", replicate_command(best.known.commit, night)
    if data.undecided:  # as planned, with the seed that decides
        pending = planned(data) if data.plan and data.plan.kind == records.REPLICATE and data.plan.parent else None
        again = replicate_command(_likeliest(data.undecided)[0].known.commit, night)
        return f"Measure again what is not decided{minutes}:", pending.command if pending else again
    return "Go on:", night_command(night)


def planned(data: PageData) -> Suggestion | None:
    """Return the pending plan in words, with the command that carries it out; None without one."""
    plan, night = data.plan, data.night
    if plan is None:
        return None
    if plan.kind == records.REPLICATE and plan.parent is None:
        return Suggestion("Measure the baseline", plan.reason, one_run(night))
    if plan.kind == records.REPLICATE and plan.parent:
        seed, one = plan.run_seed, data.of_commit(plan.parent)
        which = "another seed" if seed is None else f"seed {seed}"
        title = f"Measure again with {which}: {one.title if one else plan.parent[:7]}"
        return Suggestion(title, plan.reason, replicate_command(plan.parent, night, seed))
    if number := plan.details.get(records.IDEA):
        asked = [one for one in data.ideas if one.status == "needs_agent" and str(one.idea.idea) == number]
        return (
            _for_agent(data, asked[0]) if asked else Suggestion("Try what you asked for", plan.reason, one_run(night))
        )
    what = f"something in {plan.category}" if plan.category else "whatever it likes"
    start = f", starting from {plan.parent[:7]}" if plan.parent else ""
    return Suggestion(f"{plan.emitter or 'The agent, left free,'} tries {what}{start}", plan.reason, one_run(night))


def suggestions(data: PageData) -> list[Suggestion]:
    """Return the next steps: the plan, what is undecided, a best measured once, near misses; the likeliest first."""
    if data.is_recorded:
        return []
    night, plan = data.night, planned(data)
    asked = [_for_agent(data, one) for one in data.ideas if one.status == "needs_agent"][:1]
    found = list(dict.fromkeys([*asked, *([plan] if plan else [])]))
    named = {data.plan.parent} if data.plan and data.plan.kind == records.REPLICATE else set()

    def add(one: ShownConfiguration, verb: str, why: str, command: str) -> None:
        if one.known.commit not in named:
            named.add(one.known.commit)
            found.append(Suggestion(f"{verb}: {one.title}", why, command))

    for one in _likeliest(one for one in data.candidates if one.status == "open"):
        why = f"Not decided yet: another seed tells.{_chance(one)}"
        add(one, "Measure again", why, replicate_command(one.known.commit, night))
    if (best := data.best) and best.status == "keep" and len(best.rows) == 1:
        why = "It was measured once; another seed tells how much of its score was luck."
        add(best, "Measure again", why, replicate_command(best.known.commit, night))
    for one in _likeliest(one for one in data.candidates if one.known in data.memory.near_misses):
        if one.known.p_better is None or one.known.p_better >= SETTINGS.suggestion_p:
            why = f"A near miss: it may be as good as the best so far, and combine with it.{_chance(one)}"
            add(one, "Build on", why, f"git show {one.known.commit[:12]}")
    shown = found[: SETTINGS.suggestions_shown]
    # The device is taken, and the night does by itself what is worth it.
    return [replace(one, command="") for one in shown] if data.is_night_on else shown


def _for_agent(data: PageData, one: IdeaStatus) -> Suggestion:
    """Return a person's idea that needs an agent which writes code, with the command that starts one."""
    why = f"It waits for a coding agent, {any_of(CLIENTS)}: the built-in one only changes values."
    return Suggestion(f"Try what you asked for: {clean(one.idea.text)}", why, one_run_of_an_agent(data.night))


def _likeliest(candidates: Iterable[ShownConfiguration]) -> list[ShownConfiguration]:
    return sorted(candidates, key=lambda one: -(one.known.p_better if one.known.p_better is not None else -1.0))


def _chance(one: ShownConfiguration) -> str:
    return f" P(better) {chance(one.known.p_better)}." if one.known.p_better is not None else ""
