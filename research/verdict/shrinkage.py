"""How good a configuration is, given that most of what looks like a large gain in one run is luck.

Its effect on its parent has a normal prior around zero, as wide as the effects seen so far, or as the effect itself
where that is larger than the noise can be: small lucky gains shrink, large true ones do not (the positive part of
James and Stein 1961, one configuration at a time).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median

from research.core.records import Estimate
from research.core.settings import SETTINGS
from research.verdict.configurations import Gathered
from research.verdict.surprise import gain_of


def usual_effect(gathered: Gathered) -> float:
    """Standard deviation of what one idea does, in bpb: the median effect seen, beside the prior while few are."""
    effects = [abs(gain) for c in gathered.configs.values() if (gain := gain_of(gathered, c)) is not None]
    prior = [0.6745 * SETTINGS.spread_prior_bpb] * round(SETTINGS.spread_prior_n)
    return median(effects + prior) / 0.6745


def estimates(gathered: Gathered) -> Mapping[str, Estimate]:
    """Every scored configuration's val_bpb with its 95 % interval, parents before children."""
    evidence, usual = gathered.evidence, usual_effect(gathered)
    noise = evidence.noise()
    found: dict[str, Estimate] = {}
    for key, config in gathered.configs.items():
        if key not in evidence:
            continue
        parent, gain = gathered.parent(config), gain_of(gathered, config)
        above = found.get(parent.key) if parent else None
        if above is None or gain is None:
            found[key] = evidence.estimate(key)
            continue
        error = noise.sd / math.sqrt(evidence.n(key))
        spread = math.sqrt(max(usual**2, gain**2 - error**2))
        found[key] = evidence.estimate(key, above.mean, spread)
    return found
