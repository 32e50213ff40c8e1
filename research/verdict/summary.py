"""Makes the summary of a branch, and stores it when a run is judged, so that whoever asks reads it at once.

The stored one is a copy: keyed by the rows that it was made from, made anew when they have moved on, and lost without
harm. Only making it loads the posterior.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from research.core.commit_message import EXPERIMENT, tag_of
from research.core.contract import PROFILES
from research.core.errors import ResearchError
from research.core.records import REPLICATE, Estimate, Plan
from research.core.settings import SETTINGS
from research.core.text import clean, count_of
from research.store import reads
from research.store.db import Store
from research.verdict.models import HABIT, Configuration, Conjecture, Elite, FailurePattern, Memory
from research.verdict.noise import OFFICIAL, POCKET, Noise, Spread

_FORM = 6
"""Number of this form; another one makes every stored digest stale."""
_FACT = "digest:"
NO_BEST = "no best yet"
Row = tuple[str, str]
"""A name, "" to go on with the one before, and what there is to say."""


@dataclass(frozen=True)
class Standing:
    """A configuration in one line; its val_bpb is lower when better."""

    commit: str
    subject: str
    emitter: str | None
    estimate: Estimate
    by_person: bool = False


@dataclass(frozen=True)
class Digest:
    """What summary and archive show of a branch; fields as in Memory, and the best's val_bpb minus the baseline's."""

    branch: str
    contract: str | None
    noise: Noise
    baseline: Standing | None = None
    best: Standing | None = None
    incumbent: Standing | None = None
    change: Estimate | None = None
    conjectures: tuple[Conjecture, ...] = ()
    niches: tuple[Elite, ...] = ()
    no_fly: tuple[FailurePattern, ...] = ()
    warnings: tuple[str, ...] = ()
    phase: str = "baseline"
    stall: int = 0
    runs: int = 0
    scored: int = 0
    kept: int = 0


def digest_of(memory: Memory) -> Digest:
    """Return the short form of a memory."""
    from research.verdict.memory import baseline_of, change_of_best

    withdrawn = [one for one in memory.conjectures if one.withdrawn]
    most = SETTINGS.conjectures_shown - (1 if withdrawn else 0)  # what is withdrawn is said, whatever else stands
    standing = [one for one in memory.conjectures if not one.withdrawn][:most]
    return Digest(
        branch=memory.branch,
        contract=memory.contract,
        noise=memory.belief.variances.noise,
        baseline=_standing(baseline_of(memory)),
        best=_standing(memory.best),
        incumbent=_standing(memory.incumbent),
        change=change_of_best(memory),
        conjectures=(*standing, *withdrawn)[: SETTINGS.conjectures_shown],
        niches=memory.elites,
        no_fly=memory.no_fly[: SETTINGS.no_fly_shown],
        warnings=memory.warnings,
        phase=memory.phase,
        stall=memory.stall,
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
    settings = hashlib.sha256(repr(sorted(vars(SETTINGS).items())).encode()).hexdigest()[:12]
    key = f"{_FORM}/{settings}/{reads.state_key(store)}"
    stored = _read(store.fact(_FACT + branch), key)
    if stored is not None and contract in (None, stored.contract):
        return stored
    history = reads.history(store) if memory is None else ()
    if memory is None and not history:
        return Digest(branch, None, (OFFICIAL if profile == PROFILES[0] else POCKET).noise)
    from research.verdict.memory import recall

    digest = digest_of(memory or recall(history, branch, contract))
    if contract is None:
        text = json.dumps({"key": key, "digest": asdict(digest)}, ensure_ascii=False)
        with contextlib.suppress(ResearchError):  # somebody else is writing, or the disk is full: the next one stores
            store.set_fact(_FACT + branch, text)
    return digest


def _read(text: str | None, key: str) -> Digest | None:
    """Return a stored digest, None if it is stale or can't be read."""
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
    for name, kind in (("conjectures", Conjecture), ("niches", Elite), ("no_fly", FailurePattern)):
        values[name] = tuple(kind(**one) for one in values[name])
    values["warnings"] = tuple(values["warnings"])
    values["noise"] = Noise(**{name: Spread(**one) for name, one in values["noise"].items()})
    values["change"] = Estimate(**values["change"]) if values["change"] else None
    return Digest(**values)


# The summary in words ------------------------------------------------------------------------------------------------

ESTIMATED = "Not the measured scores: each is corrected for luck, see docs/how-it-decides.md"
"""What the values of elites are."""


def rows(digest: Digest, plan: Plan | None, warnings: Sequence[str]) -> Iterator[Row]:
    """Yield what the lab knows of a branch, in the order in which one asks."""
    d = digest
    yield "Baseline", in_one_line(d.baseline, "no baseline yet")
    yield "Best", in_one_line(d.best, NO_BEST)
    if d.best:
        yield "", clean(d.best.subject) + (" (kept by a person)" if d.best.by_person else "")
    if d.incumbent and d.incumbent.by_person and not (d.best and d.best.commit == d.incumbent.commit):
        yield "", f"the branch is on {d.incumbent.commit[:7]}: {clean(d.incumbent.subject)} (kept by a person)"
    if d.change:
        yield "Change", f"{d.change.in_words('+')} against the baseline; below zero is better"
    kept = max(0, d.kept - (d.baseline is not None))  # the baseline is where changes begin, and none itself
    since = f"{count_of(d.stall, 'change')} tried since {'the last one kept' if kept else 'the baseline'}"
    yield "Runs", f"{d.runs} recorded, {d.scored} scored; {count_of(kept, 'change')} kept; {since}"
    parts = (d.noise.repeat, d.noise.seed, d.noise.interaction)
    sds = [f"{one.sd:.5f} of {what}" for one, what in zip(parts, ("repeats", "seeds", "change x seed"), strict=True)]
    yield "Noise", f"sd {', '.join(sds)}{'' if any(one.n for one in parts) else ' (assumed)'}"
    yield "Phase", phase_shown(digest, plan)
    yield "Plan", _plan_line(plan) if plan else "none pending"
    yield from _section("Conjectures", [_of_conjecture(one) for one in d.conjectures])
    lines = [f"{e.mean:.6f} n={e.n} @ {e.commit[:7]} {e.niche}" for e in d.niches[: SETTINGS.elites_shown]]
    yield from _section("Elites", [*lines, ESTIMATED] if lines else [])
    yield from _section("No-fly", [f"{p.count}x {clean(p.signature)}" for p in d.no_fly])
    yield from _section("Warnings", [clean(text) for text in warnings[: SETTINGS.warnings_shown]])
    yield "Memory", "results/discovery/ holds all of it; never commit it"


def in_one_line(one: Standing | None, none: str) -> str:
    """Return a value with its interval, the runs behind it and its commit."""
    return f"{one.estimate.in_words()} n={one.estimate.n} @ {one.commit[:7]}" if one else none


def phase_shown(digest: Digest, plan: Plan | None) -> str:
    """Return the phase of the pending plan, else the one that the runs are in."""
    return (plan.details.get("phase") if plan else "") or digest.phase


def as_text(rows: Iterable[Row]) -> str:
    """Return rows as plain lines: names in a column of their own."""
    return "\n".join(f"{name + ':' if name else '':<13}{text}".rstrip() for name, text in rows)


def _section(name: str, lines: Sequence[str]) -> list[Row]:
    return [(name if place == 0 else "", line) for place, line in enumerate(lines)]


def _of_conjecture(one: Conjecture) -> str:
    if one.text.startswith(HABIT):
        return f"{clean(one.text)} (share of crashes {one.mean:.2f} [{one.low:.2f}, {one.high:.2f}], n={one.n})"
    change = Estimate(-one.mean, -one.high, -one.low, one.n).in_words("+")
    return f"{clean(one.text)} (change in val_bpb {change}, below zero is better, n={one.n})"


def _plan_line(plan: Plan) -> str:
    if plan.kind == REPLICATE:
        return f"{f'replicate {plan.parent[:7]}' if plan.parent else 'the baseline'}: {plan.reason}"
    what = f" on {plan.category}" if plan.category else ""
    start = f" from {plan.parent[:7]}" if plan.parent else ""
    return f"{plan.emitter or 'the agent is free'}{what}{start}: {plan.reason}"


def head_warnings(
    commit: str, subject: str, measured: bool, planned: str | None, twin: str = "", way_back: str = ""
) -> list[str]:
    """Return what to say of the commit at HEAD.

    Args:
        commit: Its hash.
        subject: Its subject.
        measured: Whether a run of it ended with a result.
        planned: The emitter of the pending plan.
        twin: The run that measured the same program, "" for none.
        way_back: The commit that takes HEAD's place then: HEAD itself where only its message is new.
    """
    if measured or way_back == commit:
        return []
    found = []
    if twin:
        back = f"git reset --keep {way_back[:7]}"
        found.append(f"HEAD {commit[:7]} is the same program as run {twin}, not measured again; take it back: {back}")
    elif subject.startswith(EXPERIMENT):
        found.append(f"HEAD {commit[:7]} is an experiment without a result: run it before the next one.")
    tagged = tag_of(subject)
    if planned and tagged and planned != tagged:
        found.append(f"The plan asked for {planned}, HEAD's commit says {tagged}: the commit counts.")
    return found
