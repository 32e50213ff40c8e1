"""What to type next: one command at the top of the page, the next bets, and what takes a result away or goes on."""

from __future__ import annotations

from research.agents.night import command as night_command
from research.agents.night.state import is_cut_off
from research.report.data import Bet, Candidate, ReportData
from research.report.html import card, command, esc, section


def first_thing(data: ReportData) -> str:
    """The one command that comes first."""
    if not data.rows:
        return ""
    why, line = _first(data)
    return f'<p class="first">{esc(why)}</p>{command(line)}'


def _first(data: ReportData) -> tuple[str, str]:
    """Why, and what to type: confirm what stands, else decide what waits, else take it, else go on."""
    top = data.headline
    if top.best is None or top.best.estimate is None:
        return "See what is missing:", "uv run research doctor"
    moved = bool(top.baseline and top.best.number != top.baseline.number)
    if moved and not top.confirmed:
        return "Next, measure what stands once more:", replicate(top.best, data)
    if moved:
        return "Next, take it, with all that it builds on:", merge(top.best)
    if data.waiting:
        return "Next, measure again what is not decided:", replicate(data.waiting[0], data)
    return "Next, go on where this ended:", night_command.night_command(data.night)


def replicate(one: Candidate, data: ReportData) -> str:
    """The command that runs a configuration once more, where the night's runs were made."""
    return night_command.replicate_command(one.commit, data.night)


def merge(one: Candidate) -> str:
    """The command that brings exactly what was measured onto main."""
    return f"git checkout main && git merge {one.commit[:12]}"


def next_steps(data: ReportData) -> str:
    """The next bets."""
    inner = "".join(_bet(bet) for bet in data.bets)
    say = "The planner's next experiment, and what is most likely to pay."
    return section("Next bets", say, f'<div class="card"><ol class="bets">{inner}</ol></div>') if inner else ""


def _bet(bet: Bet) -> str:
    line = command(bet.command) if bet.command else ""
    return f'<li><strong>{esc(bet.title)}</strong><br><span class="soft">{esc(bet.why)}</span>{line}</li>'


def promotion(data: ReportData) -> str:
    """The commands that take the result away, measure it again, go on, or look at any run."""
    top = data.headline
    if not data.rows:
        return ""
    parts: list[tuple[str, str]] = []
    if top.best and top.baseline and top.best.number != top.baseline.number and top.best.commit:
        name = data.branch.rsplit("/", 1)[-1] or "night"
        take = top.solid or top.best
        sure = "what is confirmed" if top.solid else "what stands, not confirmed yet"
        parts += [
            (f"Take {sure}, with all that it builds on, onto main", merge(take)),
            ("Give it a name of its own", f"git branch best-{name} {take.commit[:12]}"),
            ("Measure what stands again with another seed", replicate(top.best, data)),
        ]
        if data.confirmed and data.unsure:
            single = " ".join(c.commit[:12] for c in data.confirmed)
            parts.append(("Or the confirmed changes alone, a mix that nobody measured", f"git cherry-pick {single}"))
    cut = data.night is not None and is_cut_off(data.night)
    what = "Go on with the night that was interrupted" if cut else "Go on with another night on this branch"
    parts.append((what, night_command.night_command(data.night)))
    latest = data.rows[-1]
    parts.append(("Look at any run, kept or not", f"git show refs/research/runs/{latest.run}"))
    inner = "".join(f"<h3>{esc(head)}</h3>{command(line)}" for head, line in parts)
    return section("Take it further", "", card(inner))
