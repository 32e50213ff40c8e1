"""Scores drawn from the model of a score with known standard deviations, and the exact posterior by enumeration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from research.verdict import effects
from research.verdict.belief import Score
from research.verdict.mixture import Array
from research.verdict.variances import Condition


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
    return float(rng.normal(effects.CENTRES[part], effects.SDS[part]))


@dataclass(frozen=True)
class Exact:
    """The exact posterior of effects: a mixture over every choice of a component for every change.

    Attributes:
        weights: Shares of the choices, shape (choices,).
        means: Means of the effects in each, shape (choices, changes).
        covariances: Their covariances, shape (choices, changes, changes).
    """

    weights: Array
    means: Array
    covariances: Array

    def moments(self, direction: Sequence[float]) -> tuple[float, float]:
        """Return mean and standard deviation of a weighted sum of the effects."""
        along = np.asarray(direction)
        means = self.means @ along
        variances = np.einsum("i,kij,j->k", along, self.covariances, along)
        mean = float(self.weights @ means)
        return mean, float(np.sqrt(self.weights @ (variances + (means - mean) ** 2)))


def exact_posterior(
    scores: Sequence[Score],
    parents: Mapping[str, str],
    weights: Sequence[Array],
    repeat: float,
    seed: float,
    interaction: float,
) -> Exact:
    """Enumerate the components of every change; given those, everything is a linear regression.

    Args:
        scores: The runs.
        parents: Each child's parent; the one configuration without is the root, whose value has a flat prior.
        weights: For each child the shares of the components of its effect.
        repeat: Standard deviation of repeats.
        seed: Of the effects of seeds.
        interaction: Of what a change does differently from seed to seed.
    """
    changes = [*parents]
    covariance = loaded(scores, repeat, seed, interaction)
    design = np.zeros((len(scores), 1 + len(changes)))
    design[:, 0] = 1.0
    for row, score in enumerate(scores):
        config = str(score.config)
        while config in parents:
            design[row, 1 + changes.index(config)] = 1.0
            config = parents[config]
    y = np.array([score.val_bpb for score in scores]) - 0.99
    information = np.linalg.inv(covariance)
    found = []
    for choice in product(range(len(effects.SDS)), repeat=len(changes)):
        prior_sd, centre = effects.SDS[list(choice)], effects.CENTRES[list(choice)]
        precision = design.T @ information @ design
        precision[1:, 1:] += np.diag(prior_sd**-2.0)
        vector = design.T @ information @ y
        vector[1:] += centre / prior_sd**2
        posterior = np.linalg.inv(precision)
        mean = posterior @ vector
        evidence = 0.5 * vector @ mean - 0.5 * np.linalg.slogdet(precision)[1]
        share = np.array([weights[change][part] for change, part in enumerate(choice)])
        evidence += float(np.sum(np.log(share) - np.log(prior_sd) - 0.5 * (centre / prior_sd) ** 2))
        found.append((evidence, mean[1:], posterior[1:, 1:]))
    logs = np.array([one[0] for one in found])
    shares = np.exp(logs - logs.max())
    return Exact(shares / shares.sum(), np.stack([one[1] for one in found]), np.stack([one[2] for one in found]))


def loaded(scores: Sequence[Score], repeat: float, seed: float, interaction: float) -> Array:
    """Return the covariance of scores whose values are known."""
    seeds = np.array([score.condition.seed for score in scores])
    configs = np.array([str(score.config) for score in scores])
    same_seed = seeds[:, None] == seeds[None, :]
    same_cell = same_seed & (configs[:, None] == configs[None, :])
    found: Array = seed**2 * same_seed + 0.5 * interaction**2 * same_cell + repeat**2 * np.eye(len(scores))
    return found
