"""Which results are far from what their neighbours and the noise lead one to expect."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from statistics import median

from research.core.settings import SETTINGS
from research.verdict.configurations import Config, Gathered

_MAD_TO_SD = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution."""


def surprises(gathered: Gathered) -> Mapping[str, float]:
    """How many sd each configuration of the branch lies from its neighbours, above zero for a win.

    Neighbours are the other changes of its kind, or all changes where those are few. A failure that is the only one
    of its signature, among changes that hardly ever fail, counts as a loss just beyond the threshold. What is
    unsurprising is left out.
    """
    kinds: dict[str, list[Config]] = {}
    for config in gathered.configs.values():
        if gathered.parent(config) is not None:
            kinds.setdefault(config.run.category, []).append(config)
    everything = [config for members in kinds.values() for config in members]
    faults = Counter(config.failure.signature for config in everything if config.failure)
    found: dict[str, float] = {}
    for members in kinds.values():
        neighbours = members if len(members) > SETTINGS.anomaly_neighbours else everything
        if len(neighbours) > SETTINGS.anomaly_neighbours:
            found.update(_among(gathered, members, neighbours, faults))
    return found


def _among(
    gathered: Gathered, members: list[Config], neighbours: list[Config], faults: Mapping[str, int]
) -> Mapping[str, float]:
    gains = {c.key: gain for c in neighbours if (gain := gain_of(gathered, c)) is not None}
    crashes = sum(c.failure is not None and c.key not in gains for c in neighbours)
    found: dict[str, float] = {}
    noise = gathered.evidence.noise().sd
    centre = median(gains.values()) if gains else 0.0
    scatter = _MAD_TO_SD * median(abs(gain - centre) for gain in gains.values()) if gains else 0.0
    is_rare = crashes - 1 < SETTINGS.rare_crash_share * (len(neighbours) - 1)
    for config in members:
        gain = gains.get(config.key)
        if gain is not None:
            parent = gathered.parent(config)
            runs = 1 / gathered.evidence.n(config.key) + 1 / gathered.evidence.n(parent.key if parent else config.key)
            off = (gain - centre) / math.hypot(scatter, noise * math.sqrt(runs))
            if abs(off) >= SETTINGS.anomaly_sd:
                found[config.key] = off
        elif config.failure is not None and faults[config.failure.signature] == 1 and is_rare:
            found[config.key] = -SETTINGS.anomaly_sd
    return found


def gain_of(gathered: Gathered, config: Config) -> float | None:
    """The parent's mean minus its own in bpb, above zero is better; None where either is unknown."""
    parent, own = gathered.parent(config), gathered.mean(config.key)
    above = gathered.mean(parent.key) if parent else None
    return above - own if above is not None and own is not None else None
