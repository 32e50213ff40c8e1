"""The posterior: laws that it obeys, exact answers in small cases, and intervals that cover what they should."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.core.settings import SETTINGS
from research.verdict import effects
from research.verdict.belief import Belief, Score
from research.verdict.noise import POCKET
from research.verdict.variances import Condition
from tests.support.synthetic import Lab, draw_effect

SEEDS = st.integers(0, 10_000)
FEW = settings(max_examples=15)


def score(config: str, val_bpb: float, parent: str | None = None, seed: int = 42, **more: str) -> Score:
    return Score(config, parent, Condition(seed, **more), val_bpb)


def night(number: int, configs: int = 8) -> Lab:
    """A small lab: a tree of changes, most measured on one seed, some on two, one twice on one seed."""
    rng = np.random.default_rng(number)
    lab = Lab(rng)
    lab.make("c0")
    for seed in (42, 43, 42):
        lab.run("c0", seed)
    for index in range(1, configs):
        lab.make(f"c{index}", f"c{rng.integers(index)}", draw_effect(rng))
        for seed in ((42,), (43,), (42, 43))[rng.integers(3)]:
            lab.run(f"c{index}", seed)
    return lab


def everything(belief: Belief) -> np.ndarray:
    """Means and interval ends of all values and all changes."""
    rows = []
    for config in sorted(map(str, belief.configs)):
        for known in (belief.value(config), belief.difference(config, "c0")):
            rows.append((known.mean, known.low, known.high))
    return np.array(rows)


# Laws --------------------------------------------------------------------------------------------------------------


@FEW
@given(SEEDS, st.floats(-0.5, 2.0))
def test_shifting_every_score_shifts_values_and_leaves_differences(number: int, shift: float):
    scores = night(number).scores
    one = Belief(scores)
    two = Belief([Score(s.config, s.parent, s.condition, s.val_bpb + shift) for s in scores])
    for config in one.configs:
        assert two.mean(config) == pytest.approx(one.mean(config) + shift, abs=1e-7)
        assert two.difference(config, "c0").mean == pytest.approx(one.difference(config, "c0").mean, abs=1e-7)
        assert two.p_better(config, "c0") == pytest.approx(one.p_better(config, "c0"), abs=1e-6)


@FEW
@given(SEEDS)
def test_the_order_of_runs_means_nothing(number: int):
    scores = night(number).scores
    mixed = list(scores)
    random.Random(number).shuffle(mixed)
    one, two = Belief(scores), Belief(mixed)
    assert np.abs(everything(one) - everything(two)).max() < 1e-4
    assert one.variances.noise.interaction.sd == pytest.approx(two.variances.noise.interaction.sd)


@FEW
@given(SEEDS, st.floats(-0.003, 0.003))
def test_what_a_seed_does_to_all_cancels_where_two_configurations_share_it(number: int, shift: float):
    """Seed 43 scores 0.01 higher than seed 42, for both; another 0.003 hardly moves their difference."""
    lab = Lab(np.random.default_rng(number), seed=0.0)
    lab.make("a")
    lab.make("b", "a", -0.001)
    for seed in (42, 43):
        for config in ("a", "b"):
            lab.run(config, seed)

    def with_seed_43_at(extra: float) -> Belief:
        moved = [replace(s, val_bpb=s.val_bpb + extra) if s.condition.seed == 43 else s for s in lab.scores]
        return Belief(moved)

    one, two = (with_seed_43_at(extra).difference("b", "a") for extra in (0.01, 0.01 + shift))
    assert two.mean == pytest.approx(one.mean, abs=1e-4)
    # One night in fifty moves the grid over the sds by a point, and with it the width by a sixth.
    assert two.high - two.low == pytest.approx(one.high - one.low, rel=0.2)


def test_shared_seeds_tell_far_more_than_others():
    same = [score("a", 0.99), score("b", 0.987, "a"), score("a", 0.986, seed=43), score("b", 0.983, "a", seed=43)]
    other = [*same[::2], score("b", 0.987, "a", seed=44), score("b", 0.983, "a", seed=45)]
    one, two = Belief(same), Belief(other)
    assert one.p_better("b", "a") > two.p_better("b", "a")
    assert one.difference("b", "a").mean < two.difference("b", "a").mean
    assert one.shared_seeds("b", "a") == (42, 43)
    assert two.shared_seeds("b", "a") == ()


@pytest.mark.parametrize("slower", [0.0, 0.02])
def test_two_that_ran_on_two_cards_are_compared_by_what_both_were_made_from(slower: float):
    one, two = Condition(42, "one"), Condition(43, "two")
    scores = [Score("a", None, one, 0.99), Score("a", None, two, 0.99 + slower)]
    scores += [Score("b", "a", one, 0.987), Score("c", "a", two, 0.995 + slower), Score("d", "c", two, 0.993 + slower)]
    known = Belief(scores)
    assert known.common("b", "c") == "a"
    assert known.common("d", "b") == "a"
    assert known.common("b", "a") is None
    assert known.p_better("c", "b") < 0.01
    assert known.p_better("b", "d") > 0.99
    assert known.difference("c", "b").mean == pytest.approx(0.008, abs=0.003)  # discounted for luck


@FEW
@given(SEEDS, st.floats(0.0, 0.01), st.floats(1e-5, 0.01))
def test_a_better_score_is_never_less_probably_better(number: int, gain: float, more: float):
    scores = night(number).scores
    p, means = [], []
    for each in (gain, gain + more):
        known = Belief([*scores, score("new", 0.992 - each, "c0")])
        p.append(known.p_better("new", "c0"))
        means.append(known.difference("new", "c0").mean)
    assert p[0] <= p[1] + 1e-3
    assert means[0] >= means[1] - 1e-5


@FEW
@given(SEEDS)
def test_probabilities_and_differences_are_of_one_piece(number: int):
    known = Belief(night(number).scores)
    names = [*known.configs]
    one, two = names[1], names[-1]
    assert known.p_better(one, two) + known.p_better(two, one) == pytest.approx(1.0, abs=1e-4)
    there, back = known.difference(one, two), known.difference(two, one)
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low), abs=1e-9)
    assert there.low <= there.mean <= there.high
    assert there.mean == pytest.approx(known.mean(one) - known.mean(two))
    assert known.expected_gain(one, two) >= max(0.0, -there.mean) - 1e-9
    margins = [known.p_better(one, two, margin) for margin in (-0.001, 0.0, 0.001)]
    assert margins == sorted(margins, reverse=True)


@FEW
@given(SEEDS)
def test_beginning_from_the_posterior_before_changes_nothing(number: int):
    scores = night(number).scores
    before: Belief | None = None
    for count in range(1, len(scores) + 1):
        before = Belief(scores[:count], previous=before)
        everything(before)  # what is worked out here, the next one takes over
    anew = Belief(scores)
    assert np.array_equal(everything(before), everything(anew))
    assert before.variances.noise.repeat == anew.variances.noise.repeat


# Exact answers in small cases --------------------------------------------------------------------------------------

CASES: dict[str, tuple[Sequence[Score], list[tuple[float, float]]]] = {
    "one seed": ([score("a", 0.99), score("b", 0.9884, "a")], [(-0.0016, 2.0)]),
    "two seeds": (
        [score("a", 0.99), score("b", 0.9884, "a"), score("a", 0.986, seed=43), score("b", 0.9858, "a", 43)],
        [(-0.0016, 2.0), (-0.0002, 2.0)],
    ),
    "a repeat, and a seed of one": (
        [score("a", 0.99), score("b", 0.9884, "a"), score("a", 0.9904), score("b", 0.97, "a", 43)],
        [(-0.0018, 1.5)],
    ),
}
"""Runs of two configurations; the differences on the seeds of both, and the factor of the repeats' variance in each."""


@pytest.mark.parametrize("name", CASES)
def test_p_better_is_that_of_the_weighted_mean_of_the_gaps_on_shared_seeds(name: str):
    scores, differences = CASES[name]
    belief = Belief(scores)
    known, p_better = belief.variances, 0.0
    for share, repeat, interaction in zip(known.weights, known.repeat, known.interaction, strict=True):
        weights = [1.0 / (interaction**2 + terms * repeat**2) for _, terms in differences]
        middle = sum(weight * mean for weight, (mean, _) in zip(weights, differences, strict=True)) / sum(weights)
        p_better += share * NormalDist(middle, sum(weights) ** -0.5).cdf(0.0)
    assert belief.p_better("b", "a") == pytest.approx(p_better)


def test_without_a_shared_seed_scores_scatter_by_the_seeds():
    belief = Belief([score("a", 0.99), score("b", 0.9884, "a", 43)])
    known, p_better = belief.variances, 0.0
    for share, repeat, seed, interaction in zip(
        known.weights, known.repeat, known.seed, known.interaction, strict=True
    ):
        p_better += share * NormalDist(-0.0016, (2 * (seed**2 + interaction**2 / 2 + repeat**2)) ** 0.5).cdf(0.0)
    assert belief.p_better("b", "a") == pytest.approx(p_better)


@pytest.mark.parametrize("name", CASES)
def test_an_effect_is_as_a_numerical_integral_has_it(name: str):
    """The posterior of the effect on a fine grid; no other change has taught anything yet."""
    scores, _ = CASES[name]
    belief = Belief(scores)
    weights, (measured, variance) = effects.prior_weights(), belief._effects[1:3]
    grid = np.concatenate([-np.geomspace(1e-7, 0.5, 8000)[::-1], np.geomspace(1e-7, 0.5, 8000)])
    width = np.gradient(grid)
    before = sum(weight * np.exp(-0.5 * (grid / sd) ** 2) / sd for weight, sd in zip(weights, effects.SDS, strict=True))
    mean = probable = 0.0
    for share, middle, spread in zip(belief.variances.weights, measured[:, 0], variance[:, 0], strict=True):
        mass = share * before * np.exp(-0.5 * (grid - middle) ** 2 / spread) / np.sqrt(spread) * width
        mean, probable = mean + (mass * grid).sum(), probable + mass.sum()
    effect = belief.difference("b", "a")
    assert effect.mean == pytest.approx(mean / probable, rel=1e-3)
    assert belief.mean("b") == pytest.approx(belief.mean("a") + effect.mean)


def test_values_add_up_along_the_line_of_parents():
    lab = Lab(np.random.default_rng(5))
    lab.make("a")
    for child, parent in {"b": "a", "c": "b", "d": "b"}.items():
        lab.make(child, parent, draw_effect(lab.rng))
    for config in ("a", "b", "c", "d"):
        lab.run(config, 42)
    known = Belief(lab.scores)
    effect = {config: known.difference(config, parent) for config, parent in lab.parents.items()}
    means = {config: one.mean for config, one in effect.items()}
    assert known.difference("c", "a").mean == pytest.approx(means["b"] + means["c"])
    apart = known.difference("c", "d")  # what both have from b cancels
    widths = [effect[config].high - effect[config].low for config in "cd"]
    assert apart.mean == pytest.approx(means["c"] - means["d"])
    assert apart.high - apart.low == pytest.approx(np.hypot(*widths))


def test_a_configuration_without_a_parent_is_placed_by_the_seeds_that_it_shares_with_the_first():
    known = Belief([score("a", 0.99), score("b", 0.985, seed=43), score("a", 0.984, seed=43)])
    assert known.mean("b") - known.mean("a") == pytest.approx(0.001)


# Odd histories -------------------------------------------------------------------------------------------------------


def test_no_run_at_all():
    known = Belief([])
    assert (known.best(), known.configs) == (None, ())
    assert known.variances.noise.seed.n == 0
    with pytest.raises(KeyError):
        known.value("a")


ROWS = st.tuples(
    st.integers(0, 7),
    st.one_of(st.none(), st.integers(0, 9)),
    st.sampled_from([1e-6, 0.5, 0.99, 0.9900001, 0.9931, 1.0, 100.0]),
    st.integers(42, 45),
    st.sampled_from(["", "other"]),
    st.sampled_from(["", "moved"]),
)


@settings(max_examples=30)
@given(st.lists(ROWS, min_size=1, max_size=20))
def test_any_history_gives_finite_numbers(rows: list[tuple[int, int | None, float, int, str, str]]):
    known = Belief([Score(config, parent, Condition(*where), value) for config, parent, value, *where in rows])
    for one in known.configs:
        value = known.value(one)
        assert -1e6 < value.low <= value.mean <= value.high < 1e6
        for other in known.configs:
            apart = known.difference(one, other)
            assert -1e6 < apart.low <= apart.mean <= apart.high < 1e6
            assert -1e-6 <= known.p_better(one, other) <= 1.0 + 1e-6
            assert 0.0 <= known.expected_gain(one, other) < 1e6


def test_one_run_alone_is_what_it_scored_give_or_take_its_seed():
    known = Belief([score("a", 0.99)])
    value = known.value("a")
    assert value.mean == pytest.approx(0.99)
    assert value.high - value.low > 2 * SETTINGS.seed_sd_bpb
    assert (value.n, known.surprise("a")) == (1, 0.0)


@pytest.mark.parametrize("links", [{"a": "b", "b": "a"}, {"a": "c", "b": "a", "c": "b"}, {"a": "a"}, {"b": "nobody"}])
def test_links_in_a_circle_and_to_nobody_are_left_out(links: dict[str, str]):
    rows = {"a": 0.99, "b": 0.991, "c": 0.9895}
    known = Belief([score(config, value, links.get(config)) for config, value in rows.items()])
    for config, value in rows.items():
        assert known.mean(config) == pytest.approx(value, abs=0.002)
    assert known.parent("a" if links.get("a") == "a" else "nobody") is None
    depth = dict.fromkeys(rows, 0)
    for config in rows:
        above = known.parent(config)
        while above is not None:
            depth[config] += 1
            assert depth[config] < len(rows)
            above = known.parent(above)


def test_a_configuration_measured_often_is_known_well():
    lab = Lab(np.random.default_rng(1))
    lab.make("a")
    lab.make("b", "a", -0.002)
    widths = []
    for seed in range(42, 52):
        for config in ("a", "b"):
            lab.run(config, seed)
        apart = Belief(lab.scores).difference("b", "a")
        widths.append(apart.high - apart.low)
    assert widths[-1] < 0.5 * widths[0]
    assert apart.low < -0.002 < apart.high
    assert apart.n == 20


def test_another_machine_is_another_condition():
    """A machine that scores everything 0.01 lower is no gain of what ran on it."""
    here = [score("a", 0.99, machine="one"), score("a", 0.98, machine="two"), score("c", 0.991, "a", machine="one"),
            score("c", 0.981, "a", machine="two")]  # fmt: skip
    fair = Belief([*here, score("b", 0.9805, "a", machine="two")])
    assert fair.difference("b", "a").mean > -0.002
    blind = Belief([
        Score(each.config, each.parent, Condition(42), each.val_bpb)
        for each in (*here, score("b", 0.9805, "a", machine="two"))
    ])  # fmt: skip
    assert blind.p_better("b", "a") > fair.p_better("b", "a")


def test_other_initial_values_share_less_of_a_seed():
    kept = [score("a", 0.99), score("b", 0.987, "a")]
    moved = [score("a", 0.99), score("b", 0.987, "a", initial="b")]
    one, two = (Belief(each) for each in (kept, moved))
    assert one.p_better("b", "a") > two.p_better("b", "a")
    assert one.difference("b", "a").mean < two.difference("b", "a").mean


def test_the_pocket_profile_expects_more_noise_and_larger_effects():
    scores = [score("a", 1.9), score("b", 1.88, "a")]
    official, pocket = Belief(scores), Belief(scores, POCKET)
    assert pocket.variances.noise.repeat.sd > 3 * official.variances.noise.repeat.sd
    assert pocket.effect_size > official.effect_size
    assert pocket.p_better("b", "a") < official.p_better("b", "a")


def test_a_disaster_of_a_child_says_next_to_nothing_of_its_parent():
    rows = [score("a", 0.99), score("b", 0.985, "a")]
    alone = Belief(rows)
    for value in (1.1, 1.5, 9.0):
        told = Belief([*rows, score("c", value, "b")])
        assert told.mean("b") == pytest.approx(alone.mean("b"), abs=1e-3)  # one more loss teaches what is usual
        assert told.p_better("b", "a") == pytest.approx(alone.p_better("b", "a"), abs=0.05)
        assert told.p_better("c", "b") < 0.01


def test_the_best_of_many_tries_is_not_taken_at_its_word():
    """The winner's curse: of many noisy tries the best reads far better than it is, its estimate does not."""
    read = claimed = true = 0.0
    for number in range(40):
        lab = Lab(np.random.default_rng(number))
        lab.make("a")
        lab.run("a", 42)
        for index in range(12):
            lab.make(f"b{index}", "a", lab.rng.normal(0.0, 0.001))
            lab.run(f"b{index}", 42)
        first, *rest = lab.scores
        best = min(rest, key=lambda each: each.val_bpb)
        read += best.val_bpb - first.val_bpb
        claimed += Belief(lab.scores).difference(best.config, "a").mean
        true += lab.values[str(best.config)] - lab.values["a"]
    assert abs(claimed - true) < 0.5 * abs(read - true)
    assert abs(claimed - true) / 40 < 0.0004


def test_intervals_and_probabilities_are_calibrated():
    """400 pairs drawn from the model itself, standard deviations and effect included."""
    rng = np.random.default_rng(7)
    covered, chances, better, pieces = 0, [], [], 400
    for number in range(pieces):
        sds = [
            median * np.exp(rng.normal(0.0, log_sd))
            for median, log_sd in (
                (SETTINGS.repeat_sd_bpb, SETTINGS.repeat_log_sd),
                (SETTINGS.seed_sd_bpb, SETTINGS.seed_log_sd),
                (SETTINGS.interaction_sd_bpb, SETTINGS.interaction_log_sd),
            )
        ]
        lab = Lab(rng, *sds)
        lab.make("a")
        effect = rng.uniform(-0.003, 0.003)  # as far apart as the flat prior of a difference has them
        lab.make("b", "a", effect)
        for config, seed in (("a", 42), ("b", 42), ("a", 43), ("b", 43), ("a", 42))[: 2 + number % 4]:
            lab.run(config, seed)
        known = Belief(lab.scores)
        apart = known.difference("b", "a")
        covered += apart.low <= effect <= apart.high
        chances.append(known.p_better("b", "a"))
        better.append(effect < 0.0)
    assert 0.90 <= covered / pieces <= 0.99
    assert np.mean(chances) == pytest.approx(np.mean(better), abs=0.04)
    expected = np.mean(np.array(chances) * (1.0 - np.array(chances)))
    assert np.mean((np.array(chances) - better) ** 2) == pytest.approx(expected, abs=0.02)
