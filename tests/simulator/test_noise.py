"""Simulated scores scatter as they say, and every policy that plays a night meets the same seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import pytest

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
        noise = family.noise
        assert f"| `{family.name}` | {noise.repeat:g} | {noise.seed:g} | {noise.interaction:g}" in text


def test_the_families_of_seeds_reach_from_none_to_ten_times_the_repeat_noise():
    ratios = {family.noise.seed / family.noise.repeat for family in SEEDS}
    assert min(ratios) == 0.0
    assert max(ratios) == pytest.approx(10.0)
    assert {family.interactions for family in SEEDS} == {"change", "configuration"}


def test_seed_effects_are_no_keeps_for_the_paired_rule():
    loud = replace(FAMILIES["ordinary"], noise=NoiseLevels(0.0, 0.01, 0.0))
    night = play(make_policy("paired", 0), draw_landscape(loud, 4), 60, 4)
    assert night.keep_effects_bpb
    assert all(effect < 0 for effect in night.keep_effects_bpb)
    assert night.claimed_gain_bpb == pytest.approx(night.shipped_gain_bpb)
