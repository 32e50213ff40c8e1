"""Policies by name: ``make_policy(name, seed)`` gives an object that any simulator can drive.

A discovery policy made here is what plans a real night, not a copy of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from research.search.policies import baselines
from research.search.policies.base import Answer, Order, Policy
from research.search.policies.classic import Classic
from research.search.policies.discovery import ABLATIONS, Discovery

POLICIES: Mapping[str, Callable[[int], Policy]] = {
    "greedy": baselines.greedy,
    "random": baselines.random_policy,
    "threshold": baselines.threshold,
    "paired": baselines.paired,
    "classic": Classic,
    "discovery": Discovery,
    **ABLATIONS,
}
"""Makers by name; each takes a seed. Ablations are the last policy with one of its parts taken out."""


def make_policy(name: str, seed: int) -> Policy:
    """A policy for one night.

    Args:
        name: One of POLICIES.
        seed: Same seed and history, same orders.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in POLICIES:
        raise ValueError(f"there is no policy {name!r}; there are {', '.join(POLICIES)}")
    return POLICIES[name](seed)


__all__ = ["POLICIES", "Answer", "Order", "Policy", "make_policy"]
