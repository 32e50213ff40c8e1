"""Writes the texts of a night for people: its first line, a line per run, the sentences of --notify, and its result."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

from research.agents.night.state import NightState, worked_s
from research.core.clock import local_time
from research.core.commit_message import idea_of
from research.core.records import Judged, Run, Verdict, is_confirmed
from research.core.text import chance, count_of
from research.runs.racing import race_of
from research.verdict import lineage
from research.verdict.models import Memory

_WIDTH = 80  # columns of a terminal
LEGEND = (
    "Each line: number, time, val_bpb, decision, change; then the difference from the\n"
    "best so far with its 95 % interval, discounted for luck, and P(better) by the\n"
    "runs on shared seeds alone, so that the two may seem to disagree."
)
"""Explains the lines of runs; printed once above them."""


def opening(state: NightState, now: datetime, instead: str = "") -> str:
    """Return the first line; instead names the interrupted night that is not resumed, or why the resumed one ended."""
    most, until, left = state.limits, list[str](), list[str]()
    if most.max_runs is not None:
        until.append(count_of(most.max_runs, "run"))
        left.append(count_of(max(0, most.max_runs - state.runs), "run"))
    if most.hours is not None:
        until.append(f"{most.hours:g} h")
        left.append(hours_in_words(most.hours - worked_s(state, now) / 3600))
    if most.max_usd is not None:
        until.append(f"${most.max_usd:g}")
        left.append(f"${max(0.0, most.max_usd - state.usd):.2f}")
    if most.until_utc is not None:
        until.append(local_time(most.until_utc))
    how = f" (a new night: {instead})" if instead else ""
    if state.resumed:
        still, why = f", {' and '.join(left)} left" if left else "", f"; ended before: {instead}" if instead else ""
        how = f" (resumed after {count_of(state.runs, 'run')}{still}{why})"
    end = ", ".join(until) or "Ctrl-C"
    return f"{state.night} on {state.branch}, agent {state.agent}, until {end}{how}. Ctrl-C ends it cleanly."


def hours_in_words(hours: float) -> str:
    """Return a time that is left in words: "2.5 hours", "12 minutes", "40 seconds"."""
    if hours >= 1:
        return f"{hours:.1f} hours"
    minutes = max(0.0, hours) * 60
    return f"{minutes:.0f} minutes" if minutes >= 2 else count_of(round(minutes * 60), "second")


def line_of(number: int, run: Run, verdict: Verdict | None) -> str:
    """Return a finished run's line: number, time, score, verdict, change, difference from the incumbent.

    A line that is wider than a terminal continues below, indented, so that no number is broken.
    """
    score = f"{run.val_bpb:.6f}" if run.val_bpb is not None else f"{run.outcome:>8}"
    head = f"{number:4d}  {local_time(run.finished_utc):5}  {score}  {verdict.decision if verdict else '':<11}  "
    room = _WIDTH - len(head)
    lines = textwrap.wrap(name_of(run, verdict), room, break_on_hyphens=False) or [""]
    if change := _change(run, verdict):
        if len(lines[-1]) + len(change) <= room:
            lines[-1] += change
        else:
            lines.append(change.strip())
    return f"\n{'':{len(head)}}".join([head + lines[0], *lines[1:]])


def _change(run: Run, verdict: Verdict | None) -> str:
    """Return a run's difference from the best so far, or the forecast of a stopped one, after two blanks."""
    if run.outcome == "stopped" and (looks := race_of(run).looks):
        return f"  stopped at {100 * looks[-1].fraction:.0f} %, foretold {looks[-1].known.mean:+.4f}"
    if verdict is None or verdict.difference is None:
        return ""
    sure = f" P {chance(verdict.p_better)}" if verdict.p_better is not None else ""
    return f"  {verdict.difference.in_words('+')}{sure}"


def name_of(run: Run, verdict: Verdict | None = None) -> str:
    """Return a run's name for people: its change without prefix and tag, or "baseline" with its commit."""
    change = idea_of(run.subject)
    if not run.subject.startswith("exp:"):
        return f"baseline {run.commit[:7]}"
    return f"baseline {run.commit[:7]}: {change}" if verdict and verdict.baseline else change


def news(run: Run, verdict: Verdict, history: Sequence[Judged]) -> Literal["win", "kept"] | None:
    """Return the event that a verdict is for --notify: a gain now confirmed, a change now kept, or None."""
    baseline = lineage.baseline(history)
    if verdict.decision != "keep" or baseline is None or lineage.is_same(run, baseline):
        return None
    others = [item.verdict for item in history if item.run.run != run.run and lineage.is_same(item.run, run)]
    before = [other for other in others if other and other.decision == "keep"]
    if verdict.is_confirmed:
        return None if any(other.is_confirmed for other in before) else "win"
    return None if before else "kept"


def good_news(run: Run, verdict: Verdict, history: Sequence[Judged]) -> str:
    """Return the sentence about a kept change: whether its gain is confirmed, how large it is, and what is best now."""
    estimate, best = verdict.estimate, lineage.incumbent(history)
    value = f"{estimate.mean:.6f} (n={estimate.n})" if estimate else "unknown"
    why = "one run only" if estimate is None or estimate.n < 2 else "zero is within the interval"
    head = "Confirmed" if verdict.is_confirmed else f"Kept, not confirmed ({why})"
    gain = f"  {verdict.difference.in_words('+')} against the best before it" if verdict.difference else ""
    later = f"; the best so far is now {name_of(best)}" if best and not lineage.is_same(best, run) else ""
    return f"{head}: {name_of(run)}; val_bpb {value}{gain}{later}"


def found(memory: Memory) -> str:
    """Return a sentence on the best kept configuration and its distance from the baseline."""
    best, base = memory.best or memory.incumbent, memory.baseline
    if best is None or base is None or best.estimate is None:
        return "No run has a score yet."
    if best.key == base.key:
        return "Nothing on the branch beats the baseline yet."
    value, gain = best.estimate, memory.change
    far = f", {gain.in_words('+')} against the baseline" if gain else ""
    sure = "confirmed" if is_confirmed(gain, value) else "not confirmed"
    return f"Best on the branch: {idea_of(best.subject)}; val_bpb {value.mean:.6f} (n={value.n}){far}, {sure}."


def kept_in(memory: Memory, runs: Iterable[str]) -> int:
    """Return the number of configurations of these runs that are still kept, the baseline left out, as on the page."""
    mine = set(runs)
    return sum(
        one.decision == "keep" and one is not memory.baseline and not mine.isdisjoint(one.runs)
        for one in memory.known.values()
    )
