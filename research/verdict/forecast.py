"""Foretells a run's final paired difference from its training loss so far, by what earlier runs of the lab came to.

The difference is the run's val_bpb minus the incumbent's with the same seed; the gap is the same of their smoothed
training losses, part of the way. At each fraction of the budget::

    difference = slope * gap + error

The error has heavy tails (Student's t), since some changes catch up late. Slope and error are those of the prior,
which was measured (docs/search.md), until the lab's own finished runs say otherwise. That most changes do harm is left
out: it would be learned from the luck of one incumbent's run, and stop what is better than the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from research.core.records import Run
from research.core.settings import SETTINGS
from research.runs.racing import Prediction, Race, race_of
from research.verdict.lineage import is_evidence

Pair = tuple[float, float]
"""A gap in nats, and the difference in bpb that the run came to."""


@dataclass(frozen=True)
class Fit:
    """What a gap at one fraction of the budget foretells.

    Attributes:
        slope: bpb of the difference for each nat of the gap.
        scale: Scale of the error's t distribution, in bpb.
    """

    slope: float
    scale: float

    def predict(self, gap: float) -> Prediction:
        """Return what a gap in nats foretells."""
        mean, freedom = self.slope * gap, SETTINGS.forecast_freedom
        return Prediction(mean, self.scale * math.sqrt(freedom / (freedom - 2)), t_cdf(-mean / self.scale))


def t_cdf(x: float) -> float:
    """Return P(T <= x) of Student's t with SETTINGS.forecast_freedom, an even number, degrees of freedom."""
    freedom = SETTINGS.forecast_freedom
    share = x / math.sqrt(freedom + x * x)
    term, total = 1.0, 1.0
    for k in range(1, freedom // 2):
        term *= (2 * k - 1) / (2 * k) * (1 - share * share)
        total += term
    return 0.5 * (1 + share * total)


def prior_fit(fraction: float, is_pocket: bool = False) -> Fit:
    """Return what is known before the lab has finished runs of its own."""
    slope, end, more = SETTINGS.forecast_pocket_prior if is_pocket else SETTINGS.forecast_prior
    return Fit(slope * min(1.0, fraction / SETTINGS.forecast_slope_from), end + more * (1 - fraction))


def fit(pairs: Sequence[Pair], prior: Fit) -> Fit:
    """Return the fit to pairs, the prior counting as SETTINGS.forecast_prior_n of them.

    A t distribution is fitted by repeated least squares in which large errors weigh less (Lange and others 1989).
    """
    freedom, n = SETTINGS.forecast_freedom, SETTINGS.forecast_prior_n
    assumed = n * sum(gap * gap for gap, _ in pairs) / len(pairs) if pairs else 0.0
    found = prior
    for _ in range(SETTINGS.forecast_steps if assumed else 0):
        errors = [difference - found.slope * gap for gap, difference in pairs]
        weights = [(freedom + 1) / (freedom + (error / found.scale) ** 2) for error in errors]
        weighted = [(weight, *pair) for weight, pair in zip(weights, pairs, strict=True)]
        along = assumed + sum(weight * gap * gap for weight, gap, _ in weighted)
        both = assumed * prior.slope + sum(weight * gap * difference for weight, gap, difference in weighted)
        squares = sum(weight * error * error for weight, error in zip(weights, errors, strict=True))
        found = Fit(both / along, math.sqrt((n * prior.scale**2 + squares) / (n + len(pairs))))
    return found


class Forecast:
    """What gaps foretell under one contract.

    Args:
        pairs: Gaps and what the runs came to, by fraction of the budget, of runs that are finished.
        is_pocket: Whether the contract is the pocket profile's.
    """

    def __init__(self, pairs: Mapping[float, Sequence[Pair]] | None = None, is_pocket: bool = False) -> None:
        self._is_pocket = is_pocket
        self._pairs = pairs or {}
        self._fits: dict[float, Fit] = {}

    @classmethod
    def of_runs(cls, runs: Iterable[Run], is_pocket: bool = False) -> Forecast:
        """Learn from the runs of a contract: those count that were watched and came to a score."""
        return cls(pairs_of(runs), is_pocket)

    def at(self, fraction: float) -> Fit:
        """Return the fit at a fraction of the budget."""
        if fraction not in self._fits:
            prior = prior_fit(fraction, self._is_pocket)
            self._fits[fraction] = fit(self._pairs.get(round(fraction, 2), ()), prior)
        return self._fits[fraction]

    def predict(self, gap: float, fraction: float) -> Prediction:
        """Return what a gap in nats at a fraction of the budget foretells."""
        return self.at(fraction).predict(gap)


def pairs_of(runs: Iterable[Run]) -> dict[float, list[Pair]]:
    """Return gaps and what the runs came to, by fraction of the budget."""
    every = list(runs)
    scores = {run.run: run.val_bpb for run in every if is_evidence(run)}
    found: dict[float, list[Pair]] = {}
    for run in every:
        race = race_of(run)
        mine, theirs = scores.get(run.run), scores.get(race.against)
        if mine is not None and theirs is not None:
            for look in race.looks:
                found.setdefault(round(look.fraction, 2), []).append((look.gap, mine - theirs))
    return found


@dataclass(frozen=True)
class Checked:
    """How good stopping was, by the runs that ran to the end though they might have been stopped.

    Attributes:
        stopped: Runs that were stopped.
        tested: Runs that would have been, and ran to the end.
        wrong: Those of them that came to a better score than the incumbent's with the same seed.
    """

    stopped: int
    tested: int
    wrong: int


def checked(runs: Iterable[Run]) -> Checked:
    """Count how often a stop would have been wrong."""
    every = list(runs)
    scores = {run.run: run.val_bpb for run in every if is_evidence(run)}
    tested = wrong = 0
    for run in every:
        race = race_of(run)
        mine, theirs = scores.get(run.run), scores.get(race.against)
        if race.would_stop and mine is not None and theirs is not None:
            tested, wrong = tested + 1, wrong + (mine < theirs)
    return Checked(sum(run.outcome == "stopped" for run in every), tested, wrong)


def value_of(run: Run, measured: Mapping[str, Run]) -> tuple[float, float] | None:
    """Return what a stopped run would probably have scored, with its standard deviation, in bpb; None for others.

    Args:
        run: A run.
        measured: The runs that have a score that counts, by name.
    """
    race = race_of(run) if run.outcome == "stopped" else Race()
    theirs = measured.get(race.against)
    if not race.looks or theirs is None or theirs.val_bpb is None:
        return None
    known = race.looks[-1].known
    return theirs.val_bpb + known.mean, known.sd
