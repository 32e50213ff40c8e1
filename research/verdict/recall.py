"""Makes a Memory out of judged runs: a pure fold, so that whatever is kept of it can be thrown away and made again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from research.core.records import Decision, Estimate, Judged, Run
from research.core.settings import SETTINGS
from research.verdict import lineage
from research.verdict.alerts import warnings_of
from research.verdict.archive import NO_CHANGE, Archive, Elite, niche_of
from research.verdict.configurations import Config, Gathered, gather
from research.verdict.models import FailurePattern, Known, Memory, PhaseInputs, Trend, Trial
from research.verdict.shrinkage import estimates
from research.verdict.summary_rows import WARNINGS_SHOWN
from research.verdict.surprise import surprises
from research.verdict.trends import conjectures, topics_of, trends

__all__ = ["Memory", "recall"]


def recall(
    history: Sequence[Judged], branch: str, contract: str | None = None, extra_warnings: Iterable[str] = ()
) -> Memory:
    """What the lab knows of a branch under a contract.

    Args:
        history: Judged runs in order of start, of the branch or of all branches: others of the contract count as
            evidence about kinds of change and failures, but never as parents.
        branch: The branch.
        contract: The contract; by default the one that the branch was kept in last.
        extra_warnings: Warnings that only somebody with a repository can know.
    """
    contract = contract if contract is not None else contract_of(history, branch)
    gathered = gather(history, branch, contract)
    known = _known(gathered)
    mine = [known[key] for key, config in gathered.configs.items() if config.on_branch]
    standing = lineage.incumbent(_that_decide(gathered.items))
    incumbent = known.get(gathered.key_of.get(standing.commit, standing.commit)) if standing else None
    near = _near_misses(gathered, mine, incumbent)
    no_fly = _failures(gathered)
    topics = {key: topics_of(config) for key, config in gathered.configs.items()}
    tallies = trends(gathered, topics)
    inputs = _phase_inputs(mine, near)
    told = {topic: tally.trend(topic) for topic, tally in tallies.items()}
    kept = [one for one in mine if one.decision == "keep" and one.estimate is not None]
    return Memory(
        branch=branch,
        contract=contract,
        noise=gathered.evidence.noise(),
        baseline=lineage.baseline(gathered.items),
        incumbent=incumbent,
        best=min(kept, key=_rank, default=None),
        archive=_archive(mine),
        near_misses=near,
        no_fly=no_fly,
        conjectures=conjectures(gathered, topics, tallies, no_fly, inputs.stall),
        recent=tuple(mine[-SETTINGS.recent_kept :]),
        trend={name: one for (name, way), one in told.items() if not way},
        constant_trends={topic: one for topic, one in told.items() if topic[1]},
        anomalies=tuple(one for one in mine if _is_anomaly(one))[-SETTINGS.anomalies_kept :],
        tried=_tried(known.values()),
        warnings=(*extra_warnings, *warnings_of(mine))[:WARNINGS_SHOWN],
        fingerprints=frozenset(item.run.fingerprint for item in history if item.run.fingerprint),
        known={one.key: one for one in mine},
        runs=len(gathered.items),
        scored=sum(item.run.outcome == "scored" for item in gathered.items),
        kept=len(kept),
        inputs=inputs,
    )


def contract_of(history: Sequence[Judged], branch: str) -> str | None:
    """The contract that a branch was kept in last, else the one it measured in last."""
    mine = [item for item in history if item.run.branch == branch and item.run.contract is not None]
    kept = [item for item in mine if item.verdict and item.verdict.decision == "keep"]
    if kept:
        return max(kept, key=lambda item: item.order).run.contract
    return mine[-1].run.contract if mine else None


def _rank(known: Known) -> tuple[float, str]:
    assert known.estimate is not None
    return known.estimate.mean, known.commit


def _that_decide(items: Sequence[Judged]) -> list[Judged]:
    """The items that can move the branch: what was ever kept, and every other run of it."""
    commits: set[str] = set()
    for item in items:
        decisions: list[Decision] = [decision for _, decision in item.earlier]
        if item.verdict and "keep" in (*decisions, item.verdict.decision):
            commits.add(item.run.commit)
    return [item for item in items if item.run.commit in commits]


def _known(gathered: Gathered) -> Mapping[str, Known]:
    """Every configuration as others see it."""
    means, odd = estimates(gathered), surprises(gathered)
    began = lineage.baseline(gathered.items)
    first = gathered.key_of.get(began.commit) if began else None
    found: dict[str, Known] = {}
    for key, config in gathered.configs.items():
        run = config.run
        parent = gathered.parent(config)
        gain = None
        if parent and parent.key in means and key in means:
            gain = gathered.evidence.difference(parent.key, key)
        found[key] = Known(
            key=key,
            commit=run.commit,
            fingerprint=run.fingerprint,
            parent=run.parent,
            subject=run.subject,
            emitter=run.emitter,
            category=run.category,
            delta=run.delta,
            estimate=means.get(key),
            gain=gain,
            runs=tuple(config.runs),
            decision=config.decision,
            why=config.why,
            niche=_niche(config, key == first),
            peak_vram_mb=config.peak_vram_mb,
            params_m=config.params_m,
            failure=config.failure.signature if config.failure and key not in means else "",
            statements_added=run.statements_added,
            statements_removed=run.statements_removed,
            finished_utc=config.finished_utc,
            surprise=odd.get(key, 0.0),
            suspect=config.suspect,
        )
    return found


def _niche(config: Config, is_baseline: bool) -> str:
    run = config.run
    size = (run.statements_added, run.statements_removed)
    if not any(size) and not run.category:  # nobody compared the trees: lines say it roughly
        size = (run.additions, run.deletions)
    if is_baseline:
        size = (0, 0)
    memory_gb = config.peak_vram_mb / 1024 if config.peak_vram_mb is not None else None
    return niche_of(NO_CHANGE if is_baseline else run.category, config.params_m, memory_gb, *size)


def _archive(mine: Iterable[Known]) -> Archive:
    archive = Archive()
    for one in mine:
        if (elite := elite_of(one)) is not None:
            archive.insert(elite)
    return archive


def elite_of(known: Known) -> Elite | None:
    """A configuration as the archive holds it, None if it has no believable score or is suspected of luck still."""
    value = known.estimate
    if value is None or known.decision == "investigate":
        return None
    run = known.runs[0]
    text = known.subject
    return Elite(known.niche, known.commit or known.key, value.mean, value.n, known.emitter, text, known.category, run)


def _near_misses(gathered: Gathered, mine: Iterable[Known], incumbent: Known | None) -> tuple[Known, ...]:
    """Losses within the margin of the incumbent, or whose difference from it the noise may have made."""
    if incumbent is None or incumbent.estimate is None:
        return ()
    found = []
    for one in mine:
        if one.estimate is None or one.key == incumbent.key or one.decision != "discard":
            continue
        gap: Estimate = gathered.evidence.difference(one.key, incumbent.key)
        if gap.mean <= SETTINGS.near_miss_bpb or gap.low <= 0:
            found.append(one)
    return tuple(found[-SETTINGS.near_misses_kept :])


def _failures(gathered: Gathered) -> tuple[FailurePattern, ...]:
    """Ways to fail, the most frequent first; a configuration that came to a score by another run did not fail."""
    found: dict[str, FailurePattern] = {}
    for key, config in gathered.configs.items():
        fault, run = config.failure, config.run
        if fault is None or key in gathered.evidence:
            continue
        count = found[fault.signature].count if fault.signature in found else 0
        found[fault.signature] = FailurePattern(
            fault.signature, fault.kind, count + 1, run.category, run.commit, config.finished_utc
        )
    return tuple(sorted(found.values(), key=lambda one: (-one.count, one.signature)))


def _is_anomaly(known: Known) -> bool:
    return known.surprise != 0 or known.decision == "investigate"


def _tried(known: Iterable[Known]) -> Mapping[str, tuple[Trial, ...]]:
    """Constant to the values it was given."""
    found: dict[str, list[Trial]] = {}
    for one in known:
        for name, text in one.delta.items():
            before, arrow, after = text.partition(" -> ")
            if arrow:
                found.setdefault(name, []).append(Trial(before, after, len(one.delta) == 1, one))
    return {name: tuple(trials) for name, trials in found.items()}


def _phase_inputs(mine: Sequence[Known], near: Sequence[Known]) -> PhaseInputs:
    """What tells the phase of the search."""
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


def baseline_of(memory: Memory) -> Known | None:
    """The baseline as a configuration, with all its runs."""
    run: Run | None = memory.baseline
    return memory.known.get(run.fingerprint or run.commit) if run else None


def trend_of(memory: Memory, name: str, way: str = "") -> Trend | None:
    """What changes of a kind, or of a constant in one direction, did so far."""
    return memory.constant_trends.get((name, way)) if way else memory.trend.get(name)
