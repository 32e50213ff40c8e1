"""Makes the summary of a branch, and stores it when a run is judged, so that whoever asks reads it at once.

The stored one is a copy: keyed by the rows that it was made from, made anew when they have moved on, and lost without
harm. Only making it loads the posterior.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from research.core.contract import PROFILES
from research.core.errors import ResearchError
from research.core.records import Estimate, Plan
from research.core.settings import SETTINGS
from research.core.text import clean
from research.store import reads
from research.store.db import Store
from research.verdict.models import HABIT, Configuration, Conjecture, FailurePattern, Memory
from research.verdict.noise import Noise, Spread, prior_for
from research.verdict.phase import NO_INPUTS, PhaseInputs, phase_of
from research.verdict.summary_rows import (
    BEST,
    MEMORY,
    NO_BASELINE,
    NO_BEST,
    NO_PLAN,
    PHASE,
    PLAN,
    WARNINGS,
    Row,
    plan_line,
    section,
)

_FORM = 5
"""Number of this form; another one makes every kept digest stale."""
_FACT = "digest:"


@dataclass(frozen=True)
class Standing:
    """A configuration in one line; its val_bpb is lower when better."""

    commit: str
    subject: str
    emitter: str | None
    estimate: Estimate
    by_person: bool = False


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
    """What summary and archive show of a branch; fields as in Memory, and the best's val_bpb minus the baseline's."""

    branch: str
    contract: str | None
    baseline: Standing | None
    best: Standing | None
    incumbent: Standing | None
    noise: Noise
    conjectures: tuple[Conjecture, ...]
    niches: tuple[Niche, ...]
    no_fly: tuple[FailurePattern, ...]
    warnings: tuple[str, ...]
    inputs: PhaseInputs
    runs: int
    scored: int
    kept: int
    change: Estimate | None = None


def noise_of(memory: Memory) -> Noise:
    """Return what a score scatters by, as the posterior has it."""
    known = memory.belief.variances
    return Noise(known.of_repeat, known.of_seed, known.of_interaction)


def digest_of(memory: Memory, baseline: Configuration | None, change: Estimate | None) -> Digest:
    """Return the short form of a memory.

    Args:
        memory: What the lab knows of a branch.
        baseline: Its baseline.
        change: The best's val_bpb minus the baseline's.
    """
    withdrawn = [one for one in memory.conjectures if one.withdrawn]
    most = SETTINGS.conjectures_shown - (1 if withdrawn else 0)  # what is withdrawn is said, whatever else stands
    standing = [one for one in memory.conjectures if not one.withdrawn][:most]
    return Digest(
        branch=memory.branch,
        contract=memory.contract,
        baseline=_standing(baseline),
        best=_standing(memory.best),
        incumbent=_standing(memory.incumbent),
        noise=noise_of(memory),
        conjectures=(*standing, *withdrawn)[: SETTINGS.conjectures_shown],
        niches=tuple(
            Niche(e.niche, str(e.id), e.mean, e.n, e.emitter, e.description, memory.archive.count(e.niche), e.run)
            for e in memory.archive.elites
        ),
        no_fly=memory.no_fly[: SETTINGS.no_fly_shown],
        warnings=memory.warnings,
        inputs=memory.inputs,
        change=change,
        runs=memory.runs,
        scored=memory.scored,
        kept=memory.kept,
    )


def _standing(known: Configuration | None) -> Standing | None:
    if known is None or known.estimate is None:
        return None
    by_person = known.by_person and known.decision == "keep"
    return Standing(known.commit, known.subject, known.emitter, known.estimate, by_person)


def remembered(
    store: Store,
    branch: str,
    profile: str = PROFILES[0],
    memory: Memory | None = None,
    contract: str | None = None,
) -> Digest:
    """Return the digest of a branch: the stored one if the rows are still those, else one made from them and stored.

    Args:
        store: The memory.
        branch: The branch.
        profile: The profile that a run would have here: what is assumed of the noise where there is none yet.
        memory: What is known of the branch, for whoever has recalled it already.
        contract: Another contract than the one that the branch was kept in last; its digest is not stored.
    """
    key = _key(store)
    kept = _read(store.fact(_FACT + branch), key)
    if kept is not None and contract in (None, kept.contract):
        return kept
    history = reads.history(store) if memory is None else ()
    if memory is None and not history:
        return _empty(branch, profile)
    from research.verdict.memory import baseline_of, change_of_best, recall

    memory = memory or recall(history, branch, contract)
    digest = digest_of(memory, baseline_of(memory), change_of_best(memory))
    if contract is not None:
        return digest
    text = json.dumps({"key": key, "digest": asdict(digest)}, ensure_ascii=False)
    with contextlib.suppress(ResearchError):  # somebody else is writing, or the disk is full: the next one stores it
        store.set_fact(_FACT + branch, text)
    return digest


def _empty(branch: str, profile: str) -> Digest:
    """Return the digest of a lab without a run: nothing but what is assumed of the noise."""
    return Digest(branch, None, None, None, None, prior_for(profile).noise, (), (), (), (), NO_INPUTS, 0, 0, 0)


def _key(store: Store) -> str:
    """What a digest is made from: the rows, the thresholds, and this form."""
    settings = hashlib.sha256(repr(sorted(vars(SETTINGS).items())).encode()).hexdigest()[:12]
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
    values["noise"] = Noise(**{name: Spread(**one) for name, one in values["noise"].items()})
    values["change"] = Estimate(**values["change"]) if values["change"] else None
    return Digest(**values)


# The summary in words ------------------------------------------------------------------------------------------------

ESTIMATED = "Not the measured scores: each is corrected for luck, see docs/how-it-decides.md"
"""What the values of elites are."""


def _one_line(one: Standing | None, none: str) -> str:
    if one is None:
        return none
    value = one.estimate
    spread = f"[{value.low:.6f}, {value.high:.6f}] n={value.n}"
    return f"{value.mean:.6f} {spread} @ {one.commit[:7]}"


def _of_conjecture(one: Conjecture) -> str:
    if one.text.startswith(HABIT):
        return f"{clean(one.text)} (share of crashes {one.mean:.2f} [{one.low:.2f}, {one.high:.2f}], n={one.n})"
    change = f"{-one.mean:+.6f} [{-one.high:+.6f}, {-one.low:+.6f}]"
    return f"{clean(one.text)} (change in val_bpb {change}, below zero is better, n={one.n})"


def rows(digest: Digest, plan: Plan | None, warnings: Sequence[str]) -> Iterator[Row]:
    """What the lab knows of a branch, in the order in which one asks."""
    d, phase = digest, phase_shown(digest, plan)
    yield "Baseline", _one_line(d.baseline, NO_BASELINE)
    moved = bool(d.best and d.baseline and d.best.commit != d.baseline.commit)
    yield BEST, _one_line(d.best, NO_BEST)
    if d.best:
        yield "", clean(d.best.subject) + (" (kept by a person)" if d.best.by_person else "")
    if d.incumbent and d.incumbent.by_person and not (d.best and d.best.commit == d.incumbent.commit):
        yield "", f"the branch is on {d.incumbent.commit[:7]}: {clean(d.incumbent.subject)} (kept by a person)"
    if moved and d.change:
        by = f"{d.change.mean:+.6f} [{d.change.low:+.6f}, {d.change.high:+.6f}]"
        yield "Change", f"{by} against the baseline; below zero is better"
    kept = max(0, d.kept - (d.baseline is not None))  # the baseline is where changes begin, and none itself
    changes = "1 change" if kept == 1 else f"{kept} changes"
    tried = "1 change" if d.inputs.stall == 1 else f"{d.inputs.stall} changes"
    since = "the last one kept" if kept else "the baseline"
    yield "Runs", f"{d.runs} recorded, {d.scored} scored; {changes} kept; {tried} tried since {since}"
    noise = d.noise
    parts = (f"{noise.repeat.sd:.5f} of repeats", f"{noise.seed.sd:.5f} of seeds")
    assumed = "" if noise.repeat.n or noise.seed.n or noise.interaction.n else " (assumed)"
    yield "Noise", f"sd {', '.join(parts)}, {noise.interaction.sd:.5f} of change x seed{assumed}"
    yield PHASE, phase
    yield PLAN, plan_shown(plan) or NO_PLAN
    yield from section("Conjectures", [_of_conjecture(one) for one in d.conjectures])
    elites = d.niches[: SETTINGS.elites_shown]
    lines = [f"{e.mean:.6f} n={e.n} @ {e.commit[:7]} {e.niche}" for e in elites]
    yield from section("Elites", [*lines, ESTIMATED] if lines else [])
    yield from section("No-fly", [f"{p.count}x {clean(p.signature)}" for p in d.no_fly])
    yield from section(WARNINGS, [clean(text) for text in warnings])
    yield MEMORY, "results/discovery/ holds all of it; never commit it"


def phase_shown(digest: Digest, plan: Plan | None) -> str:
    """The phase of the pending plan, else the one that the runs are in."""
    return (plan.details.get("phase") if plan else "") or phase_of(digest.inputs)


def plan_shown(plan: Plan | None) -> str:
    """The pending plan in one line, "" without one."""
    return plan_line(plan.emitter, plan.category, plan.parent, plan.kind, plan.reason) if plan else ""
