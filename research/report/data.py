"""What the morning page and the live view say, as frozen values, built from the memory by one pure function.

This is the one file of the room that reads verdicts: what is kept, how good it is, and what was confirmed.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from research.agents.night.command import one_run, one_run_of_an_agent, replicate_command
from research.agents.night.state import NightState
from research.core import records
from research.core.commit_message import FREE
from research.core.records import Estimate, Judged, Plan, Run, Verdict
from research.core.settings import SETTINGS
from research.core.text import chance, clean, count_of
from research.report.progress import Curve
from research.report.text import title_of
from research.report.usage import agent_usage, cost_of, tokens_per_second, utilisation, wall_seconds
from research.store.ledger import has_row
from research.store.reads import Foreign, IdeaStatus
from research.verdict import lineage
from research.verdict.archive import NO_CHANGE
from research.verdict.forecast import checked
from research.verdict.memory import against_baseline, baseline_of, recall
from research.verdict.models import Configuration, FailurePattern, Memory

Status = Literal["keep", "open", "discard", "stopped", "crash"]
"""What became of a run: its change is kept; waits for a replicate or a look; is not kept; it was ended early, since it
had fallen behind; it has no score."""


@dataclass(frozen=True)
class Row:
    """One counted run: a mark of the chart and a row of the table.

    Attributes:
        number: Its place in the history shown, from 1.
        run: The run.
        verdict: Its verdict, None before.
        title: What its commit says of the change.
        emitter: Who proposed it, "free" where the agent chose by itself, "" for the baseline.
        status: What became of its configuration.
        first: Number of the first run of its configuration; its own unless it is a replicate.
        parent: Number of a run of the commit that it was made from, of its own seed if there is one.
    """

    number: int
    run: Run
    verdict: Verdict | None
    title: str
    emitter: str
    status: Status
    first: int
    parent: int | None = None

    @property
    def val_bpb(self) -> float | None:
        """Its score, None without one."""
        return self.run.val_bpb

    @property
    def decision(self) -> str:
        """The verdict on the run in a word, "crash" or "stopped" without a score."""
        if self.run.val_bpb is None:
            return self.status
        if self.verdict is None:
            return "not judged"
        return "baseline" if self.verdict.baseline else self.verdict.decision


@dataclass(frozen=True)
class Candidate:
    """One configuration with all its runs; a difference below zero is better.

    Attributes:
        number: Number of its first run.
        emitter: Who proposed it, "" where the agent chose by itself.
        runs: Names of its runs.
        measured: The mean of its runs as they are.
        estimate: Its value with what is known of other configurations.
        gain: Its value minus that of the best when it was decided.
        against_baseline: Its value minus the baseline's.
        audit: Its audit score minus the baseline's, as measured; None without both.
        p_better: Probability that it beats the best of the time.
        seeds: Seeds that it was compared with that one on.
        decision: What was decided last.
        is_near_miss: Whether it was discarded, and may be as good as the best.
    """

    number: int
    commit: str
    title: str
    emitter: str
    runs: tuple[str, ...]
    measured: float | None = None
    estimate: Estimate | None = None
    gain: Estimate | None = None
    against_baseline: Estimate | None = None
    audit: Estimate | None = None
    p_better: float | None = None
    seeds: tuple[int, ...] = ()
    decision: str = ""
    is_near_miss: bool = False

    @property
    def n(self) -> int:
        """Runs that its value is estimated from."""
        return self.estimate.n if self.estimate else 0

    @property
    def beats_baseline(self) -> bool:
        """Whether it was measured more than once and surely beats the baseline."""
        return records.is_confirmed(self.against_baseline, self.estimate)


@dataclass(frozen=True)
class Step:
    """The best so far from a run on: a corner of the frontier.

    Attributes:
        estimate: What was known of its value then.
        is_new: Whether another configuration was the best before (else its estimate moved).
        gain: Its change by what is known now, None where nothing is.
    """

    number: int
    commit: str
    title: str
    estimate: Estimate
    is_new: bool
    gain: Estimate | None = None


@dataclass(frozen=True)
class EmitterLine:
    """What one emitter did and earned: bpb that its kept changes took off."""

    name: str
    runs: int
    kept: int
    crashes: int
    earned_bpb: float


@dataclass(frozen=True)
class Niche:
    """The best configuration of a niche of the archive: kind of change, size of the model, and how many were tried."""

    kind: str
    size: str
    title: str
    mean: float
    n: int
    count: int
    number: int


@dataclass(frozen=True)
class ValueTried:
    """One value that a constant was given while nothing else changed.

    Attributes:
        before: The value of the run that it was made from, as source text.
        after: The value tried.
        change: val_bpb minus that run's, below zero is better.
        number: Number of its first run.
        status: What became of it.
    """

    before: str
    after: str
    change: Estimate
    number: int
    status: Status


@dataclass(frozen=True)
class LossCurve:
    """The loss of one run over the budget: its number, its title, and what it is of ("baseline", "kept", "best")."""

    number: int
    title: str
    kind: str
    points: Curve


@dataclass(frozen=True)
class Bet:
    """Something to try next: what, why, and the command that does it."""

    title: str
    why: str
    command: str


@dataclass(frozen=True)
class IdeaLine:
    """A person's idea and what became of it: its status and, where it was not tried, why; the number of its run."""

    text: str
    status: str
    why: str
    number: int | None


@dataclass(frozen=True)
class Headline:
    """The figures on top; None where nothing is known.

    Attributes:
        best: The best configuration that is kept.
        baseline: The configuration that the branch began with.
        proven: The best of those that surely beat the baseline; the best itself where it does.
        stopped: Runs that were ended early.
        kept: Configurations kept after the baseline.
        run_s: Seconds of a usual run that scored, 0 before one.
        wall_hours: Hours from the first start to the last finish, long pauses left out.
        utilisation: Share of the devices' working time spent training.
        cost_from: Where the cost comes from, or why there is none.
        agent: What the agent used, in words, "" where it used nothing.
    """

    best: Candidate | None = None
    baseline: Candidate | None = None
    proven: Candidate | None = None
    runs: int = 0
    crashes: int = 0
    stopped: int = 0
    kept: int = 0
    run_s: float = 0.0
    wall_hours: float = 0.0
    utilisation: float | None = None
    cost_usd: float | None = None
    cost_from: str = ""
    agent: str = ""

    @property
    def gain(self) -> Estimate | None:
        """The best minus the baseline (below zero is better); None without both."""
        return self.best.against_baseline if self.best else None


@dataclass(frozen=True)
class PageData:
    """Everything that a page or a live view says of a branch. Lists are in the order in which they are shown.

    Attributes:
        warnings: What may make the numbers wrong.
        notes: What the numbers leave out.
        is_running: Whether a run is in progress, on whatever branch.
        is_night_on: Whether the night shown is going on.
        is_recorded: Whether it is the night of another repository, whose commits are not here.
        ends_utc: When it is expected to end, "" where nothing ends it.
    """

    branch: str
    contract: str
    made_utc: str
    headline: Headline = field(default_factory=Headline)
    noise: str = ""
    phase: str = ""
    plan: Bet | None = None
    night: NightState | None = None
    rows: tuple[Row, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    steps: tuple[Step, ...] = ()
    kept: tuple[Candidate, ...] = ()
    looked_good: tuple[Candidate, ...] = ()
    undecided: tuple[Candidate, ...] = ()
    niches: tuple[Niche, ...] = ()
    emitters: tuple[EmitterLine, ...] = ()
    crashes: tuple[FailurePattern, ...] = ()
    conjectures: tuple[str, ...] = ()
    bets: tuple[Bet, ...] = ()
    ideas: tuple[IdeaLine, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    constants: Mapping[str, tuple[ValueTried, ...]] = field(default_factory=dict)
    curves: tuple[LossCurve, ...] = ()
    diffs: Mapping[str, str] = field(default_factory=dict)
    is_running: bool = False
    is_night_on: bool = False
    is_recorded: bool = False
    ends_utc: str = ""


@dataclass(frozen=True)
class Material:
    """What is read of the memory for a page.

    Attributes:
        judged: Finished counted runs of every branch and contract, in order.
        verdicts: Every verdict, oldest first.
        branch: The branch to show.
        launches: Every run of the branch, counted or not.
        foreign: What was taken in from elsewhere.
        ideas: What a person wanted tried.
        contract: The contract to show, None for the one that the branch was kept in last.
    """

    judged: Sequence[Judged]
    verdicts: Sequence[Verdict]
    branch: str
    made_utc: str
    plan: Plan | None = None
    night: NightState | None = None
    launches: Sequence[Run] = ()
    foreign: Foreign | None = None
    ideas: Sequence[IdeaStatus] = ()
    contract: str | None = None


@dataclass(frozen=True)
class _History:
    """The runs of the branch and contract shown, numbered, with what is known of their configurations."""

    memory: Memory
    judged: Sequence[Judged]
    verdicts: Sequence[Verdict]
    numbers: Mapping[str, int]
    known: Sequence[Configuration]
    baseline: Configuration | None


def page_data(material: Material) -> PageData:
    """Return everything that a page says, without the differences of train.py."""
    history = _history_of(material)
    memory = history.memory
    rows = _rows(history)
    candidates = _candidates(history)
    baseline = _baseline(history, candidates)
    changes = [c for c in candidates if c is not baseline]
    kept = [c for c in changes if c.decision == "keep"]
    plan = _plan_bet(material.plan, material, candidates) if material.plan else None
    return PageData(
        branch=memory.branch,
        contract=memory.contract or "",
        made_utc=material.made_utc,
        headline=_headline(material, history, rows, candidates, len(kept)),
        noise=_noise_in_words(memory),
        phase=(material.plan.details.get("phase") if material.plan else "") or memory.phase,
        plan=plan,
        night=material.night,
        rows=rows,
        candidates=tuple(candidates),
        steps=_steps(history, candidates),
        kept=tuple(kept),
        looked_good=tuple(c for c in changes if c.decision == "discard" and _was_promising(c, history)),
        undecided=tuple(c for c in changes if c.decision in ("replicate", "investigate")),
        niches=_niches(memory, candidates),
        emitters=_emitters(history, changes),
        crashes=memory.no_fly,
        conjectures=tuple(_conjectures(memory)),
        bets=_bets(material, memory, candidates, plan),
        ideas=tuple(
            IdeaLine(clean(one.idea.text), one.status, one.idea.why, history.numbers.get(one.idea.run or ""))
            for one in material.ideas
        ),
        notes=tuple(_notes(material, history)),
        warnings=(*_other_contracts(material, memory), *memory.warnings, *_speed_warning(rows)),
        constants=_constants(memory, candidates),
    )


def _baseline(history: _History, candidates: Sequence[Candidate]) -> Candidate | None:
    began = history.memory.baseline.run if history.memory.baseline else ""
    return next((one for one in candidates if began in one.runs), None)


def _history_of(material: Material) -> _History:
    memory = recall(material.judged, material.branch, material.contract)
    contracts = (memory.contract, None)
    shown = [i for i in material.judged if i.run.branch == material.branch and i.run.contract in contracts]
    numbers = {item.run.run: number for number, item in enumerate(shown, 1)}
    verdicts = [verdict for verdict in material.verdicts if verdict.run in numbers]
    return _History(memory, shown, verdicts, numbers, tuple(memory.known.values()), baseline_of(memory))


def _rows(history: _History) -> tuple[Row, ...]:
    known_of = {name: known for known in history.known for name in known.runs}
    at: dict[tuple[str, int | None], int] = {}
    for item in reversed(history.judged):
        at[item.run.commit, item.run.seed] = at[item.run.commit, None] = history.numbers[item.run.run]
    return tuple(_row(item, known_of.get(item.run.run), history, at) for item in history.judged)


def _row(item: Judged, known: Configuration | None, history: _History, at: Mapping[tuple[str, int | None], int]) -> Row:
    run, numbers = item.run, history.numbers
    is_baseline = bool(known and history.baseline and known.key == history.baseline.key)
    return Row(
        number=numbers[run.run],
        run=run,
        verdict=item.verdict,
        title=title_of(run.subject, is_baseline) or run.run,
        emitter=run.emitter or ("" if is_baseline else FREE),
        status=_status(run, known),
        first=min([numbers[name] for name in known.runs if name in numbers] if known else [numbers[run.run]]),
        parent=at.get((run.parent, run.seed), at.get((run.parent, None))) if run.parent else None,
    )


def _status(run: Run, known: Configuration | None) -> Status:
    if run.val_bpb is None:
        return "stopped" if str(run.outcome) == "stopped" else "crash"
    return _status_of(known.decision if known else None)


def _status_of(decision: str | None) -> Status:
    if decision in ("replicate", "investigate"):
        return "open"
    return "keep" if decision == "keep" else "discard"


def _candidates(history: _History) -> list[Candidate]:
    """Return every configuration of the branch, in the order of its first run."""
    runs = {item.run.run: item.run for item in history.judged}
    runs_of = {known.key: [runs[name] for name in known.runs if name in runs] for known in history.known}
    base = history.baseline
    of_baseline = _audits(runs_of[base.key]) if base is not None else {}
    found = [_candidate(known, runs_of[known.key], of_baseline, history) for known in history.known]
    return sorted((one for one in found if one.runs), key=lambda one: one.number)


def _candidate(
    known: Configuration, mine: Sequence[Run], of_baseline: Mapping[int, float], history: _History
) -> Candidate:
    base = history.baseline
    is_baseline = base is not None and known.key == base.key
    scores = [run.val_bpb for run in mine if run.val_bpb is not None and lineage.is_evidence(run)]
    return Candidate(
        number=min((history.numbers[run.run] for run in mine), default=0),
        commit=known.commit,
        title=title_of(known.subject, is_baseline) or known.commit[:7],
        emitter=known.emitter or "",
        runs=tuple(run.run for run in mine),
        measured=statistics.fmean(scores) if scores else None,
        estimate=known.estimate,
        gain=known.change,
        against_baseline=against_baseline(history.memory, known),
        audit=None if is_baseline else _audit_change(_audits(mine), of_baseline),
        p_better=known.p_better,
        seeds=known.seeds,
        decision=known.decision or "",
        is_near_miss=any(known.key == one.key for one in history.memory.near_misses),
    )


def _audits(runs: Sequence[Run]) -> Mapping[int, float]:
    """Return the mean audit score of every seed."""
    found: dict[int, list[float]] = {}
    for run in runs:
        if run.audit_bpb is not None and not run.suspect:
            found.setdefault(run.seed, []).append(run.audit_bpb)
    return {seed: statistics.fmean(scores) for seed, scores in found.items()}


def _audit_change(mine: Mapping[int, float], theirs: Mapping[int, float]) -> Estimate | None:
    """Return the mean audit difference over the seeds that both ran with, and its range; None without such a seed."""
    apart = [mine[seed] - theirs[seed] for seed in mine if seed in theirs]
    return Estimate(statistics.fmean(apart), min(apart), max(apart), len(apart)) if apart else None


def _was_promising(candidate: Candidate, history: _History) -> bool:
    """Return whether some verdict on it was once other than discard."""
    return any(v.run in candidate.runs and v.decision != "discard" for v in history.verdicts)


def _headline(
    material: Material, history: _History, rows: Sequence[Row], candidates: Sequence[Candidate], kept: int
) -> Headline:
    known = history.memory.best or history.memory.incumbent
    proven = [(c.estimate.mean, c) for c in candidates if c.decision == "keep" and c.beats_baseline and c.estimate]
    runs = [item.run for item in history.judged]
    cost_usd, cost_from = cost_of(material.launches, material.night)
    agent = agent_usage(material.launches, material.night)
    return Headline(
        best=next((c for c in candidates if known and c.commit == known.commit), None),
        baseline=_baseline(history, candidates),
        proven=min(proven, key=lambda pair: pair[0])[1] if proven else None,
        runs=len(runs),
        crashes=sum(row.status == "crash" for row in rows),
        stopped=sum(row.status == "stopped" for row in rows),
        kept=kept,
        run_s=statistics.median(scored) if (scored := [run.wall_s for run in runs if run.val_bpb is not None]) else 0.0,
        wall_hours=wall_seconds(runs) / 3600,
        utilisation=utilisation(runs),
        cost_usd=cost_usd,
        cost_from=cost_from,
        agent=replace(agent, usd=None).in_words(),
    )


def _steps(history: _History, candidates: Sequence[Candidate]) -> tuple[Step, ...]:
    """Return the frontier: the best after every verdict, replayed by the one rule in verdict/lineage."""
    runs = {item.run.run: item.run for item in history.judged}
    gain_of = {run: c.gain for c in candidates for run in c.runs}
    began = lineage.baseline(history.judged)
    past: dict[str, list[tuple[int, Verdict]]] = {}
    ever_kept: set[str] = set()
    best: Run | None = None
    steps: list[Step] = []
    for order, verdict in enumerate(history.verdicts, 1):
        run = runs[verdict.run]
        past.setdefault(verdict.run, []).append((order, verdict))
        if verdict.decision == "keep" or run.commit in ever_kept:
            ever_kept.add(run.commit)
            of_kept = {name: seen for name, seen in past.items() if runs[name].commit in ever_kept}
            best = lineage.incumbent([judged_as_of(runs[name], seen) for name, seen in of_kept.items()])
        if best is None or not (steps or verdict.decision == "keep"):
            continue
        estimate = _estimate_then(best, run, verdict, past)
        last = steps[-1] if steps else None
        is_new = last is None or last.commit != best.commit
        # What is known of the same configuration moves only with a new run of it.
        if estimate and (is_new or last is None or estimate.n > last.estimate.n):
            title = title_of(best.subject, began is not None and best.commit == began.commit) or best.commit[:7]
            number = history.numbers[verdict.run]
            steps.append(Step(number, best.commit, title, estimate, is_new, gain_of.get(best.run)))
    today = next((c.estimate for c in candidates if steps and c.commit == steps[-1].commit), None)
    if today and today != steps[-1].estimate:  # runs of others, too, tell what it is worth
        steps.append(replace(steps[-1], number=max(len(history.numbers), 1), estimate=today, is_new=False, gain=None))
    return tuple(steps)


def judged_as_of(run: Run, seen: Sequence[tuple[int, Verdict]]) -> Judged:
    """Return a run with the verdicts that had been made by then, each with its place among all."""
    order, verdict = seen[-1]
    return Judged(run, verdict, order, tuple((place, v.decision) for place, v in seen[:-1]))


def _estimate_then(
    best: Run, run: Run, verdict: Verdict, past: Mapping[str, Sequence[tuple[int, Verdict]]]
) -> Estimate | None:
    """Return what was known of the best: this verdict's estimate if it is of the best, else the last one that is."""
    if verdict.estimate and lineage.is_same(run, best):
        return verdict.estimate
    seen = past.get(best.run, ())
    if seen and seen[-1][1].estimate:
        return seen[-1][1].estimate
    return Estimate(best.val_bpb, best.val_bpb, best.val_bpb, 1) if best.val_bpb is not None else None


def _niches(memory: Memory, candidates: Sequence[Candidate]) -> tuple[Niche, ...]:
    number_of = {one.commit: one.number for one in candidates}
    found = []
    for elite in memory.elites:
        kind, *size = elite.niche.split("/")
        title = title_of(elite.description, kind == NO_CHANGE)
        number = number_of.get(elite.commit, 0)
        found.append(Niche(kind, ", ".join(size), title, elite.mean, elite.n, elite.count, number))
    return tuple(sorted(found, key=lambda one: one.mean))


def _constants(memory: Memory, candidates: Sequence[Candidate]) -> dict[str, tuple[ValueTried, ...]]:
    """Return what each constant did, those first that were tried most often; changes of several things say nothing."""
    number_of = {name: one.number for one in candidates for name in one.runs}
    found: dict[str, tuple[ValueTried, ...]] = {}
    for name, trials in memory.tried.items():
        values = []
        for trial in trials:
            known = trial.known
            number = next((number_of[run] for run in known.runs if run in number_of), None)
            if trial.alone and known.gain and number is not None:
                change = Estimate(-known.gain.mean, -known.gain.high, -known.gain.low, known.gain.n)
                values.append(ValueTried(trial.before, trial.after, change, number, _status_of(known.decision)))
        if values:
            found[name] = tuple(values[-SETTINGS.values_shown :])
    often = sorted(found, key=lambda name: (-len(found[name]), min(one.change.mean for one in found[name])))
    return {name: found[name] for name in often[: SETTINGS.constants_shown]}


def _other_contracts(material: Material, memory: Memory) -> Iterable[str]:
    """Yield what is hidden since its scores can't be compared with those shown, and the switch that shows it."""
    found = Counter(item.run.contract for item in material.judged if item.run.branch == material.branch)
    for contract, count in found.items():
        if contract not in (None, memory.contract):
            are = "run of another contract is" if count == 1 else "runs of another contract are"
            switch = f"uv run research report --contract {contract}"
            yield f"{count} {are} not shown, since scores can be compared within one only. To see them: {switch}"


def _speed_warning(rows: Sequence[Row]) -> Iterable[str]:
    """Yield a warning where the same code trained at different speeds, which moves scores without any change."""
    runs_of: dict[int, list[tuple[float, int]]] = {}
    for row in rows:
        if (speed := tokens_per_second(row.run)) is not None:
            runs_of.setdefault(row.first, []).append((speed, row.number))
    worst = max((max(of)[0] / min(of)[0] - 1, min(of)[1], max(of)[1]) for of in runs_of.values()) if runs_of else None
    if worst and worst[0] > SETTINGS.speed_warned:
        share, slow, fast = worst
        yield (
            f"This machine's speed varied: the same code trained {100 * share:.0f} % faster in run #{fast} than in"
            f" run #{slow}. A part of every difference may come from that."
        )


def _emitters(history: _History, changes: Sequence[Candidate]) -> tuple[EmitterLine, ...]:
    """Return what each did and earned, the busiest first; baselines and their replicates belong to nobody."""
    emitter_of = {name: c.emitter or FREE for c in changes for name in c.runs}
    found = []
    for name, count in Counter(emitter_of.values()).most_common():
        runs = [item.run for item in history.judged if emitter_of.get(item.run.run) == name]
        kept = [c for c in changes if (c.emitter or FREE) == name and c.decision == "keep"]
        earned = sum(max(0.0, -c.gain.mean) for c in kept if c.gain)
        crashes = sum(run.failure is not None for run in runs)
        found.append(EmitterLine(name, count, len(kept), crashes, earned))
    return tuple(found)


def _noise_in_words(memory: Memory) -> str:
    """Say what a score scatters by, and how that is known."""
    known = memory.belief.variances.noise
    parts = [
        f"{what} by {one.sd:.5f} bpb (95 %: {one.low:.5f} to {one.high:.5f}{'' if one.n else ', a guess so far'})"
        for what, one in (
            ("two runs of one seed scatter", known.repeat),
            ("seeds", known.seed),
            ("a change from seed to seed", known.interaction),
        )
    ]
    words = ", ".join(parts)
    return f"{words[:1].upper()}{words[1:]}. Runs of one seed are compared with each other."


def _conjectures(memory: Memory) -> Iterable[str]:
    """Yield what the evidence supports, then what it no longer does."""
    for item in memory.conjectures:
        mark = "Withdrawn: " if item.withdrawn and not item.text.startswith("Withdrawn") else ""
        yield mark + item.text


def _plan_bet(plan: Plan, material: Material, candidates: Sequence[Candidate]) -> Bet:
    """Return the pending plan in words, with the command that carries it out."""
    night = material.night
    if plan.kind == "replicate":
        if plan.parent is None:
            return Bet("Run train.py as it is: the baseline", plan.reason, one_run(night))
        seed = plan.run_seed
        name = next((one.title for one in candidates if one.commit == plan.parent), plan.parent[:7])
        title = f"Measure again with {'another seed' if seed is None else f'seed {seed}'}: {name}"
        return Bet(title, plan.reason, replicate_command(plan.parent, night, seed))
    if number := plan.details.get(records.IDEA):
        waits = next((one for one in _for_agents(material) if str(one.idea.idea) == number), None)
        return _for_agent(waits, night) if waits else Bet("Try what you asked for", plan.reason, one_run(night))
    what = f"something in {plan.category}" if plan.category else "whatever it likes"
    start = f", starting from {plan.parent[:7]}" if plan.parent else ""
    title = f"{plan.emitter or 'The agent, left free,'} tries {what}{start}"
    return Bet(title, plan.reason, one_run(night))


def _for_agents(material: Material) -> list[IdeaStatus]:
    """Return a person's ideas that only who writes code can try."""
    return [one for one in material.ideas if one.status == "needs_agent"]


def _for_agent(one: IdeaStatus, night: NightState | None) -> Bet:
    """Return such an idea with the command whose agent can try it."""
    why = "It waits for a coding agent, codex or claude: the built-in one only changes values."
    return Bet(f"Try what you asked for: {clean(one.idea.text)}", why, one_run_of_an_agent(night))


def _bets(material: Material, memory: Memory, candidates: Sequence[Candidate], plan: Bet | None) -> tuple[Bet, ...]:
    """Return the next steps: the plan, what is undecided, a best measured once, near misses; the likeliest first."""
    night = material.night
    asked = [bet for one in _for_agents(material)[:1] if (bet := _for_agent(one, night)) != plan]
    found = [*asked, *([plan] if plan else [])]
    named = {material.plan.parent} if material.plan and material.plan.kind == "replicate" else set()

    def add(one: Candidate, verb: str, why: str, command: str) -> None:
        if one.commit not in named:
            named.add(one.commit)
            found.append(Bet(f"{verb}: {one.title}", why, command))

    for one in _likeliest(c for c in candidates if c.decision in ("replicate", "investigate")):
        why = f"Not decided yet: another seed tells.{_chance(one)}"
        add(one, "Measure again", why, replicate_command(one.commit, night))
    for one in candidates:
        if memory.best and one.commit == memory.best.commit and one.decision == "keep" and len(one.runs) == 1:
            why = "It was measured once; another seed tells how much of its score was luck."
            add(one, "Measure again", why, replicate_command(one.commit, night))
    for one in _likeliest(c for c in candidates if c.is_near_miss):
        if one.p_better is None or one.p_better >= SETTINGS.bet_p:
            why = f"A near miss: it may be as good as the best so far, and combine with it.{_chance(one)}"
            add(one, "Build on", why, f"git show {one.commit[:12]}")
    return tuple(found[: SETTINGS.bets_shown])


def _likeliest(candidates: Iterable[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda c: -(c.p_better if c.p_better is not None else -1.0))


def _chance(candidate: Candidate) -> str:
    return f" P(better) {chance(candidate.p_better)}." if candidate.p_better is not None else ""


def _notes(material: Material, history: _History) -> Iterable[str]:
    """Yield what the numbers leave out, and what somebody should look at."""
    uncounted = Counter(str(run.outcome) for run in material.launches if run.outcome and not has_row(run))
    if uncounted:
        parts = ", ".join(f"{count} {what}" for what, count in uncounted.most_common())
        yield f"Launches that say nothing about a candidate and are counted nowhere: {parts}."
    if elsewhere := sum(item.run.branch != material.branch for item in material.judged):
        yield f"Not shown: {count_of(elsewhere, 'run')} of other branches (uv run research report --branch NAME)."
    raced = checked(item.run for item in history.judged)
    if raced.stopped or raced.tested:
        ended = f"{count_of(raced.stopped, 'run')} {'was' if raced.stopped == 1 else 'were'} stopped on the way."
        tested = f"Of {count_of(raced.tested, 'run')} that went to the end although a stop was due, {raced.wrong}"
        yield f"{ended} {tested} came out better than the run that it was compared with."
    if material.foreign:
        rows = count_of(material.foreign.rows, "row")
        yield f"{rows} taken in from elsewhere: in results.tsv, never judged, since their contract is unknown."
