"""The three standard deviations: recovered from made-up tables, with intervals that hold, and told apart."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from research.core.settings import SETTINGS
from research.verdict.noise import OFFICIAL, POCKET, NoisePrior
from research.verdict.variances import Condition, Variances, cells_of, contrasts, estimate
from tests.support.synthetic import Lab

PARTS = ("repeat", "seed", "interaction")


def of_table(lab: Lab, configs: int, seeds: int, repeats: int = 1) -> Variances:
    """The estimate from a table: every configuration on every seed, as often as is said."""
    for index in range(configs):
        lab.make(f"c{index}", f"c{index - 1}" if index else None, 0.001)
        for seed in range(42, 42 + seeds):
            for _ in range(repeats):
                lab.run(f"c{index}", seed)
    return of_rows([(str(one.config), one.condition, one.val_bpb) for one in lab.scores])


def of_rows(rows: list[tuple[str, Condition, float]], prior: NoisePrior = OFFICIAL) -> Variances:
    """The estimate from configuration, condition and score of every run; each one's parent is the one before it."""
    names = dict.fromkeys(config for config, *_ in rows)
    cells = {name: cells_of([(where, value, 0.0) for one, where, value in rows if one == name]) for name in names}
    return estimate(contrasts([*cells.values()], [(two, one) for one, two in pairwise(cells.values())]), prior)


def test_known_standard_deviations_lie_in_their_intervals():
    """100 tables whose standard deviations are drawn from the prior: each 95 % interval holds nearly always."""
    rng = np.random.default_rng(3)
    inside = dict.fromkeys(PARTS, 0)
    for _ in range(100):
        sds = [
            prior.median * np.exp(rng.normal(0.0, prior.log_sd))
            for prior in (OFFICIAL.repeat, OFFICIAL.seed, OFFICIAL.interaction)
        ]
        known = of_table(Lab(rng, *sds), configs=4, seeds=3, repeats=2)
        for name, sd in zip(PARTS, sds, strict=True):
            spread = getattr(known.noise, name)
            inside[name] += spread.low <= sd <= spread.high
    assert min(inside.values()) >= 90


def test_a_large_table_tells_all_three():
    known = of_table(Lab(np.random.default_rng(0), 0.0005, 0.004, 0.0015), configs=30, seeds=12, repeats=2)
    assert known.noise.repeat.sd == pytest.approx(0.0005, rel=0.15)
    assert known.noise.interaction.sd == pytest.approx(0.0015, rel=0.15)
    assert known.noise.seed.sd == pytest.approx(0.004, rel=0.5)
    assert (known.noise.repeat.n, known.noise.seed.n, known.noise.interaction.n) == (360, 11, 319)


def test_more_runs_narrow_the_intervals():
    few = of_table(Lab(np.random.default_rng(5)), configs=2, seeds=2)
    many = of_table(Lab(np.random.default_rng(5)), configs=10, seeds=4, repeats=2)
    for name in PARTS:
        one, two = getattr(few.noise, name), getattr(many.noise, name)
        assert two.high / two.low < one.high / one.low


@pytest.mark.parametrize("prior", [OFFICIAL, POCKET])
def test_without_runs_the_prior_speaks(prior):
    known = of_rows([], prior)
    for name, assumed in zip(PARTS, (prior.repeat, prior.seed, prior.interaction), strict=True):
        spread = getattr(known.noise, name)
        assert spread.sd == pytest.approx(assumed.median, rel=0.01)
        assert spread.low < assumed.median < spread.high
        assert spread.n == 0
    one = of_rows([("a", Condition(42), 0.99), ("b", Condition(43), 1.2)], prior)
    assert one.noise.seed == known.noise.seed  # two configurations on two seeds compare none of them


def test_strata_are_shares_of_one_posterior():
    known = of_table(Lab(np.random.default_rng(2)), configs=5, seeds=2)
    assert known.weights.sum() == pytest.approx(1.0)
    assert len(known.weights) <= SETTINGS.paired_strata * SETTINGS.seed_strata
    paired = np.sqrt(0.5 * known.interaction**2 + known.repeat**2)
    assert known.weights @ paired**2 == pytest.approx(known.noise.paired_sd**2, rel=0.8)
    assert known.noise.seed.low < np.sqrt(known.weights @ known.seed**2) < known.noise.seed.high


def test_one_score_over_and_over_is_not_no_noise():
    known = of_rows([("a", Condition(42), 1.0)] * 50)
    assert 0.0 < known.noise.repeat.sd < OFFICIAL.repeat.median


def test_what_all_seeds_share_says_nothing():
    lab = Lab(np.random.default_rng(4))
    one = of_table(lab, configs=4, seeds=2)
    two = of_rows(
        [(str(one.config), one.condition, one.val_bpb + 0.01 * int(str(one.config)[1:])) for one in lab.scores]
    )
    for name in PARTS:
        assert getattr(two.noise, name).sd == pytest.approx(getattr(one.noise, name).sd, rel=1e-6)


def test_cells_hold_mean_count_and_scatter():
    rows = [(Condition(42), 1.0, 0.0), (Condition(42), 1.2, 0.0), (Condition(43), 3.0, 0.0)]
    cells = cells_of([*rows, (Condition(43), 9.0, 0.1), (Condition(44), 2.0, 0.1)])
    assert cells[Condition(42)] == pytest.approx((2, 1.1, 0.02, 0.0))
    assert cells[Condition(43)] == (1, 3.0, 0.0, 0.0)  # a forecast counts only where there is no score
    assert cells[Condition(44)] == (1, 2.0, 0.0, 0.1)
    assert contrasts([cells], []).seeds.values == pytest.approx((1.1, 3.0))
