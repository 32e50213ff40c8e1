"""What the policies stand on: the rule, the distribution of effects, the bandit, the phases."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from research.search.phases import Step, open_near_misses, phase_of, stall_of
from research.verdict.beliefs import Beliefs, child

from research.core.settings import SETTINGS
from research.search.bandit import EMITTER, FREE, Bandit, Key
from research.search.policies.base import CATEGORIES, EMITTERS
from research.verdict.effects import ASSUMED, Belief, Effects, expected_gain, noise_sd
from research.verdict.evidence import Evidence
from research.verdict.rule import weigh


def evidence_of(**runs: list[float]) -> Evidence:
    evidence = Evidence()
    for config, values in runs.items():
        for value in values:
            evidence.add(config, value)
    return evidence


# Effects --------------------------------------------------------------------------------------------------------


def test_weights_sum_to_one_before_and_after_learning():
    assert sum(ASSUMED) == pytest.approx(1.0)
    learned = Effects().learned([(random.Random(i).gauss(0.001, 0.002), 0.0005) for i in range(50)])
    assert sum(learned.weights) == pytest.approx(1.0)


@given(st.floats(-0.02, 0.02), st.floats(0.0001, 0.005))
def test_a_gain_is_believed_less_than_it_reads_and_its_sign_is_a_probability(value: float, error: float):
    effects = Effects()
    assert 0.0 <= effects.p_better((value, error)) <= 1.0
    believed = effects.posterior((value, error))
    assert believed.sd >= 0.0
    if value < -error:
        assert value <= believed.mean + 1e-12


def test_larger_measured_gains_are_more_probably_gains():
    effects = Effects()
    p = [effects.p_better((-0.0002 * step, 0.0006)) for step in range(-20, 21)]
    assert all(later >= earlier - 1e-5 for earlier, later in itertools.pairwise(p))


def test_what_is_chosen_for_reading_low_is_not_believed_low():
    """The winner's curse: of many noisy tries the best reads far better than it is, its posterior does not."""
    rng, effects = random.Random(0), Effects()
    read = believed = true = 0.0
    for _ in range(400):
        gaps = [(effect + rng.gauss(0.0, 0.0006), effect) for effect in (draw(rng, effects) for _ in range(20))]
        value, effect = min(gaps)
        read, true = read + value, true + effect
        believed += effects.posterior((value, 0.0006)).mean
    assert believed == pytest.approx(true, rel=0.05)
    assert read < true


def draw(rng: random.Random, effects: Effects) -> float:
    """An effect from the distribution itself, without its rare disasters."""
    from research.verdict.effects import PARTS

    part = rng.choices(PARTS, effects.weights)[0]
    return part.side * abs(rng.gauss(0.0, part.sd))


def test_learning_finds_small_effects_where_effects_are_small():
    rng = random.Random(1)
    small = Effects().learned([(rng.gauss(0.0, 0.0003), 0.0002) for _ in range(200)])
    large = Effects().learned([(rng.gauss(0.0, 0.01), 0.0002) for _ in range(200)])
    assert small.size < Effects().size < large.size


def test_a_child_is_known_no_better_than_its_runs_and_no_worse_than_its_parent_allows():
    parent = Belief(0.99, 0.0003)
    one = child(parent, (0.985, 0.0004), Effects())
    assert 0.985 < one.mean < 0.99
    assert one.sd <= math.hypot(parent.sd, 0.0004)
    assert child(Belief(0.99, 0.0), (0.98, 0.0), Effects()) == Belief(0.98, 0.0)


def test_exact_repeats_leave_no_noise():
    assert noise_sd(evidence_of(a=[0.99] * (1 + SETTINGS.min_noise_n))) == SETTINGS.rounding_bpb
    assert noise_sd(evidence_of(a=[0.99, 0.99])) > 1e-4  # one pair may be chance
    assert noise_sd(evidence_of(a=[0.99, 0.9901])) > 1e-5
    assert noise_sd(evidence_of(a=[0.99])) == SETTINGS.noise_prior_sd_bpb


def test_expected_gain_is_zero_for_certain_losses():
    assert expected_gain(Belief(0.001, 0.0)) == 0.0
    assert expected_gain(Belief(-0.001, 0.0)) == pytest.approx(0.001)
    assert expected_gain(Belief(0.0, 0.001)) == pytest.approx(0.001 / math.sqrt(2 * math.pi))


# The rule -------------------------------------------------------------------------------------------------------

KNOWN = [0.99, 0.9904, 0.9897, 0.9901]


def decide(value: float, **options: object) -> str:
    evidence = evidence_of(a=KNOWN, b=[value])
    return weigh(Beliefs(evidence, {"b": "a"}, Effects()), "b", "a", **options).decision  # type: ignore[arg-type]


def test_clear_cases_are_decided_at_once():
    assert decide(0.985) == "keep"
    assert decide(0.995) == "discard"
    assert decide(0.9) == "investigate"


def test_near_ties_are_measured_again_only_where_that_pays():
    assert decide(0.9897) == "discard"
    patient = replace(SETTINGS, replicate_ratio=0.1, replicates_share=1.0)
    assert decide(0.9897, settings=patient) == "replicate"
    assert decide(0.9897, settings=replace(patient, replicates_share=0.33)) == "discard"  # three of five runs repeat
    unsure = weigh(Beliefs(evidence_of(a=[0.99], b=[0.9893]), {"b": "a"}, Effects()), "b", "a")
    assert unsure.decision == "replicate"


def test_a_shorter_program_is_kept_when_it_is_surely_as_good():
    evidence = evidence_of(a=[0.99, 0.99002] * 6, b=[0.99, 0.99002] * 6)
    beliefs = Beliefs(evidence, {"b": "a"}, Effects())
    assert weigh(beliefs, "b", "a").decision == "discard"
    assert weigh(beliefs, "b", "a", statements_net=-5).decision == "keep"


def test_nothing_is_kept_for_what_it_was_made_from():
    evidence = evidence_of(a=KNOWN, b=[0.985], c=[0.98505])
    weighed = weigh(Beliefs(evidence, {"b": "a", "c": "b"}, Effects()), "c", "a")
    assert weighed.p_better > SETTINGS.keep_p
    assert weighed.decision == "discard"
    assert "made from" in weighed.why


@given(st.floats(0.97, 1.0), st.floats(0.97, 1.0))
def test_verdicts_are_monotone_in_the_gain(one: float, other: float):
    low, high = sorted((one, other))
    p = [weigh(Beliefs(evidence_of(a=KNOWN, b=[v]), {"b": "a"}, Effects()), "b", "a").p_better for v in (low, high)]
    assert p[0] >= p[1] - 1e-6


# The bandit -----------------------------------------------------------------------------------------------------


def test_a_neglected_category_is_ordered():
    bandit, rng = Bandit(EMITTERS, CATEGORIES, replace(SETTINGS, emitter_floor=0.0)), random.Random(0)
    for _ in range(12):
        bandit.add(Key(FREE, None, "optimizer"), None, 0.0001, 1.0)
    choice = bandit.choose(rng)
    assert choice.emitter is None
    assert choice.category in set(CATEGORIES) - {"optimizer"}
    assert "share" in choice.why


def test_no_category_is_ordered_before_it_clearly_lies_behind():
    """Being told a category costs the agent its choice, and at first every spread is uneven."""
    bandit, rng = Bandit(EMITTERS, CATEGORIES, replace(SETTINGS, emitter_floor=0.0)), random.Random(0)
    for index in range(6):
        assert bandit.choose(rng)[:2] == (None, None)
        bandit.add(Key(FREE, None, CATEGORIES[index % 2]), None, 0.0001, 1.0)


def test_an_even_spread_leaves_the_agent_free():
    bandit, rng = Bandit(EMITTERS, CATEGORIES, replace(SETTINGS, emitter_floor=0.0)), random.Random(0)
    for index in range(60):
        bandit.add(Key(FREE, None, CATEGORIES[index % 6]), None, 0.0001, 1.0)
    assert bandit.choose(rng)[:2] == (None, None)


def test_a_proven_emitter_is_ordered_and_forgotten_when_it_fades():
    settings = replace(SETTINGS, emitter_floor=0.0)
    bandit, rng = Bandit(EMITTERS, CATEGORIES, settings), random.Random(0)
    for index in range(60):
        name = ("simplifier", *EMITTERS)[index % 7]
        bandit.add(Key(EMITTER, name, CATEGORIES[index % 6]), None, 0.002 if name == "simplifier" else 0.0, 1.0)
        bandit.add(Key(FREE, None, CATEGORIES[index % 6]), None, 0.0001, 1.0)
    assert bandit.choose(rng).emitter == "simplifier"
    for index in range(120):
        bandit.add(Key(EMITTER, "simplifier", CATEGORIES[index % 6]), None, 0.0, 1.0)
        bandit.add(Key(FREE, None, CATEGORIES[index % 6]), None, 0.001, 1.0)
    assert bandit.choose(rng).emitter is None


def test_every_emitter_stays_alive():
    bandit, rng = Bandit(EMITTERS, CATEGORIES), random.Random(0)
    for index in range(200):
        bandit.add(Key(EMITTER, "contrarian", CATEGORIES[index % 6]), None, 0.0, 1.0)
        bandit.add(Key(FREE, "simplifier", CATEGORIES[index % 6]), CATEGORIES[index % 6], 0.001, 1.0)
    ordered = set()
    for index in range(400):
        emitter = bandit.choose(rng).emitter
        ordered.add(emitter)
        bandit.add(Key(EMITTER if emitter else FREE, emitter, CATEGORIES[index % 6]), None, 0.0, 1.0)
    assert ordered >= set(EMITTERS)


# Phases ---------------------------------------------------------------------------------------------------------


def test_phases_follow_the_night():
    flat, win, crash, near = Step(), Step(improved=True), Step(crashed=True), Step(near_miss=True)
    assert phase_of([], baseline_known=False) == "baseline"
    assert phase_of([]) == "explore"
    assert phase_of([win, flat, win]) == "exploit"
    assert phase_of([win, crash, flat, crash]) == "stabilize"
    assert phase_of([win, near, near, flat, flat, flat, flat]) == "recombine"


def test_recombining_ends_when_near_misses_are_used_up_or_old():
    stalled = [Step(near_miss=True)] * 2 + [Step()] * 6
    assert phase_of(stalled) == "recombine"
    assert phase_of([*stalled, Step(combined=True)]) == "explore"
    assert phase_of([*stalled, *[Step()] * SETTINGS.near_miss_age]) == "explore"
    assert open_near_misses(stalled) == 2
    assert stall_of(stalled) == 8
