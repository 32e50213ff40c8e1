"""Makes a Memory out of judged runs: a pure fold, so that what is stored of it can be thrown away and made again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from research.core.records import PERSON, Decision, Estimate, Failure, Judged, Run
from research.core.settings import SETTINGS
from research.store import ledger
from research.verdict import lineage
from research.verdict.alerts import alerts_of
from research.verdict.archive import NO_CHANGE, Archive, Elite, niche_of
from research.verdict.belief import Belief
from research.verdict.evidence import Keys, belief_of
from research.verdict.models import Configuration, FailurePattern, Memory, Trial
from research.verdict.phase import PhaseInputs
from research.verdict.summary_rows import WARNINGS_SHOWN
from research.verdict.trends import Change, conjectures, topics_of, trends


@dataclass(slots=True)
class _Group:
    """The runs of one configuration while they are put together; the first run with a known change describes it."""

    key: str
    run: Run
    on_branch: bool
    runs: list[str] = field(default_factory=list)
    decision: Decision | None = None
    decided_by: str = ""
    by_person: bool = False
    order: int = -1
    why: str = ""
    against: str = ""
    failure: Failure | None = None
    suspect: str = ""
    peak_vram_mb: float | None = None
    params_m: float | None = None
    finished_utc: str = ""

    def add(self, item: Judged, keys: Keys) -> None:
        """Add what one run says, its score left out."""
        run, verdict = item.run, item.verdict
        self.runs.append(run.run)
        self.finished_utc = run.finished_utc or self.finished_utc
        self.suspect = self.suspect or next(iter(run.suspect), "")
        self.failure = run.failure or self.failure
        if run.peak_vram_mb is not None:
            self.peak_vram_mb = run.peak_vram_mb
        if run.metrics is not None:
            self.params_m = run.metrics.num_params_M
        if verdict is None:
            return
        self.by_person = self.by_person or verdict.rule == PERSON
        if not self.against and verdict.incumbent and keys.of_commit(verdict.incumbent) != self.key:
            self.against = keys.of_commit(verdict.incumbent)
        if item.order <= self.order:
            return
        # The crash of one replicate takes away nothing that other runs have shown.
        if self.decided_by in ("", run.run) or verdict.decision == "keep" or lineage.is_about_candidate(run):
            self.order, self.decision, self.why, self.decided_by = item.order, verdict.decision, verdict.why, run.run


def recall(
    history: Sequence[Judged],
    branch: str,
    contract: str | None = None,
    extra_warnings: Iterable[str] = (),
    belief: Belief | None = None,
) -> Memory:
    """Return what the lab knows of a branch under a contract.

    Args:
        history: Judged runs in order of start, of the branch or of all branches: others of the contract count as
            evidence about kinds of change and failures, but never as parents.
        branch: The branch.
        contract: The contract; by default the one that the branch was kept in last.
        extra_warnings: Warnings that only somebody with a repository can know.
        belief: The posterior of these runs, for whoever has made it already.
    """
    contract = contract if contract is not None else lineage.latest_contract(history, branch)
    items = [item for item in history if _is_comparable(item.run, branch, contract)]
    runs = [item.run for item in items]
    keys = Keys(runs)
    if belief is None:
        belief = belief_of([run for run in runs if run.contract == contract], keys)
    groups = _groups(items, keys, branch)
    on_branch = [item for item in items if item.run.branch == branch]
    baseline = lineage.baseline(on_branch)
    known = _known(groups, belief, keys, keys.of(baseline) if baseline else None)
    mine = [known[key] for key, group in groups.items() if group.on_branch]
    tip = lineage.incumbent(_that_decide(on_branch))
    incumbent = known.get(keys.of(tip)) if tip else None
    near = _near_misses(belief, mine, incumbent)
    no_fly = _failures(groups, belief)
    inputs = _phase_inputs(mine, near)
    changes = [_change(group, known[key]) for key, group in groups.items()]
    tallies = trends(changes)
    every = {topic: tally.trend(topic) for topic, tally in tallies.items()}
    kept = [one for one in mine if one.decision == "keep" and one.estimate is not None]
    odd = [one for one in mine if one.surprise or one.decision == "investigate"]
    best = belief.best(one.key for one in kept)
    return Memory(
        branch=branch,
        contract=contract,
        belief=belief,
        baseline=baseline,
        incumbent=incumbent,
        best=known[str(best)] if best is not None else None,
        archive=archive_of(mine),
        near_misses=near,
        no_fly=no_fly,
        conjectures=conjectures(changes, tallies, no_fly, inputs.stall),
        recent=tuple(mine[-SETTINGS.recent_kept :]),
        trend={name: one for (name, way), one in every.items() if not way},
        constant_trends={topic: one for topic, one in every.items() if topic[1]},
        anomalies=tuple(odd[-SETTINGS.anomalies_kept :]),
        tried=_tried(known.values()),
        warnings=(*extra_warnings, *alerts_of(mine))[:WARNINGS_SHOWN],
        fingerprints=frozenset(item.run.fingerprint for item in history if item.run.fingerprint),
        known={one.key: one for one in mine},
        runs=len(on_branch),
        scored=sum(item.run.outcome == "scored" for item in on_branch),
        kept=len(kept),
        inputs=inputs,
    )


def _is_comparable(run: Run, branch: str, contract: str | None) -> bool:
    """Return whether a run says something about a contract; a crash that came to none counts where it happened."""
    if not ledger.has_row(run):
        return False
    return run.contract == contract or (run.contract is None and run.branch == branch)


def _groups(items: Iterable[Judged], keys: Keys, branch: str) -> dict[str, _Group]:
    """Return the configurations by key, in order of the first run."""
    groups: dict[str, _Group] = {}
    for item in items:
        run, key = item.run, keys.of(item.run)
        group = groups.get(key)
        if group is None:
            group = groups[key] = _Group(key, run, run.branch == branch)
        elif run.branch == branch and not group.on_branch:
            group.on_branch, group.run = True, run
        elif run.category and not group.run.category and group.run.branch == run.branch:
            group.run = run
        group.add(item, keys)
    return groups


def _that_decide(items: Sequence[Judged]) -> list[Judged]:
    """Return the items that can move the branch: what was ever kept, and every other run of it."""
    commits: set[str] = set()
    for item in items:
        decisions: list[Decision] = [decision for _, decision in item.earlier]
        if item.verdict and "keep" in (*decisions, item.verdict.decision):
            commits.add(item.run.commit)
    return [item for item in items if item.run.commit in commits]


def _known(groups: Mapping[str, _Group], belief: Belief, keys: Keys, baseline: str | None) -> dict[str, Configuration]:
    """Return every configuration as others see it."""
    faults = Counter(group.failure.signature for key, group in groups.items() if group.failure and key not in belief)
    crashes, tries = sum(faults.values()), sum(bool(group.run.parent) for group in groups.values())
    found: dict[str, Configuration] = {}
    for key, group in groups.items():
        run, scored = group.run, key in belief
        parent = belief.parent(key)
        effect = belief.difference(key, parent) if parent is not None else None
        change = belief.difference(key, group.against) if scored and group.against in belief else None
        surprise = belief.surprise(key) if scored else 0.0
        surprise = surprise if abs(surprise) >= SETTINGS.anomaly_sd else 0.0
        if group.failure and not scored and run.parent and faults[group.failure.signature] == 1:
            is_rare = tries > SETTINGS.anomaly_neighbours and crashes - 1 < SETTINGS.rare_crash_share * (tries - 1)
            surprise = -SETTINGS.anomaly_sd if is_rare else 0.0
        found[key] = Configuration(
            key=key,
            commit=run.commit,
            fingerprint=run.fingerprint,
            parent=run.parent,
            subject=run.subject,
            emitter=run.emitter,
            category=run.category,
            delta=run.delta,
            estimate=belief.value(key) if scored else None,
            gain=Estimate(-effect.mean, -effect.high, -effect.low, effect.n) if effect else None,
            runs=tuple(group.runs),
            decision=group.decision,
            by_person=group.by_person,
            why=group.why,
            niche=_niche(group, key == baseline),
            peak_vram_mb=group.peak_vram_mb,
            params_m=group.params_m,
            failure=group.failure.signature if group.failure and not scored else "",
            statements_added=run.statements_added,
            statements_removed=run.statements_removed,
            finished_utc=group.finished_utc,
            surprise=surprise,
            suspect=group.suspect,
            against=group.against,
            change=change,
            p_better=belief.p_better(key, group.against) if change else None,
            seeds=belief.shared_seeds(key, group.against) if change else belief.seeds(key),
        )
    return found


def _niche(group: _Group, is_baseline: bool) -> str:
    run = group.run
    size = (run.statements_added, run.statements_removed)
    if not any(size) and not run.category:  # nobody compared the trees: lines say it roughly
        size = (run.additions, run.deletions)
    if is_baseline:
        size = (0, 0)
    memory_gb = group.peak_vram_mb / 1024 if group.peak_vram_mb is not None else None
    return niche_of(NO_CHANGE if is_baseline else run.category, group.params_m, memory_gb, *size)


def archive_of(known: Iterable[Configuration]) -> Archive:
    """Return the archive of these configurations."""
    archive = Archive()
    for one in known:
        if (elite := elite_of(one)) is not None:
            archive.insert(elite)
    return archive


def elite_of(known: Configuration) -> Elite | None:
    """Return a configuration as the archive holds it, None if it has no score or is suspected of luck still."""
    value = known.estimate
    if value is None or known.decision == "investigate":
        return None
    run = known.runs[0]
    text = known.subject
    return Elite(known.niche, known.commit or known.key, value.mean, value.n, known.emitter, text, known.category, run)


def _near_misses(
    belief: Belief, mine: Iterable[Configuration], incumbent: Configuration | None
) -> tuple[Configuration, ...]:
    """Return the discarded configurations that may be as good as the incumbent, the latest ones."""
    if incumbent is None or incumbent.estimate is None:
        return ()
    found = [
        one
        for one in mine
        if one.estimate is not None
        and one.key != incumbent.key
        and one.decision == "discard"
        and belief.p_better(one.key, incumbent.key) >= SETTINGS.near_miss_p
    ]
    return tuple(found[-SETTINGS.near_misses_kept :])


def _failures(groups: Mapping[str, _Group], belief: Belief) -> tuple[FailurePattern, ...]:
    """Return the ways to fail, the most frequent first; a configuration that scored by another run did not fail."""
    found: dict[str, FailurePattern] = {}
    for key, group in groups.items():
        fault, run = group.failure, group.run
        if fault is None or key in belief:
            continue
        count = found[fault.signature].count if fault.signature in found else 0
        found[fault.signature] = FailurePattern(
            fault.signature, fault.kind, count + 1, run.category, run.commit, group.finished_utc
        )
    return tuple(sorted(found.values(), key=lambda one: (-one.count, one.signature)))


def _change(group: _Group, known: Configuration) -> Change:
    """Return what a configuration is evidence about."""
    gain = known.gain.mean if known.gain else None
    crashed = known.estimate is None and group.failure is not None
    return Change(topics_of(group.run), gain, known.decision == "keep", crashed, group.run.commit)


def _tried(known: Iterable[Configuration]) -> Mapping[str, tuple[Trial, ...]]:
    """Return for every constant the values it was given."""
    found: dict[str, list[Trial]] = {}
    for one in known:
        for name, text in one.delta.items():
            before, arrow, after = text.partition(" -> ")
            if arrow:
                found.setdefault(name, []).append(Trial(before, after, len(one.delta) == 1, one))
    return {name: tuple(trials) for name, trials in found.items()}


def _phase_inputs(mine: Sequence[Configuration], near: Sequence[Configuration]) -> PhaseInputs:
    """Return what tells the phase of the search."""
    stall = 0
    for one in reversed(mine):
        if one.decision == "keep":
            break
        stall += 1
    latest = mine[-SETTINGS.phase_window :]
    return PhaseInputs(
        configurations=len(mine),
        stall=stall,
        recent_crashes=sum(bool(one.failure) for one in latest),
        recent_keeps=sum(one.decision == "keep" and one.gain is not None for one in latest),
        near_misses=len(near),
    )


def baseline_of(memory: Memory) -> Configuration | None:
    """Return the baseline as a configuration, with all its runs."""
    run: Run | None = memory.baseline
    return memory.known.get(run.fingerprint or run.commit) if run else None


def change_of_best(memory: Memory) -> Estimate | None:
    """Return the best's val_bpb minus the baseline's; None where the baseline is the best, or without both."""
    return against_baseline(memory, memory.best)


def against_baseline(memory: Memory, one: Configuration | None) -> Estimate | None:
    """Return a configuration's val_bpb minus the baseline's; None for the baseline itself, or without both."""
    base = baseline_of(memory)
    if one is None or base is None or one.key == base.key or one.estimate is None or base.estimate is None:
        return None
    return memory.belief.difference(one.key, base.key)
