"""The short form of a recollection, small enough to be kept in the store, so that a long history answers at once.

It is a copy: keyed by the state of the rows that it was made from, made anew when they have moved on, and lost without
harm.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from research.core.errors import ResearchError
from research.core.records import Estimate, Judged
from research.core.settings import SETTINGS
from research.store import reads
from research.store.db import Store
from research.verdict.gains import against_baseline, gains_of
from research.verdict.models import Conjecture, FailurePattern, Known, Memory, PhaseInputs
from research.verdict.recall import baseline_of, recall

_FORM = 3
"""Number of this form; another one makes every kept digest stale."""
_FACT = "digest:"


@dataclass(frozen=True)
class Standing:
    """A configuration in one line; its val_bpb is lower when better."""

    commit: str
    subject: str
    emitter: str | None
    estimate: Estimate


@dataclass(frozen=True)
class Niche:
    """A niche with its elite; count is the configurations that fell into it."""

    niche: str
    commit: str
    mean: float
    n: int
    emitter: str | None
    description: str
    count: int
    run: str


@dataclass(frozen=True)
class Digest:
    """What summary and archive show of a branch; fields as in Memory, and what is believed of best minus baseline."""

    branch: str
    contract: str | None
    baseline: Standing | None
    best: Standing | None
    incumbent: Standing | None
    noise_sd: float
    noise_n: int
    conjectures: tuple[Conjecture, ...]
    niches: tuple[Niche, ...]
    no_fly: tuple[FailurePattern, ...]
    warnings: tuple[str, ...]
    inputs: PhaseInputs
    runs: int
    scored: int
    kept: int
    change: Estimate | None = None


def digest_of(memory: Memory) -> Digest:
    """The short form of a recollection."""
    withdrawn = [one for one in memory.conjectures if one.withdrawn]
    most = SETTINGS.conjectures_shown - (1 if withdrawn else 0)  # what is withdrawn is said, whatever else stands
    standing = [one for one in memory.conjectures if not one.withdrawn][:most]
    return Digest(
        branch=memory.branch,
        contract=memory.contract,
        baseline=_standing(baseline_of(memory)),
        best=_standing(memory.best),
        incumbent=_standing(memory.incumbent),
        noise_sd=memory.noise.sd,
        noise_n=memory.noise.n,
        conjectures=(*standing, *withdrawn)[: SETTINGS.conjectures_shown],
        niches=tuple(
            Niche(e.niche, str(e.id), e.mean, e.n, e.emitter, e.description, memory.archive.count(e.niche), e.run)
            for e in memory.archive.elites
        ),
        no_fly=memory.no_fly[: SETTINGS.no_fly_shown],
        warnings=memory.warnings,
        inputs=memory.inputs,
        runs=memory.runs,
        scored=memory.scored,
        kept=memory.kept,
    )


def _standing(known: Known | None) -> Standing | None:
    if known is None or known.estimate is None:
        return None
    return Standing(known.commit, known.subject, known.emitter, known.estimate)


def remembered(store: Store, branch: str) -> Digest:
    """The digest of a branch: the kept one if the rows are still those, else made from them."""
    key = _key(store)
    kept = _read(store.fact(_FACT + branch), key)
    if kept is not None:
        return kept
    history = reads.history(store)
    memory = recall(history, branch)
    digest = replace(digest_of(memory), change=_change(store, history, memory))
    if digest.runs >= SETTINGS.min_cached_runs:
        text = json.dumps({"key": key, "digest": asdict(digest)}, ensure_ascii=False)
        try:
            store.set_fact(_FACT + branch, text)
        except ResearchError:
            return digest  # somebody else is writing, or the disk is full: the next one keeps it
    return digest


def _change(store: Store, history: Sequence[Judged], memory: Memory) -> Estimate | None:
    """What verdicts believe of best minus baseline; only those of what was kept are read, which are few."""
    if memory.best is None:
        return None
    kept = {name for one in memory.known.values() if one.decision == "keep" for name in one.runs}
    verdicts = sorted((one for name in kept for one in store.verdicts(name)), key=lambda one: one.created_utc)
    return against_baseline(memory.best, memory, gains_of([i for i in history if i.run.run in kept], verdicts))


def _key(store: Store) -> str:
    """What a digest is made from: the rows, the thresholds, and this form."""
    settings = hashlib.sha256(repr(SETTINGS).encode()).hexdigest()[:12]
    return f"{_FORM}/{settings}/{reads.state_key(store)}"


def _read(text: str | None, key: str) -> Digest | None:
    """A kept digest, None if it is stale or can't be read."""
    try:
        plain = json.loads(text or "{}")
        return _from_plain(plain["digest"]) if plain["key"] == key else None
    except (ValueError, KeyError, TypeError):
        return None


def _from_plain(plain: Mapping[str, Any]) -> Digest:
    values = dict(plain)
    for name in ("baseline", "best", "incumbent"):
        one = values[name]
        values[name] = Standing(**{**one, "estimate": Estimate(**one["estimate"])}) if one else None
    values["conjectures"] = tuple(Conjecture(**one) for one in values["conjectures"])
    values["niches"] = tuple(Niche(**one) for one in values["niches"])
    values["no_fly"] = tuple(FailurePattern(**one) for one in values["no_fly"])
    values["warnings"] = tuple(values["warnings"])
    values["inputs"] = PhaseInputs(**values["inputs"])
    values["change"] = Estimate(**values["change"]) if values["change"] else None
    return Digest(**values)


def phase_of(inputs: PhaseInputs) -> str:
    """The phase of a search by its latest results, for where no plan says it."""
    if inputs.configurations == 0:
        return "baseline"
    if inputs.recent_crashes >= SETTINGS.stabilize_crashes:
        return "stabilize"
    if inputs.stall >= SETTINGS.recombine_stall and inputs.near_misses >= 2:
        return "recombine"
    if inputs.stall < SETTINGS.explore_stall and inputs.recent_keeps >= 2:
        return "exploit"
    return "explore"
