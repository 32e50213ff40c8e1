"""What watch shows, as values: the run in flight, what stands, the latest verdicts, the plan and what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from research.agents.night.state import NightState, worked_s
from research.core.records import Estimate, Judged, Plan, Run, Verdict
from research.core.settings import SETTINGS
from research.report.hours import moment
from research.report.outlook import phase_in_words, plan_title
from research.report.text import money, title_of
from research.report.watch_log import Curve, LogProgress
from research.verdict.gains import against_baseline, gains_of
from research.verdict.models import Memory

_SHARES_OF = 20  # latest runs that the emitters' shares are counted over: two hours of a night


@dataclass(frozen=True)
class Flight:
    """A run in flight: its name and title, who proposed it, for how long it runs, how far it is, if it still lives."""

    run: str
    title: str
    emitter: str
    seconds: float
    progress: LogProgress
    alive: bool = True


@dataclass(frozen=True)
class Said:
    """A verdict in a line."""

    number: int
    title: str
    decision: str
    val_bpb: float | None
    p_better: float | None
    why: str


@dataclass(frozen=True)
class LiveView:
    """One picture."""

    now_utc: str
    branch: str
    contract: str
    runs: int
    kept: int
    crashed: int
    best_title: str = ""
    best: Estimate | None = None
    gain: Estimate | None = None
    flights: tuple[Flight, ...] = ()
    incumbent_curve: Curve = ()
    verdicts: tuple[Said, ...] = ()
    phase: str = ""
    next_up: str = ""
    shares: tuple[tuple[str, float], ...] = ()
    night: tuple[str, ...] = ()
    go_on: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The picture as JSON values, without the curves' points."""
        plain = asdict(self)
        del plain["incumbent_curve"]
        for flight in plain["flights"]:
            del flight["progress"]["curve"]
        return plain


@dataclass(frozen=True)
class Known:
    """What changes with the memory only: it is made anew when that has changed."""

    history: Sequence[Judged]
    memory: Memory
    open_runs: Sequence[Run]
    plan: Plan | None = None
    night: NightState | None = None
    incumbent_curve: Curve = ()
    verdicts: Sequence[Verdict] = ()
    policy: str = ""


def view_of(
    known: Known, flights: Sequence[Flight], now: datetime, now_utc: str, night_goes_on: bool = True
) -> LiveView:
    """The picture of this moment."""
    memory, night = known.memory, known.night
    cut_off = night is not None and night.finished_utc is None and not night_goes_on
    best = memory.best or memory.incumbent
    base = memory.known.get(memory.baseline.fingerprint or memory.baseline.commit) if memory.baseline else None
    numbered = list(enumerate(known.history, 1))
    latest = [(n, item) for n, item in numbered if item.verdict][-SETTINGS.live_verdicts :]
    return LiveView(
        now_utc=now_utc,
        branch=memory.branch,
        contract=memory.contract or "",
        runs=len(known.history),
        kept=sum(one.decision == "keep" and one is not base for one in memory.known.values()),
        crashed=sum(item.run.val_bpb is None for item in known.history),
        best_title=title_of(best.subject, best is base) if best else "",
        best=best.estimate if best else None,
        gain=against_baseline(best, memory, gains_of(known.history, known.verdicts)) if best else None,
        flights=tuple(flights),
        incumbent_curve=known.incumbent_curve,
        verdicts=tuple(_said(n, item, memory.baseline) for n, item in reversed(latest)),
        phase=phase_in_words(known.plan),
        next_up=f"{plan_title(known.plan)}: {known.plan.reason}" if known.plan else "",
        shares=_shares(known.history),
        night=tuple(cut_off_in_words(night) if cut_off else budget_left(night, now)) if night else (),
        go_on=go_on(night, known.policy) if night and cut_off else "",
    )


def _said(number: int, item: Judged, baseline: Run | None) -> Said:
    verdict, run = item.verdict, item.run
    assert verdict is not None
    decision = "crash" if run.val_bpb is None else "baseline" if verdict.baseline else verdict.decision
    title = title_of(run.subject, baseline is not None and run.commit == baseline.commit) or run.run
    return Said(number, title, decision, run.val_bpb, verdict.p_better, verdict.why)


def _shares(history: Sequence[Judged]) -> tuple[tuple[str, float], ...]:
    """Who proposed the latest experiments, the busiest first."""
    runs = [item.run for item in history if item.run.subject.startswith("exp:")][-_SHARES_OF:]
    counts = Counter(run.emitter or "free" for run in runs)
    return tuple((name, count / len(runs)) for name, count in counts.most_common())


def budget_left(night: NightState, now: datetime) -> list[str]:
    """What the night has used of what it may use, or how it ended."""
    limits, hours = night.limits, max(0.0, worked_s(night, now)) / 3600
    if night.finished_utc:
        return [f"ended: {night.stop_reason or 'no reason given'}", f"{night.runs} runs"]
    parts = [f"{night.runs} of {limits.max_runs} runs" if limits.max_runs is not None else f"{night.runs} runs"]
    parts.append(f"{hours:.1f} of {limits.hours:g} h" if limits.hours is not None else f"{hours:.1f} h")
    if limits.max_usd is not None:
        parts.append(f"{money(night.usd)} of {money(limits.max_usd)}")
    elif night.usd:
        parts.append(money(night.usd))
    return parts


def cut_off_in_words(night: NightState) -> list[str]:
    """What became of a night that neither ended nor goes on; a killed one could not say why."""
    of = f" of {night.limits.max_runs}" if night.limits.max_runs is not None else ""
    return [night.stop_reason or "cut off, without a word why", f"after {night.runs}{of} runs"]


def go_on(night: NightState, policy: str = "") -> str:
    """The command that takes a night up again, with what is on record of the one that began it."""
    limits = night.limits
    options = [
        ("agent", night.agent if night.agent != "builtin" else None),
        ("max-runs", limits.max_runs),
        ("hours", limits.hours),
        ("max-usd", limits.max_usd),
        ("usd-per-hour", limits.usd_per_hour or None),
        ("workers", night.workers if night.workers > 1 else None),
        ("backend", night.backend if night.backend != "local" else None),
        ("policy", policy if policy != "discovery" else None),
    ]
    given = [
        f"--{name} {value:g}" if isinstance(value, float) else f"--{name} {value}" for name, value in options if value
    ]
    return " ".join(["uv run research night", *given])


def flight_of(run: Run, progress: LogProgress, now: datetime, alive: bool) -> Flight:
    """A run in flight."""
    begun = moment(run.started_utc)
    seconds = max(0.0, (now - begun).total_seconds()) if begun else 0.0
    # What a runner starts without being an experiment is the baseline.
    return Flight(run.run, title_of(run.subject, baseline=True) or run.run, run.emitter or "", seconds, progress, alive)


def shares_text(shares: Mapping[str, float] | Sequence[tuple[str, float]]) -> str:
    """Shares in a line."""
    items = shares.items() if isinstance(shares, Mapping) else shares
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in items)
