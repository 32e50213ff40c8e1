"""Computes, by one pure function, all values of a branch that the morning page and watch show."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from research.agents.night.state import NightState
from research.core import records
from research.core.commit_message import FREE
from research.core.records import OPEN_DECISIONS, Estimate, Judged, Plan, Run, Verdict
from research.core.settings import SETTINGS
from research.core.text import count_of
from research.report.audit import AuditGain, audit_gains
from research.report.progress import Curve
from research.report.text import title_of
from research.report.usage import tokens_per_second
from research.store.ledger import has_row
from research.store.reads import Foreign, IdeaStatus
from research.verdict import lineage
from research.verdict.forecast import checked
from research.verdict.memory import against_baseline, recall
from research.verdict.models import Configuration, Memory
from research.verdict.summary import hidden_runs

Status = Literal["keep", "open", "discard", "stopped", "crash"]
"""The status of a run: its change is kept; waits for a replicate or a look; is not kept; the run was ended early, since
it had fallen behind; it has no score."""


@dataclass(frozen=True)
class RunRow:
    """One counted run: a mark of the chart and a row of the table."""

    number: int  # its place in the history shown, from 1
    run: Run
    verdict: Verdict | None
    title: str
    emitter: str  # name of the emitter that ordered it, "free" where the agent chose by itself, "" for the baseline
    status: Status
    first: int  # number of the first run of its configuration; its own unless it is a replicate
    parent: int | None = None  # number of a run of its parent commit, one with its own seed if there is one

    @property
    def decision(self) -> str:
        """Return the verdict on the run in a word or two, "crash" or "stopped" without a score."""
        if self.run.val_bpb is None:
            return self.status
        if self.verdict is None:
            return "not judged"
        return "baseline" if self.verdict.baseline else self.verdict.decision


@dataclass(frozen=True)
class ShownConfiguration:
    """A configuration with its runs; a difference below zero is better."""

    known: Configuration
    rows: Sequence[RunRow]
    number: int  # of its first run
    title: str
    status: Status
    against_baseline: Estimate | None  # its value minus the baseline's, in bpb
    audit: AuditGain | None  # its gain over the baseline on the audit text, None where no runs can be compared

    @property
    def beats_baseline(self) -> bool:
        """Return whether it was measured more than once and surely beats the baseline."""
        return records.is_confirmed(self.against_baseline, self.known.estimate)


Step = tuple[int, ShownConfiguration, Estimate]
"""The number of the run whose verdict made a configuration the best so far, the configuration, and its val_bpb.

The interval of the value is that of the difference from the baseline, which leaves out what both share, such as seeds.
"""


@dataclass(frozen=True)
class EmitterTotals:
    """The runs and the gain of one emitter."""

    name: str
    runs: int
    kept: int  # configurations
    crashes: int
    earned_bpb: float  # sum of the gains of its kept changes


@dataclass(frozen=True)
class RunCurve:
    """The loss of one run over the budget."""

    number: int  # of the run's configuration
    kind: str  # "baseline", "kept" or "best"
    points: Curve
    ahead: Curve = ()  # its loss minus the baseline's over the same rows, () where the logs do not tell


@dataclass(frozen=True)
class PageData:
    """Everything that a page or a live view says of a branch. Lists are in the order in which they are shown."""

    memory: Memory
    made_utc: str
    rows: Sequence[RunRow]
    candidates: Sequence[ShownConfiguration]
    changes: Sequence[ShownConfiguration]  # candidates without the baseline
    baseline: ShownConfiguration | None
    best: ShownConfiguration | None  # of those that are kept
    steps: Sequence[Step]  # every configuration that became the best so far, in order
    close: Sequence[ShownConfiguration]  # undecided ones, then discarded ones that were ahead at first
    plan: Plan | None  # the pending one
    night: NightState | None
    ideas: Sequence[IdeaStatus]
    launches: Sequence[Run]  # all runs that were made on the branch, counted or not
    notes: Sequence[str]  # sentences on what the numbers leave out
    warnings: Sequence[str]  # sentences on what may make the numbers wrong
    curves: Sequence[RunCurve] = ()
    not_shown: Mapping[str, int] = field(default_factory=dict)  # runs of each other contract of the branch
    diffs: Mapping[str, str] = field(default_factory=dict)  # difference of train.py by commit
    is_running: bool = False  # whether a run is going on, on whatever branch
    is_night_on: bool = False
    is_recorded: bool = False  # whether it is the night of another repository, whose commits are not here
    ends_utc: str = ""  # when the night will end, "" where no limit says

    @property
    def gain(self) -> Estimate | None:
        """Return the best minus the baseline (below zero is better); None without both."""
        return self.best.against_baseline if self.best else None

    @property
    def kept(self) -> list[ShownConfiguration]:
        """Return the kept changes, without the baseline."""
        return [one for one in self.changes if one.status == "keep"]

    @property
    def undecided(self) -> list[ShownConfiguration]:
        """Return the changes that wait for a replicate or a look."""
        return [one for one in self.changes if one.status == "open"]

    @property
    def proven(self) -> ShownConfiguration | None:
        """Return the best of the changes that surely beat the baseline, None without one."""
        sure = [(one.known.estimate.mean, one) for one in self.kept if one.beats_baseline and one.known.estimate]
        return min(sure, key=lambda pair: pair[0])[1] if sure else None

    @property
    def run_s(self) -> float:
        """Return the seconds of a usual run that scored, 0 before one."""
        scored = [row.run.wall_s for row in self.rows if row.run.val_bpb is not None]
        return statistics.median(scored) if scored else 0.0

    def count(self, status: Status) -> int:
        """Return the number of runs with this status."""
        return sum(row.status == status for row in self.rows)

    def of_commit(self, commit: str) -> ShownConfiguration | None:
        """Return the configuration of a commit."""
        return next((one for one in self.candidates if commit in (one.known.commit, one.known.key)), None)


def page_data(
    judged: Sequence[Judged],
    branch: str,
    made_utc: str,
    *,
    plan: Plan | None = None,
    night: NightState | None = None,
    launches: Sequence[Run] = (),
    foreign: Foreign | None = None,
    ideas: Sequence[IdeaStatus] = (),
    contract: str | None = None,
) -> PageData:
    """Return everything that a page says, without loss curves and the differences of train.py.

    Args:
        judged: Finished counted runs of every branch and contract, in order.
        branch: The branch to show.
        made_utc: When the page is made.
        plan: The pending plan.
        night: The latest night on the branch.
        launches: All runs that were made on the branch, counted or not.
        foreign: The count of imported rows.
        ideas: A person's ideas.
        contract: The contract to show, None for the one that the branch was kept in last.
    """
    memory = recall(judged, branch, contract)
    known_of = {name: known for known in memory.known.values() for name in known.runs}
    shown = [item for item in judged if item.run.branch == branch and item.run.run in known_of]
    rows = _rows(shown, known_of, memory)
    candidates = _candidates(rows, memory)
    base, best = memory.baseline, memory.best or memory.incumbent
    baseline = next((one for one in candidates if one.known is base), None)
    changes = [one for one in candidates if one is not baseline]
    hidden = Counter(item.run.contract for item in judged if item.run.branch == branch and item.run.contract)
    del hidden[memory.contract]
    return PageData(
        memory=memory,
        made_utc=made_utc,
        rows=rows,
        candidates=candidates,
        changes=changes,
        baseline=baseline,
        best=next((one for one in candidates if one.known is best), None),
        steps=tuple(_steps(shown, candidates, baseline)),
        close=(*(one for one in changes if one.status == "open"), *_promising(shown, changes)),
        plan=plan,
        night=night,
        ideas=ideas,
        launches=launches,
        notes=tuple(_notes(shown, launches, sum(item.run.branch != branch for item in judged), foreign)),
        not_shown=hidden,
        warnings=(*hidden_runs(hidden.items(), "report"), *memory.warnings, *_speed_warning(rows)),
    )


def _rows(shown: Sequence[Judged], known_of: Mapping[str, Configuration], memory: Memory) -> tuple[RunRow, ...]:
    base = memory.baseline
    numbers = {item.run.run: number for number, item in enumerate(shown, 1)}
    number_at: dict[tuple[str, int | None], int] = {}
    for item in reversed(shown):
        run = item.run
        number_at[run.commit, run.seed] = number_at[run.commit, None] = numbers[run.run]
    rows = []
    for number, item in enumerate(shown, 1):
        run, known = item.run, known_of[item.run.run]
        parent = number_at.get((run.parent, run.seed), number_at.get((run.parent, None)))
        row = RunRow(
            number=number,
            run=run,
            verdict=item.verdict,
            title=title_of(run.subject, known is base) or run.run,
            emitter=run.emitter or ("" if known is base else FREE),
            status=_status(known) if run.val_bpb is not None else "stopped" if run.outcome == "stopped" else "crash",
            first=min(numbers[name] for name in known.runs if name in numbers),
            parent=parent if run.parent else None,
        )
        rows.append(row)
    return tuple(rows)


def _status(known: Configuration) -> Status:
    if known.decision in OPEN_DECISIONS:
        return "open"
    return "keep" if known.decision == "keep" else "discard"


def _candidates(rows: Sequence[RunRow], memory: Memory) -> tuple[ShownConfiguration, ...]:
    row_of = {row.run.run: row for row in rows}
    rows_of = {key: [row_of[name] for name in one.runs if name in row_of] for key, one in memory.known.items()}
    base = memory.baseline
    runs_of = {key: [row.run for row in mine] for key, mine in rows_of.items()}
    audit = audit_gains(runs_of, memory.belief, base.key) if base else {}
    found = []
    for key, known in memory.known.items():
        mine, first = rows_of[key], rows_of[key][0]
        gain = against_baseline(memory.belief, known, base)
        found.append(ShownConfiguration(known, mine, first.number, first.title, _status(known), gain, audit.get(key)))
    return tuple(sorted(found, key=lambda one: one.number))


def _promising(shown: Sequence[Judged], changes: Sequence[ShownConfiguration]) -> Iterator[ShownConfiguration]:
    """Yield the discarded changes that were not discarded at first."""
    hopeful = {item.run.run for item in shown if any(decision != "discard" for _, decision in item.earlier)}
    hopeful |= {item.run.run for item in shown if item.verdict and item.verdict.decision != "discard"}
    for one in changes:
        if one.known.decision == "discard" and any(row.run.run in hopeful for row in one.rows):
            yield one


def _steps(
    shown: Sequence[Judged], candidates: Sequence[ShownConfiguration], baseline: ShownConfiguration | None
) -> Iterator[Step]:
    """Yield the tip after every verdict that moved it, with its value and the number of the run that was judged."""
    of_run = {row.run.run: (row.number, one) for one in candidates for row in one.rows}
    at: ShownConfiguration | None = None
    for run, kept in lineage.kept_chains(shown):
        tip = of_run[kept[-1].run][1] if kept else None
        if tip and tip is not at and tip.known.estimate:
            yield of_run[run.run][0], tip, _from_baseline(tip, tip.known.estimate, baseline)
            at = tip


def _from_baseline(one: ShownConfiguration, value: Estimate, baseline: ShownConfiguration | None) -> Estimate:
    """Return the baseline's value plus the difference from it; the value itself where there is no baseline."""
    base = baseline.known.estimate if baseline else None
    if base is None:
        return value
    if one is baseline:
        return replace(base, low=base.mean, high=base.mean)
    gain = one.against_baseline
    return replace(value, low=base.mean + gain.low, high=base.mean + gain.high) if gain else value


def _speed_warning(rows: Sequence[RunRow]) -> Iterator[str]:
    """Yield a warning where the same code trained at different speeds, which moves scores without any change."""
    runs_of: dict[int, list[tuple[float, int]]] = {}
    for row in rows:
        if (speed := tokens_per_second(row.run)) is not None:
            runs_of.setdefault(row.first, []).append((speed, row.number))
    share, slow, fast = max(
        ((max(of)[0] / min(of)[0] - 1, min(of)[1], max(of)[1]) for of in runs_of.values()), default=(0.0, 0, 0)
    )
    if share > SETTINGS.speed_warned:
        yield (
            f"This machine's speed varied: the same code trained {100 * share:.0f} % faster in run #{fast} than in"
            f" run #{slow}. A part of every difference may come from that."
        )


def _notes(shown: Sequence[Judged], launches: Sequence[Run], elsewhere: int, foreign: Foreign | None) -> Iterator[str]:
    """Yield sentences on what the numbers leave out."""
    uncounted = Counter(str(run.outcome) for run in launches if run.outcome and not has_row(run))
    if uncounted:
        parts = ", ".join(f"{count} {what}" for what, count in uncounted.most_common())
        yield f"Launches that say nothing about a candidate and are counted nowhere: {parts}."
    if elsewhere:
        yield f"Not shown: {count_of(elsewhere, 'run')} of other branches (uv run research report --branch NAME)."
    raced = checked(item.run for item in shown)
    if raced.stopped or raced.tested:
        ended = f"{count_of(raced.stopped, 'run')} {'was' if raced.stopped == 1 else 'were'} stopped on the way."
        tested = f"Of {count_of(raced.tested, 'run')} that went to the end although a stop was due, {raced.wrong}"
        yield f"{ended} {tested} came out better than the run that it was compared with."
    if foreign:
        rows = count_of(foreign.rows, "row")
        yield f"{rows} imported from elsewhere and never judged, since their contract is unknown."


def emitter_totals(changes: Sequence[ShownConfiguration]) -> list[EmitterTotals]:
    """Return the totals of every emitter, the one with the most runs first, by all changes but the baseline."""
    of: dict[str, list[ShownConfiguration]] = {}
    for one in changes:
        of.setdefault(one.known.emitter or FREE, []).append(one)
    found = []
    for name, mine in of.items():
        runs = [row.run for one in mine for row in one.rows]
        kept = [one for one in mine if one.status == "keep"]
        earned = sum(max(0.0, -one.known.change.mean) for one in kept if one.known.change)
        found.append(EmitterTotals(name, len(runs), len(kept), sum(run.failure is not None for run in runs), earned))
    return sorted(found, key=lambda one: -one.runs)
