"""Makes the archive: the best configuration of every niche, by what was measured and never by what was planned.

After MAP-Elites (Mouret and Clune 2015): a grid of kinds of change, sizes and memory, each cell with its elite, so
that a good small model is remembered beside a good large one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from research.core.records import Run
from research.core.settings import SETTINGS
from research.verdict.models import Configuration, Elite

PARAMETER_BUCKETS = ("tiny", "small", "medium", "large")
MEMORY_BUCKETS = ("lean", "balanced", "heavy", "extreme")
UNKNOWN = "unknown"
NO_CHANGE = "baseline"  # stands for the kind of change in the niche of a baseline, which changes nothing


def niche_of(run: Run, measured: Run, is_baseline: bool) -> str:
    """Return the niche of a run's change, "category/parameters/memory/shape".

    The sizes are those of the run that measured them. Where nobody compared the syntax trees, lines give the shape.
    """
    category, added, removed = run.category, run.statements_added, run.statements_removed
    if is_baseline:
        category, added, removed = NO_CHANGE, 0, 0
    elif not (category or added or removed):
        added, removed = run.additions, run.deletions
    params_m = measured.metrics.num_params_M if measured.metrics else None
    peak_gb = measured.peak_vram_mb / 1024 if measured.peak_vram_mb is not None else None
    size = _bucket(params_m, SETTINGS.niche_params_m, PARAMETER_BUCKETS)
    memory = _bucket(peak_gb, SETTINGS.niche_memory_gb, MEMORY_BUCKETS)
    return f"{category or UNKNOWN}/{size}/{memory}/{'shrinking' if removed > added else 'growing'}"


def _bucket(value: float | None, bounds: tuple[float, ...], names: tuple[str, ...]) -> str:
    return UNKNOWN if value is None else names[sum(value >= bound for bound in bounds)]


def elites_of(configurations: Iterable[Configuration]) -> tuple[Elite, ...]:
    """Return the elite of every niche, lowest mean first.

    Left out are configurations without a score, those that a person discarded, and those whose gain is too large to be
    believed before it is measured again.
    """
    niches: dict[str, list[Elite]] = {}
    for one in configurations:
        value = one.estimate
        is_rejected = one.by_person and one.decision == "discard"
        if value is not None and one.decision != "investigate" and not is_rejected:
            niches.setdefault(one.niche, []).append(
                Elite(one.niche, one.commit, value.mean, value.n, one.emitter, one.subject, 0, one.runs[0])
            )
    best = [replace(min(members, key=_rank), count=len(members)) for members in niches.values()]
    return tuple(sorted(best, key=_rank))


def _rank(elite: Elite) -> tuple[float, str]:
    """Return the key that elites are sorted by: the mean, then the commit, so that no order of runs matters."""
    return elite.mean, elite.commit
