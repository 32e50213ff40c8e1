"""Describes a change from one configuration to another as a look at the two scripts would: category, size, diff."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from research.simulator.landscape import Config, Landscape


class Edit(NamedTuple):
    """What a change from one configuration to another looks like in the script; see search.observation.Result."""

    category: str
    additions: int
    deletions: int
    diff_text: str
    delta: Mapping[str, str]


MIXED = "mixed"
"""Category of a change that touches several."""
SIMPLIFICATION = "simplification"
"""Category of a change that only takes things out."""


def edit_between(landscape: Landscape, before: Config, after: Config) -> Edit:
    """Return the change from one configuration to another."""
    categories, delta, hunks = set(), {}, []
    additions = deletions = 0
    for idea, old, new in zip(landscape.ideas, before, after, strict=True):
        if old == new:
            continue
        entry, was, becomes = idea.entry, idea.spelled(old), idea.spelled(new)
        categories.add(entry.category)
        delta[entry.name] = f"{was} -> {becomes}"
        hunks.append(f"@@ {entry.name} @@\n-{entry.name} = {was}\n+{entry.name} = {becomes}\n")
        if entry.kind == "knob":
            additions += 1
            deletions += 1
        elif becomes == "on":
            additions += idea.statements
        else:
            deletions += idea.statements
    category = SIMPLIFICATION if deletions and not additions else MIXED if len(categories) != 1 else categories.pop()
    return Edit(category, additions, deletions, "".join(hunks), delta)
