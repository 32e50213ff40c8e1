"""One simulated run, as a policy sees it (a Result), with the configuration behind it, which a policy must not read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from research.core.contract import DEFAULT_SEED
from research.simulator.landscape import Config, Landscape


@dataclass(frozen=True)
class Trial:
    """A Result of a simulated night; see research.search.observation.Result for the public fields.

    Attributes:
        config: The configuration that ran: the simulator's own, hidden from policies by convention.
    """

    index: int
    id: str
    parent_id: str | None
    emitter: str | None
    category: str | None
    val_bpb: float | None
    crash: str | None
    peak_gb: float | None
    params_m: float | None
    additions: int
    deletions: int
    diff_text: str
    delta: Mapping[str, str]
    replicate_of: str | None
    gpu_s: float
    config: Config
    seed: int = DEFAULT_SEED
    stopped_at: float | None = None


class Edit(NamedTuple):
    """What a change from one configuration to another looks like in the script."""

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
    """Reads a change off two configurations, as a look at the two scripts would."""
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
