"""Scores drawn from the model of a score with known standard deviations."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from research.verdict import effects
from research.verdict.belief import Score
from research.verdict.variances import Array, Condition


@dataclass
class Lab:
    """Draws scores; the effects of seeds and of configurations on seeds are drawn once and remembered.

    Args:
        rng: Where the draws come from.
        repeat: Standard deviation of repeats, in bpb.
        seed: Of the effects of seeds.
        interaction: Of what a change does differently from seed to seed: of the difference of two configurations.
    """

    rng: np.random.Generator
    repeat: float = 0.0003
    seed: float = 0.002
    interaction: float = 0.0008
    values: dict[str, float] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    scores: list[Score] = field(default_factory=list)
    drawn: dict[object, float] = field(default_factory=dict)

    def make(self, config: str, parent: str | None = None, effect: float = 0.0) -> None:
        """Make a configuration: a first one at 0.99, or a child with this effect."""
        self.values[config] = 0.99 if parent is None else self.values[parent] + effect
        if parent is not None:
            self.parents[config] = parent

    def run(self, config: str, seed: int) -> Score:
        """Measure a configuration."""
        shared = self._once(seed, self.seed) + self._once((config, seed), self.interaction * 0.5**0.5)
        value = self.values[config] + shared + self.rng.normal(0.0, self.repeat)
        score = Score(config, self.parents.get(config), Condition(seed), float(value))
        self.scores.append(score)
        return score

    def _once(self, key: object, sd: float) -> float:
        if key not in self.drawn:
            self.drawn[key] = self.rng.normal(0.0, sd)
        return self.drawn[key]


def draw_effect(rng: np.random.Generator, weights: Array | None = None) -> float:
    """Draw an effect from the distribution that is assumed before any change was measured."""
    weights = effects.prior_weights() if weights is None else weights
    part = rng.choice(len(weights), p=weights)
    return float(rng.normal(0.0, effects.SDS[part]))
