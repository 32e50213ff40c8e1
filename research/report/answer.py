"""Says in words what came out so far, how sure that is, and what to type: the first lines of the page and of watch."""

from __future__ import annotations

from dataclasses import dataclass

from research.agents.night.command import night_command, replicate_command
from research.core.commands import log_command
from research.report.data import Candidate, Headline, PageData
from research.report.text import plain, share, span, times

FIRST_NIGHT = "uv run research night --max-runs 5"
"""What a newcomer types first."""


@dataclass(frozen=True)
class Answer:
    """The answer to "what was gained?".

    Attributes:
        head: A line that can stand alone.
        text: What it rests on, "" where nothing is known.
        todo: What to do next, as the words before a command.
        command: That command.
        is_good: Whether a gain is confirmed.
    """

    head: str
    text: str
    todo: str
    command: str
    is_good: bool = False


def answer(data: PageData) -> Answer:
    """Return what a person wants to know first."""
    top = data.headline
    head, text = _found(data)
    is_good = bool(top.proven and top.proven is not top.baseline)
    return Answer(head, text, *_todo(data), is_good)


def how_sure(one: Candidate) -> str:
    """Say how sure it is that a configuration beats the baseline."""
    gain = one.against_baseline
    if one.beats_baseline:
        return "confirmed"
    return "probably real" if gain and gain.high < 0 else "may be luck"


def take_command(one: Candidate) -> str:
    """Return the line that takes a configuration, with all that it builds on, onto main, and comes back."""
    return f"git checkout main && git merge {one.commit[:12]} && git checkout -"


def _found(data: PageData) -> tuple[str, str]:
    top = data.headline
    best, base = top.best, top.baseline
    if not top.runs:
        if data.is_running or data.is_night_on:
            return "The first run is not over yet", "When it is over, this page says what it found."
        return "No runs yet", "After the first run this page says what it found."
    if not best or not best.estimate or not base or not base.estimate:
        return "No score yet", "No run came to a score that can be trusted."
    gain = top.gain
    if best is base or gain is None:
        value = f"val_bpb {plain(base.estimate.mean)}, measured {times(base.n)}"
        return "Nothing beats the baseline yet", f"The baseline is the best so far: {value}. Lower is better."
    head = f"{share(-gain.mean, base.estimate.mean)} lower than the baseline, {how_sure(best)}"
    if gain.mean >= 0:
        head = "Nothing beats the baseline for sure"
    elif top.proven and top.proven is not best and (sure := top.proven.against_baseline):
        head = f"{share(-gain.mean, base.estimate.mean)} lower than the baseline; "
        head += f"{share(-sure.mean, base.estimate.mean)} confirmed"
    low, high = share(-gain.high, base.estimate.mean), share(-gain.low, base.estimate.mean)
    reach = (
        f"{low} to {high} lower"
        if gain.high < 0
        else f"from {share(gain.high, base.estimate.mean)} higher to {high} lower"
    )
    text = (
        f"Best so far: val_bpb {plain(best.estimate.mean)} against the baseline’s {plain(base.estimate.mean)}"
        f" ({reach}, 95 % interval), measured {times(best.n)}: {how_sure(best)}. {_chain(best, top)}"
    )
    return head, text


def _chain(best: Candidate, top: Headline) -> str:
    """Say which part of the gain is the last change's, and which the chain's that it builds on."""
    if top.kept <= 1 or not best.gain or not top.gain:
        return f"It is one change: “{best.title}”."
    own, whole = plain(-best.gain.mean), plain(-top.gain.mean)
    return f"That is {top.kept} kept changes together; the last, “{best.title}”, is {own} of the {whole}."


def _todo(data: PageData) -> tuple[str, str]:
    top, night = data.headline, data.night
    minutes = f" (about {span(top.run_s / 3600)})" if top.run_s >= 60 else " (less than a minute)" if top.run_s else ""
    if data.is_recorded:
        return "This night was recorded in another repository. Make one of your own:", FIRST_NIGHT
    if data.is_night_on or data.is_running:
        return "The night goes on by itself. To watch it in a terminal:", "uv run research watch"
    if night and night.finished_utc is None:
        return "The night was cut off. Go on where it ended:", night_command(night)
    if not top.runs:
        return "Begin: nothing else is needed, no GPU, no key, no data set:", FIRST_NIGHT
    if not top.best or not top.best.estimate:
        latest = data.rows[-1].run if data.rows else None
        if latest and latest.outcome == "crash" and latest.folder:
            return "See why the last run crashed, mend train.py and commit it:", log_command(latest.folder)
        return "See what is missing:", "uv run research doctor"
    if top.best is not top.baseline:
        if top.best.beats_baseline:
            return "Take it, with all that it builds on, onto main:", take_command(top.best)
        return f"Confirm it{minutes}:", replicate_command(top.best.commit, night)
    if data.undecided:
        first = next((bet.command for bet in data.bets if "replicate" in bet.command), "")
        return f"Measure again what is not decided{minutes}:", first or replicate_command(
            data.undecided[0].commit, night
        )
    return "Go on:", night_command(night)
