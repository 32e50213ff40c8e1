"""Changes the optimizer: rates, schedules, update rules."""

from __future__ import annotations

from collections.abc import Iterator

from research.search.emitters.base import Emitter
from research.verdict.models import Memory


def _optimizer_changes(memory: Memory) -> Iterator[str]:
    """Yield a line on the mean change in val_bpb of optimizer changes so far."""
    trend = memory.trends.get(("optimizer", ""))
    if trend is not None and trend.n:
        yield (
            f"Optimizer changes so far: mean change in val_bpb {-trend.mean:+.4f} "
            f"[{-trend.high:+.4f}, {-trend.low:+.4f}], n={trend.n}, {trend.kept} kept, {trend.crashed} crashed."
        )


EMITTER = Emitter(
    name="optimizer_hacker",
    purpose="change optimizer, schedule or update",
    order="one change of rates, schedule or update rule ({category}) that converges further within the budget.",
    predicted="improve",
    facts=_optimizer_changes,
    categories=("optimizer", "batch", "regularization"),
)
