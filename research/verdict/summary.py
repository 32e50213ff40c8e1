"""Makes the summary of a branch, and stores it when a run is judged, so that it is read at once.

The stored one names the state of the rows that it was made from, and is made anew when they have changed. Only making
it loads the posterior.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from research.core.commit_message import EXPERIMENT, idea_of
from research.core.contract import PROFILES
from research.core.errors import ResearchError
from research.core.records import REPLICATE, Estimate, Plan
from research.core.settings import SETTINGS
from research.core.text import clean, count_of, quoted
from research.store import reads
from research.store.db import Store
from research.verdict.models import HABIT, Configuration, Conjecture, Digest, Elite, FailurePattern, Memory
from research.verdict.noise import OFFICIAL, POCKET, Noise, Spread

_FORMAT = 9  # number of the stored digests' format; another one makes every stored digest stale
_FACT = "digest:"
NO_BEST = "no best yet"
SummaryRow = tuple[str, str]
"""A row's name, "" where it continues the row before, and its text."""


def remembered(
    store: Store, branch: str, profile: str = PROFILES[0], memory: Memory | None = None, contract: str | None = None
) -> Digest:
    """Return the digest of a branch: the stored one if the rows are still those, else one made from them and stored.

    Args:
        store: The memory.
        branch: The branch.
        profile: The profile that a run would have here, whose noise is assumed before any run.
        memory: The memory of the branch, where it is made already.
        contract: Another contract than the one that the branch was kept in last; its digest is not stored.
    """
    settings = hashlib.sha256(repr(sorted(vars(SETTINGS).items())).encode()).hexdigest()[:12]
    key = f"{_FORMAT}/{settings}/{reads.state_key(store)}"
    assumed = (OFFICIAL if profile == PROFILES[0] else POCKET).noise
    digest = _read(store.fact(_FACT + branch), key)
    if digest is None or contract not in (None, digest.contract):
        history = reads.history(store) if memory is None else ()
        if memory is None and not history:
            return Digest(branch=branch, contract=None, noise=assumed)
        from research.verdict.memory import recall

        digest = digest_of(memory or recall(history, branch, contract))
        if contract is None:
            text = json.dumps({"key": key, "digest": asdict(digest)}, ensure_ascii=False)
            with contextlib.suppress(ResearchError):  # somebody else writes, or the disk is full: the next one stores
                store.set_fact(_FACT + branch, text)
    # Nothing was measured on this branch, whatever was on others: no run says of which profile its noise is.
    return digest if digest.contract else replace(digest, noise=assumed)


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
        values[name] = _configuration(values[name]) if values[name] else None
    for name, kind in (("conjectures", Conjecture), ("elites", Elite), ("no_fly", FailurePattern)):
        values[name] = tuple(kind(**one) for one in values[name])
    values["near_misses"] = tuple(_configuration(one) for one in values["near_misses"])
    values["warnings"] = tuple(values["warnings"])
    values["noise"] = Noise(**{name: Spread(**one) for name, one in values["noise"].items()})
    values["change"] = Estimate(**values["change"]) if values["change"] else None
    return Digest(**values)


def _configuration(plain: Mapping[str, Any]) -> Configuration:
    estimates = {name: plain[name] and Estimate(**plain[name]) for name in ("estimate", "gain", "change")}
    return Configuration(**{**plain, **estimates, "runs": tuple(plain["runs"]), "seeds": tuple(plain["seeds"])})


def digest_of(memory: Memory) -> Digest:
    """Return the part of a memory that is stored."""
    return Digest(**{one.name: getattr(memory, one.name) for one in fields(Digest)})


# The summary in words ------------------------------------------------------------------------------------------------

ESTIMATED = "Not the measured scores: each is corrected for luck, see docs/how-it-decides.md"
"""The note below the elites on their values."""


def conjectures_shown(digest: Digest) -> tuple[Conjecture, ...]:
    """Return the first conjectures, always with a withdrawn one where there is one."""
    withdrawn = [one for one in digest.conjectures if one.withdrawn]
    supported = [one for one in digest.conjectures if not one.withdrawn]
    return (*supported[: SETTINGS.conjectures_shown - bool(withdrawn)], *withdrawn)[: SETTINGS.conjectures_shown]


def rows(digest: Digest, plan: Plan | None, warnings: Sequence[str]) -> Iterator[SummaryRow]:
    """Yield the rows of a branch's summary, the most asked for first."""
    d = digest
    yield "Baseline", in_one_line(d.baseline, "no baseline yet")
    yield "Best", in_one_line(d.best, NO_BEST)
    if d.best:
        name = quoted(d.best.subject) if d.best.subject.startswith(EXPERIMENT) else "the baseline"
        yield "", name + (" (kept by a person)" if d.best.by_person else "")
    if d.incumbent and d.incumbent.by_person and d.incumbent != d.best:
        yield "", f"the branch is on {d.incumbent.commit[:7]}: {quoted(d.incumbent.subject)} (kept by a person)"
    if d.change:
        yield "Change", f"{d.change.in_words('+')} against the baseline; below zero is better"
    since = f"{count_of(d.stall, 'change')} tried since {'the last one kept' if d.kept else 'the baseline'}"
    yield "Runs", f"{d.runs} with a result, {d.scored} scored; {count_of(d.kept, 'change')} kept; {since}"
    parts = (d.noise.repeat, d.noise.seed, d.noise.interaction)
    sds = [f"{one.sd:.5f} of {what}" for one, what in zip(parts, ("repeats", "seeds", "change x seed"), strict=True)]
    yield "Noise", f"sd {', '.join(sds)}{'' if any(one.n for one in parts) else ' (assumed)'}"
    yield "Phase", phase_shown(digest, plan)
    yield "Plan", plan_line(plan) if plan else "none pending"
    yield from _section("Conjectures", [_of_conjecture(one) for one in conjectures_shown(d)])
    lines = [
        f"{one.mean:.6f} n={one.n} @ {one.commit[:7]} {one.niche}{_idea(one.description)}"
        for one in d.elites[: SETTINGS.elites_shown]
    ]
    yield from _section("Elites", [*lines, ESTIMATED] if lines else [])
    near = reversed(d.near_misses[-SETTINGS.near_misses_shown :])
    yield from _section("Near misses", [in_one_line(one, "") + _idea(one.subject) for one in near])
    yield from _section(
        "No-fly", [f"{one.count}x {quoted(one.signature)}" for one in d.no_fly[: SETTINGS.no_fly_shown]]
    )
    yield from _section("Warnings", [clean(text) for text in warnings[: SETTINGS.warnings_shown]])
    yield "Memory", "results/discovery/ holds all of it; never commit it"


def in_one_line(one: Configuration | None, none: str) -> str:
    """Return a value with its interval, the runs behind it and its commit."""
    value = one.estimate if one else None
    return f"{value.in_words()} n={value.n} @ {one.commit[:7]}" if one and value else none


def _idea(subject: str) -> str:
    """Return what a subject says of its change, quoted, "" for the baseline, which nobody proposed."""
    return f" {quoted(idea_of(subject), SETTINGS.summary_idea_chars)}" if subject.startswith(EXPERIMENT) else ""


def phase_shown(digest: Digest, plan: Plan | None) -> str:
    """Return the phase of the pending plan, else the one that the runs are in."""
    return (plan.details.get("phase") if plan else "") or digest.phase


def hidden_runs(counts: Iterable[tuple[str | None, int]], verb: str) -> Iterator[str]:
    """Yield a sentence on the runs of each other contract, which a verb does not show, and how to see them."""
    for contract, count in counts:
        are = f"{count_of(count, 'run')} of another contract {'is' if count == 1 else 'are'} not shown"
        switch = f"uv run research {verb} --contract {contract}"
        yield f"{are}, since scores can be compared within one only. To see them: {switch}"


def as_text(rows: Iterable[SummaryRow]) -> str:
    """Return rows as plain lines: names in a column of their own."""
    return "\n".join(f"{name + ':' if name else '':<13}{text}".rstrip() for name, text in rows)


def _section(name: str, lines: Sequence[str]) -> list[SummaryRow]:
    return [(name if place == 0 else "", line) for place, line in enumerate(lines)]


def _of_conjecture(one: Conjecture) -> str:
    if one.text.startswith(HABIT):
        return f"{clean(one.text)} (share of crashes {one.mean:.2f} [{one.low:.2f}, {one.high:.2f}], n={one.n})"
    change = Estimate(-one.mean, -one.high, -one.low, one.n).in_words("+")
    return f"{clean(one.text)} (change in val_bpb {change}, below zero is better, n={one.n})"


def plan_line(plan: Plan) -> str:
    """Return a plan in one line."""
    if plan.kind == REPLICATE:
        return f"{f'replicate {plan.parent[:7]}' if plan.parent else 'the baseline'}: {plan.reason}"
    what = f" on {plan.category}" if plan.category else ""
    start = f" from {plan.parent[:7]}" if plan.parent else ""
    predicted = f", predicted {plan.details['predicted']}" if "predicted" in plan.details else ""
    return f"{plan.emitter or 'the agent is free'}{what}{start}{predicted}: {plan.reason}"
