"""Changes the model's structure."""

from __future__ import annotations

from collections.abc import Iterator

from research.search.emitters.base import Emitter
from research.verdict.archive import NO_CHANGE, UNKNOWN
from research.verdict.models import Memory


def _niches(memory: Memory) -> Iterator[str]:
    """Yield lines on the best of the first niches that are not the optimizer's."""
    elites = [one for one in memory.elites if one.niche.split("/")[0] not in ("optimizer", UNKNOWN, NO_CHANGE)]
    for elite in elites[:3]:
        yield f"Best of niche {elite.niche}: {elite.mean:.6f} (n={elite.n}) at {elite.commit}."[:160]


EMITTER = Emitter(
    name="architecture_mutator",
    purpose="change the model's structure",
    order="one structural {category} change that could open a new niche; mind memory and step time.",
    predicted="risky",
    facts=_niches,
    categories=("architecture", "attention", "normalization"),
)
