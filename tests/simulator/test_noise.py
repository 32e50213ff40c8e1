"""Simulated scores scatter as they say, and every policy that plays a night meets the same seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import pytest

from research.search.observation import Observation
from research.search.policies.baselines import Climber
from research.search.policy import make_policy
from research.simulator.families import FAMILIES, SEEDS
from research.simulator.night import play
from research.simulator.noise import NightNoise, NoiseLevels, normal
from research.simulator.sampling import draw_landscape

SDS = NoiseLevels(repeat=0.001, seed=0.01, interaction=0.003)
BASE, CHANGED, CHILD = (0, 0, 0), (1, 0, 0), (1, 2, 0)


def nights(interactions="change", noise=SDS):
    return [NightNoise(night, noise, interactions) for night in range(2000)]


def test_numbers_from_a_key_are_standard_normal():
    numbers = [normal("test", place) for place in range(5000)]
    assert fmean(numbers) == pytest.approx(0.0, abs=0.05)
    assert stdev(numbers) == pytest.approx(1.0, abs=0.04)
    assert normal("test", 1) == normal("test", 1)


def test_each_sd_is_what_it_says():
    repeats = [night.draw(BASE, 42) - night.draw(BASE, 42) for night in nights()]
    assert stdev(repeats) == pytest.approx(SDS.repeat * 2**0.5, rel=0.06)
    assert stdev(night.seed_effect(42) for night in nights()) == pytest.approx(SDS.seed, rel=0.06)
    assert stdev(night.interaction(CHANGED, 42) for night in nights()) == pytest.approx(SDS.interaction, rel=0.06)
    assert stdev(night.interaction(CHANGED, 42) for night in nights("configuration")) == pytest.approx(0.003, rel=0.06)


def test_a_child_inherits_what_its_parents_changes_do_on_a_seed():
    differences = [night.interaction(CHILD, 42) - night.interaction(CHANGED, 42) for night in nights()]
    assert stdev(differences) == pytest.approx(SDS.interaction, rel=0.06)
    anew = [night.interaction(CHILD, 42) - night.interaction(CHANGED, 42) for night in nights("configuration")]
    assert stdev(anew) == pytest.approx(SDS.interaction * 2**0.5, rel=0.06)
    assert {night.interaction(BASE, 42) for night in nights()} == {0.0}


def test_the_order_of_runs_changes_no_score():
    runs = [(BASE, 42), (CHANGED, 42), (CHANGED, 43), (BASE, 42), (CHILD, 44), (BASE, 43)]
    one, other = NightNoise(7, SDS), NightNoise(7, SDS)
    forth = sorted(one.draw(*run) for run in runs)
    assert forth == sorted(other.draw(*run) for run in reversed(runs))
    assert forth != sorted(NightNoise(8, SDS).draw(*run) for run in runs)


def test_a_tail_makes_some_repeats_loud():
    loud = NightNoise(0, NoiseLevels(0.001, 0.0, 0.0), tail=0.2)
    assert 1.5 < stdev(loud.draw(BASE, 42) for _ in range(3000)) / 0.001 < 2.5


def test_the_documents_say_the_noise_of_each_family_of_seeds():
    text = (Path(__file__).resolve().parents[2] / "docs" / "search.md").read_text()
    for family in SEEDS:
        assert (
            f"| `{family.name}` | {family.noise.repeat:g} | {family.noise.seed:g} | {family.noise.interaction:g}"
            in text
        )


def test_the_families_of_seeds_reach_from_none_to_ten_times_the_repeat_noise():
    ratios = {family.noise.seed / family.noise.repeat for family in SEEDS}
    assert min(ratios) == 0.0
    assert max(ratios) == pytest.approx(10.0)
    assert {family.interactions for family in SEEDS} == {"change", "configuration"}


class Seeded(Climber):
    """Asks for the seeds of a list; repeats its first experiment as often as it is told to."""

    def __init__(self, seeds, repeats=0):
        super().__init__(0)
        self.seeds, self.repeats = list(seeds), repeats

    def next_seed(self):
        return self.seeds.pop(0)

    def tell(self, result):
        self.repeats -= 1
        return "replicate" if self.repeats >= 0 and result.crash is None else "discard"


def test_a_policy_chooses_the_seed_of_every_run():
    night = play(Seeded([7, 42, 7, 9], 2), draw_landscape("separable", 2), 5, 1)
    assert [trial.seed for trial in night.history] == [42, 7, 42, 7, 9]


def test_greedy_runs_everything_on_one_seed():
    assert {trial.seed for trial in play(make_policy("greedy", 0), draw_landscape("ordinary", 1), 30, 1).history} == {
        42
    }


# The paired rule ------------------------------------------------------------------------------------------------


def test_the_paired_rule_compares_on_seeds_that_both_have():
    policy = make_policy("paired", 0)
    policy.start(Observation(0, "a", val_bpb=0.990))
    assert policy.ask([]) == (None, None, None)
    assert policy.next_seed() == 42
    assert policy.tell(Observation(1, "b", "a", val_bpb=0.988)) == "discard"
    assert policy.ask([]) == ("replicate", None, "a")  # the tip has no second seed yet
    assert policy.next_seed() == 43
    assert policy.tell(Observation(2, "r", val_bpb=0.980, replicate_of="a", seed=43)) == "keep"
    assert policy.ask([]) == ("replicate", None, "b")
    assert policy.next_seed() == 43
    assert policy.tell(Observation(3, "s", val_bpb=0.9805, replicate_of="b", seed=43)) == "keep"
    assert policy.tell(Observation(4, "c", "b", val_bpb=0.9885)) == "discard"
    assert policy.ask([]) == (None, None, None)  # higher on its first seed: no second one
    assert policy.tell(Observation(5, "d", "b", val_bpb=0.987)) == "discard"
    assert policy.ask([]) == ("replicate", None, "d")
    assert policy.tell(Observation(6, "t", val_bpb=0.9822, replicate_of="d", seed=43)) == "discard"
    assert policy.final([]) == "b"
    assert policy.estimate("b") == pytest.approx((0.988 + 0.9805) / 2)


def test_seed_effects_are_no_keeps_for_the_paired_rule():
    loud = replace(FAMILIES["ordinary"], noise=NoiseLevels(0.0, 0.01, 0.0))
    night = play(make_policy("paired", 0), draw_landscape(loud, 4), 60, 4)
    assert night.keep_effects_bpb
    assert all(effect < 0 for effect in night.keep_effects_bpb)
    assert night.claimed_gain_bpb == pytest.approx(night.shipped_gain_bpb)
