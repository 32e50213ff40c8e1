"""Ideas made out of recorded changes: two near misses together, half of a change that crashed or surprised."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

from research.agents.builtin.context import Bench, Draft, Idea
from research.agents.builtin.merging import Conflict, applied, halves, hunks, merged
from research.agents.builtin.numbers import moved
from research.agents.builtin.sampling import from_scale, rounded, to_scale, value_of
from research.core.commit_message import idea_of
from research.core.settings import SETTINGS
from research.search.emitters.pairs import Pair, mergeable
from research.search.emitters.seven import anomalies
from research.verdict.models import Known


def what_of(known: Known) -> str:
    """What a recorded change was, in a few words."""
    return idea_of(known.subject) or known.commit[:7]


def combinations(bench: Bench) -> list[Idea]:
    """Two recorded changes of which neither was kept, on the parent together; the planned pair first."""
    pairs = list(islice(mergeable(bench.memory), SETTINGS.merges_tried))
    planned = {bench.plan.details.get("first"), bench.plan.details.get("second")}
    return [
        Idea(
            f"{pair.first.commit[:7]} and {pair.second.commit[:7]}",
            "mixed",
            100.0 if {pair.first.commit, pair.second.commit} == planned else 1.0 / (1 + place),
            lambda rng, pair=pair: _together(bench, pair),  # type: ignore[misc]
        )
        for place, pair in enumerate(pairs)
    ]


def _together(bench: Bench, pair: Pair) -> Iterator[Draft]:
    content: bytes | None = bench.text.content
    for known in (pair.first, pair.second):
        content = brought_over(bench, known, content) if content is not None else None
    if content is not None:
        yield Draft(f"{what_of(pair.first)} + {what_of(pair.second)}", content, (pair.first.commit, pair.second.commit))


def brought_over(bench: Bench, known: Known, onto: bytes) -> bytes | None:
    """A recorded change carried out on another text; None where it can't be, or does nothing there."""
    base, changed = bench.read_source(known.parent), bench.read_source(known.commit)
    if base is None or changed is None:
        return None
    try:
        content = merged(base, onto, changed)
    except Conflict:
        return None
    return content if content != onto else None


def halved(bench: Bench) -> list[Idea]:
    """Half of what crashed or surprised: pieces of a larger change, or half the way of a single number."""
    found = anomalies(bench.memory)[: SETTINGS.anomalies_tried]
    planned = bench.plan.details.get("anomaly")
    return [
        Idea(
            f"half of {known.commit[:7]}",
            known.category or "mixed",
            100.0 if known.commit == planned else 1.0 / (1 + place),
            lambda rng, known=known: _halves(bench, known, rng),  # type: ignore[misc]
        )
        for place, known in enumerate(found)
    ]


def _halves(bench: Bench, known: Known, rng: random.Random) -> Iterator[Draft]:
    base, changed = bench.read_source(known.parent), bench.read_source(known.commit)
    if base is None or changed is None:
        return
    yield from _half_way(bench, known)
    lines = base.splitlines(keepends=True)
    pieces = hunks(lines, changed.splitlines(keepends=True))
    ways = list(halves(pieces))
    for way in rng.sample(ways, len(ways)):
        try:
            content = merged(base, bench.text.content, applied(lines, way))
        except Conflict:
            continue
        yield Draft(f"{len(way)} of {len(pieces)} pieces of {known.commit[:7]} ({what_of(known)})", content, ("half",))


def _half_way(bench: Bench, known: Known) -> Iterator[Draft]:
    """A number that was moved too far goes half the way; one that surprised by a win goes on half as far again."""
    for name, text in known.delta.items():
        before, arrow, after = text.partition(" -> ")
        for knob in bench.knobs.values():
            if knob.constant != name or not arrow:
                continue
            old, new = (value_of(knob, side, bench.known) for side in (before, after))
            if old is None or new is None or old == new or min(old, new) < 0:
                continue
            won = known.gain is not None and known.gain.mean > 0
            paths = [to_scale(knob.rule, value) for value in (old, new)]
            share = 1.5 if won else 0.5
            value = rounded(knob.rule, from_scale(knob.rule, paths[0] + share * (paths[1] - paths[0])))
            if knob.spell(value) not in (knob.spelled, knob.spell(new)):
                draft = moved(bench, knob, value)
                way = "further than" if won else "half as far as"
                yield Draft(f"{draft.what} ({way} {known.commit[:7]})", draft.content)
