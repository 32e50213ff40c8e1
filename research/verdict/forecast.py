"""Foretells a run's final paired difference from its training loss so far, by earlier runs of the lab.

The difference is the run's val_bpb minus the incumbent's with the same seed; the gap is the same of their smoothed
training losses, part of the way. The gap is taken for a measurement of the difference: at each fraction of the budget::

    slope * gap = difference + error

The slope is what a nat is worth, and fixed. Fitted to the lab's runs it would fall with every change that does next to
nothing, until a change that does much harm foretold none. The error has heavy tails (Student's t), since some changes
catch up late. Its scale is that of the prior, which was measured (docs/search.md), until the lab's own finished runs
say otherwise. There is no constant term for the harm that most changes do: it would be learned from the luck of one
incumbent's run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from research.core.records import Run
from research.core.settings import SETTINGS
from research.runs.racing import Prediction, Race, race_of
from research.verdict.lineage import is_evidence

Pair = tuple[float, float]  # a gap in nats, and the final difference in bpb


class Fit(NamedTuple):
    """The line that foretells the difference from the gap at one fraction of the budget."""

    slope: float  # bpb of the difference for each nat of the gap
    scale: float  # scale of the error's t distribution, in bpb

    def predict(self, gap: float) -> Prediction:
        """Return the forecast by a gap, in nats."""
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
    """Return the fit that holds before the lab has finished runs of its own."""
    slope, since, end, more = SETTINGS.forecast_pocket_prior if is_pocket else SETTINGS.forecast_prior
    return Fit(slope * min(1.0, fraction / since), end + more * (1 - fraction))


def fit(pairs: Sequence[Pair], prior: Fit) -> Fit:
    """Return the fit to pairs, the prior counting as SETTINGS.forecast_prior_n of them.

    The scale of a t distribution is found by repeated averages, in which large errors weigh less (Lange and others
    1989).
    """
    freedom, n = SETTINGS.forecast_freedom, SETTINGS.forecast_prior_n
    squares = [(difference - prior.slope * gap) ** 2 for gap, difference in pairs]
    scale = prior.scale
    for _ in range(SETTINGS.forecast_steps if pairs else 0):
        weighted = math.fsum(square * (freedom + 1) / (freedom + square / scale**2) for square in squares)
        scale = math.sqrt((n * prior.scale**2 + weighted) / (n + len(pairs)))
    return Fit(prior.slope, scale)


class Forecast:
    """The forecast under one contract, fitted to the finished runs' pairs by fraction of the budget."""

    def __init__(self, pairs: Mapping[float, Sequence[Pair]] | None = None, is_pocket: bool = False) -> None:
        self._is_pocket = is_pocket
        self._pairs = pairs or {}
        self._fits: dict[float, Fit] = {}

    @classmethod
    def of_runs(cls, runs: Iterable[Run], is_pocket: bool = False) -> Forecast:
        """Return the forecast by the runs of a contract; those count that were watched and came to a score."""
        found: dict[float, list[Pair]] = {}
        for race, difference in _finished([*runs]):
            for look in race.looks:
                found.setdefault(round(look.fraction, 2), []).append((look.gap, difference))
        return cls(found, is_pocket)

    def at(self, fraction: float) -> Fit:
        """Return the fit at a fraction of the budget."""
        if fraction not in self._fits:
            prior = prior_fit(fraction, self._is_pocket)
            self._fits[fraction] = fit(self._pairs.get(round(fraction, 2), ()), prior)
        return self._fits[fraction]

    def predict(self, gap: float, fraction: float) -> Prediction:
        """Return the forecast by a gap, in nats, at a fraction of the budget."""
        return self.at(fraction).predict(gap)


def _finished(runs: Sequence[Run]) -> Iterator[tuple[Race, float]]:
    """Yield the race of every run that came to a score, with its final difference, in bpb, from the other run's."""
    scores = {run.run: run.val_bpb for run in runs if is_evidence(run)}
    for run in runs:
        race = race_of(run)
        mine, theirs = scores.get(run.run), scores.get(race.against)
        if mine is not None and theirs is not None:
            yield race, mine - theirs


class Checked(NamedTuple):
    """A check of the forecast by runs that went to the end although a stop was due."""

    stopped: int  # runs that were stopped
    tested: int  # runs that went to the end although a stop was due
    wrong: int  # those of them that came out better


def checked(runs: Iterable[Run]) -> Checked:
    """Count how often a stop would have been wrong."""
    every = [*runs]
    tested = [difference for race, difference in _finished(every) if race.would_stop]
    stopped = sum(run.outcome == "stopped" for run in every)
    return Checked(stopped, len(tested), sum(difference < 0 for difference in tested))


def expected_score(run: Run, measured: Mapping[str, Run]) -> tuple[float, float] | None:
    """Return the score that a stopped run would probably have had, with its sd, in bpb; None for another run.

    Args:
        run: The stopped run.
        measured: The runs with a score, by name.
    """
    race = race_of(run) if run.outcome == "stopped" else Race()
    theirs = measured.get(race.against)
    if not race.looks or theirs is None or theirs.val_bpb is None:
        return None
    known = race.looks[-1].known
    return theirs.val_bpb + known.mean, known.sd
