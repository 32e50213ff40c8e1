"""Makes policies by name; any simulator can drive them, and "discovery" is the one that plans real nights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from research.core.settings import SETTINGS
from research.search.policies.base import Policy
from research.search.policies.baselines import Climber, Paired
from research.search.policies.classic import Classic
from research.search.policies.discovery import ABLATIONS, Discovery

POLICIES: Mapping[str, Callable[[int], Policy]] = {
    "greedy": Climber,
    "random": partial(Climber, random_orders=True),
    "threshold": partial(Climber, margin=SETTINGS.threshold_margin_bpb),
    "paired": lambda seed: Paired(),
    "classic": Classic,
    "discovery": Discovery,
    **ABLATIONS,
}
"""Makers by name; each takes a seed. Ablations are the last policy with one of its parts taken out."""


def make_policy(name: str, seed: int) -> Policy:
    """Return a policy for one night; the same seed and history give the same orders.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in POLICIES:
        raise ValueError(f"there is no policy {name!r}; there are {', '.join(POLICIES)}")
    return POLICIES[name](seed)
