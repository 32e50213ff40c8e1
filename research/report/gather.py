"""Builds what the morning page says from the history and what the lab knows of it: one pure function, no reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from research.agents.night.state import NightState
from research.core import records
from research.core.records import Estimate, Judged, Plan, Run, Verdict
from research.report import outlook
from research.report.data import Candidate, Cell, CrashLine, EmitterLine, Headline, ReportData, Row, Status
from research.report.frontier import steps_of
from research.report.hours import cost_of, seconds_of, utilisation, wall_seconds
from research.report.text import changes_in_words, count_of, night_in_words, title_of
from research.store.foreign import Foreign
from research.store.ledger import has_row
from research.verdict.comparable import is_believable
from research.verdict.evidence import Evidence
from research.verdict.gains import Gain, against_baseline, gains_of
from research.verdict.models import Known, Memory
from research.verdict.recall import baseline_of

MB_PER_GB = 1024.0


@dataclass(frozen=True)
class Material:
    """What a page is made of.

    Attributes:
        history: Finished counted runs of the branch and contract shown, in order.
        verdicts: Every verdict on them, oldest first.
        memory: What the lab knows of them.
        made_utc: Now.
        plan: The pending plan.
        night: The latest night.
        launches: Every run of the branch, counted or not.
        elsewhere: Runs of other branches or contracts.
        foreign: What was taken in from elsewhere, None if nothing was.
        diffs: Commit to the difference that it made.
    """

    history: Sequence[Judged]
    verdicts: Sequence[Verdict]
    memory: Memory
    made_utc: str
    plan: Plan | None = None
    night: NightState | None = None
    launches: Sequence[Run] = ()
    elsewhere: int = 0
    foreign: Foreign | None = None
    diffs: Mapping[str, str] = field(default_factory=dict)


def gather(material: Material) -> ReportData:
    """Everything on the page."""
    memory = material.memory
    numbers = {item.run.run: number for number, item in enumerate(material.history, 1)}
    known_of = {name: known for known in memory.known.values() for name in known.runs}
    base = baseline_of(memory)
    rows = tuple(_row(item, numbers, known_of, base) for item in material.history)
    candidates = _candidates(material, numbers)
    change_of = {run: c.gain for c in candidates for run in c.runs}
    commit_of = {item.run.commit: change_of.get(item.run.run) for item in material.history}
    steps = steps_of(material.history, material.verdicts, numbers)
    others = [c for c in candidates if c.number != _baseline_number(memory, numbers)]
    kept = [c for c in others if c.decision == "keep"]
    return ReportData(
        branch=memory.branch,
        contract=memory.contract or "",
        made_utc=material.made_utc,
        headline=_headline(material, rows, candidates, len(kept)),
        noise=outlook.noise_in_words(memory),
        phase=outlook.phase_in_words(material.plan),
        rows=rows,
        candidates=tuple(candidates),
        steps=tuple(replace(step, gain=commit_of.get(step.commit)) for step in steps),
        confirmed=tuple(c for c in kept if is_confirmed(c)),
        unsure=tuple(c for c in kept if not is_confirmed(c)),
        looked_good=tuple(c for c in others if c.decision == "discard" and _was_promising(c, material)),
        waiting=tuple(c for c in others if c.decision in ("replicate", "investigate")),
        audited=tuple(c for c in kept if c.audit),
        cells=_cells(memory),
        emitters=tuple(_emitters(material.history, others)),
        crashes=tuple(_crashes(material.history, numbers)),
        conjectures=tuple(outlook.conjectures_in_words(memory)),
        bets=tuple(outlook.bets(material.plan, memory, candidates, material.night)),
        diffs=material.diffs,
        notes=tuple(_notes(material)),
        night=material.night,
    )


def _baseline_number(memory: Memory, numbers: Mapping[str, int]) -> int:
    return numbers.get(memory.baseline.run, 0) if memory.baseline else 0


def _status(run: Run, known: Known | None) -> Status:
    if run.val_bpb is None:
        return "crash"
    decision = known.decision if known else None
    if decision in ("replicate", "investigate"):
        return "open"
    return "keep" if decision == "keep" else "discard"


def _row(item: Judged, numbers: Mapping[str, int], known_of: Mapping[str, Known], base: Known | None) -> Row:
    run, verdict = item.run, item.verdict
    known = known_of.get(run.run)
    is_base = bool(known and base and known.key == base.key)
    first = min((numbers[name] for name in known.runs if name in numbers), default=0) if known else 0
    words = "crash" if run.val_bpb is None else verdict.decision if verdict else "not judged"
    params = run.metrics.num_params_M if run.metrics else None
    return Row(
        number=numbers[run.run],
        run=run.run,
        commit=run.commit,
        parent=run.parent,
        title=title_of(run.subject, is_base) or run.run,
        emitter=run.emitter or ("" if is_base else "free"),
        category=run.category,
        status=_status(run, known),
        decision="baseline" if verdict and verdict.baseline else words,
        why=(verdict.why if verdict else "") or run.why,
        val_bpb=run.val_bpb,
        first=first or numbers[run.run],
        p_better=verdict.p_better if verdict else None,
        difference=verdict.difference if verdict else None,
        seed=run.seed,
        started_utc=run.started_utc,
        minutes=seconds_of(run) / 60 or None,
        peak_gb=run.peak_vram_mb / MB_PER_GB if run.peak_vram_mb is not None else None,
        params_m=params,
        lines=f"+{run.additions} −{run.deletions}" if run.additions or run.deletions else "",
        changes=changes_in_words(run.delta),
        signature=f"{run.failure.kind}: {run.failure.signature}" if run.failure else "",
        doubt="; ".join(run.suspect),
    )


def _candidates(material: Material, numbers: Mapping[str, int]) -> list[Candidate]:
    memory, runs = material.memory, {item.run.run: item for item in material.history}
    gains = gains_of(material.history, material.verdicts)
    scores, audits = Evidence(), Evidence()
    for known in memory.known.values():
        for run in (runs[name].run for name in known.runs if name in runs):
            if run.val_bpb is not None and is_believable(run):
                scores.add(known.key, run.val_bpb)
            if run.audit_bpb is not None and not run.suspect:
                audits.add(known.key, run.audit_bpb)
    found = []
    for known in memory.known.values():
        mine = [runs[name] for name in known.runs if name in runs]
        if mine:
            one = _candidate(known, mine, numbers, gains.get(known.key), baseline_of(memory))
            audit = _audit(known, audits, memory)
            measured = scores.mean(known.key) if known.key in scores else None
            since = against_baseline(known, memory, gains)
            found.append(replace(one, measured=measured, audit=audit, against_baseline=since))
    return sorted(found, key=lambda c: c.number)


def _candidate(
    known: Known, mine: Sequence[Judged], numbers: Mapping[str, int], gain: Gain | None, base: Known | None
) -> Candidate:
    return Candidate(
        number=min(numbers[item.run.run] for item in mine),
        commit=known.commit,
        title=title_of(known.subject, base is not None and known.key == base.key) or known.commit[:7],
        emitter=known.emitter or "",
        runs=tuple(item.run.run for item in mine),
        first_bpb=next((item.run.val_bpb for item in mine if item.run.val_bpb is not None), None),
        estimate=known.estimate,
        gain=gain.change if gain else None,
        p_better=gain.p_better if gain else None,
        decision=known.decision or "",
    )


def _audit(known: Known, audits: Evidence, memory: Memory) -> Estimate | None:
    """Its audit score minus the baseline's, as measured."""
    base = baseline_of(memory)
    both = base is not None and known.key != base.key and known.key in audits and base.key in audits
    return audits.difference(known.key, base.key) if both and base else None


def _was_promising(candidate: Candidate, material: Material) -> bool:
    """Whether some verdict on it was once other than discard."""
    mine = set(candidate.runs)
    return any(v.run in mine and v.decision != "discard" for v in material.verdicts)


def _headline(material: Material, rows: Sequence[Row], candidates: Sequence[Candidate], kept: int) -> Headline:
    memory = material.memory
    standing = memory.best or memory.incumbent
    best = next((c for c in candidates if standing and c.commit == standing.commit), None)
    base_name = memory.baseline.run if memory.baseline else ""
    base = next((c for c in candidates if base_name in c.runs), None)
    gain = best.against_baseline if best else None
    solid = [c for c in candidates if c.decision == "keep" and is_solid(c) and c.estimate]
    runs = [item.run for item in material.history]
    usd, usd_from = cost_of(material.launches, material.night)
    return Headline(
        gain=gain,
        confirmed=bool(best and is_solid(best)),
        solid=min(solid, key=lambda c: c.estimate.mean if c.estimate else 0.0, default=None),
        best=best,
        baseline=base,
        runs=len(rows),
        crashes=sum(row.val_bpb is None for row in rows),
        kept=kept,
        wall_hours=wall_seconds(runs) / 3600,
        utilisation=utilisation(runs),
        cost_usd=usd,
        cost_from=usd_from,
        night=night_in_words(material.night) if material.night else "",
    )


def is_confirmed(candidate: Candidate) -> bool:
    """Whether a kept change was measured more than once and surely beats what stood before it."""
    return records.is_confirmed(candidate.gain, candidate.estimate)


def is_solid(candidate: Candidate) -> bool:
    """Whether it was measured more than once and surely lies below the baseline."""
    return records.is_confirmed(candidate.against_baseline, candidate.estimate)


def _cells(memory: Memory) -> tuple[Cell, ...]:
    found = []
    for e in memory.archive.elites:
        title = title_of(e.description, e.niche.startswith("baseline"))
        found.append(Cell(e.niche, title, e.mean, e.n, memory.archive.count(e.niche), e.emitter or "", str(e.id)))
    return tuple(found)


def _emitters(history: Sequence[Judged], candidates: Sequence[Candidate]) -> list[EmitterLine]:
    """What each did and earned, the busiest first; baselines and their replicates belong to nobody."""
    emitter_of = {name: c.emitter or "free" for c in candidates for name in c.runs}
    found = []
    for name, count in Counter(emitter_of.values()).most_common():
        runs = [item.run for item in history if emitter_of.get(item.run.run) == name]
        kept = [c for c in candidates if (c.emitter or "free") == name and c.decision == "keep"]
        earned = sum(max(0.0, -c.gain.mean) for c in kept if c.gain)
        crashed = sum(run.val_bpb is None for run in runs)
        found.append(EmitterLine(name, count, sum(map(seconds_of, runs)) / 60, len(kept), crashed, earned))
    return found


def _crashes(history: Sequence[Judged], numbers: Mapping[str, int]) -> list[CrashLine]:
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in (item.run for item in history if item.run.val_bpb is None):
        kind, signature = (run.failure.kind, run.failure.signature) if run.failure else (str(run.outcome), run.why)
        groups.setdefault((kind, signature), []).append(run)
    lines = [CrashLine(k, s, len(g), numbers[g[-1].run], g[-1].commit) for (k, s), g in groups.items()]
    return sorted(lines, key=lambda line: (-line.count, -line.number))


def _notes(material: Material) -> list[str]:
    """What the numbers leave out, and what somebody should look at."""
    apart = Counter(str(run.outcome) for run in material.launches if run.outcome and not has_row(run))
    found = list(material.memory.warnings)
    if apart:
        parts = ", ".join(f"{count} {what}" for what, count in apart.most_common())
        found.append(f"Launches that say nothing about a candidate and are counted nowhere: {parts}.")
    if others := material.elsewhere:
        found.append(f"Not shown, since not comparable: {count_of(others, 'run')} of other branches or contracts.")
    if material.foreign:
        rows = count_of(material.foreign.rows, "row")
        found.append(f"{rows} taken in from elsewhere: in results.tsv, never judged, since their contract is unknown.")
    return found
