"""The simulator: landscapes, the agent, the driver and the measures hold what they promise."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.core.errors import UsageError
from research.search.emitters import EMITTERS
from research.search.policies.baselines import Climber
from research.simulator.agent import Agent
from research.simulator.chart import draw_courses
from research.simulator.comparison import YARDSTICK, ComparisonSetup, compare, make
from research.simulator.families import FAMILIES, HELD_OUT, TUNING, families_of
from research.simulator.landscape import FULL_RUN_S, Landscape
from research.simulator.metrics import mean, measure, ratio
from research.simulator.night import play
from research.simulator.noise import NoiseLevels
from research.simulator.sampling import draw_landscape

QUIET = NoiseLevels(0.0, 0.0, 0.0)
HOPELESS = (("separable", 70152), ("misjudged", 70423))
"""Arguments whose first draw has every knob tuned and every other idea harmful."""


@pytest.fixture(scope="module")
def landscape() -> Landscape:
    return draw_landscape("ordinary", 7)


class Scripted(Climber):
    """Answers, orders and seeds from lists; then it discards, leaves the agent free, and takes the usual seed."""

    def __init__(self, tells=(), asks=(), seeds=()):
        super().__init__(0)
        self.tells, self.asks, self.seeds = list(tells), list(asks), list(seeds)

    def next_seed(self):
        return self.seeds.pop(0) if self.seeds else super().next_seed()

    def ask(self, history):
        return self.asks.pop(0) if self.asks else (None, None, None)

    def tell(self, result):
        self._take(result)
        return self.tells.pop(0) if self.tells else "discard"


def sound(landscape: Landscape, seed: int = 0) -> int:
    """Return a seed under which the first runs of a scripted night don't crash."""
    while any(t.crash for t in play(Scripted(), landscape, 5, seed).history):
        seed += 1
    return seed


@pytest.mark.parametrize("family", FAMILIES)
def test_a_landscape_is_its_seed_s_and_within_the_promised_sizes(family: str):
    drawn, again, other = draw_landscape(family, 3), draw_landscape(family, 3), draw_landscape(family, 4)
    assert drawn == again != other
    assert len(drawn.ideas) in range(36, 45)
    assert {idea.entry.category for idea in drawn.ideas} >= {"optimizer", "architecture", "attention"}
    assert drawn.crash(drawn.baseline) is None
    assert drawn.gain(drawn.baseline) == 0


def is_worth_a_night(landscape: Landscape) -> bool:
    """Return whether the family's promised gain can be reached, to the rounding of what a descent counts as a step."""
    low, high = landscape.family.total_bpb
    return 0.9 * low <= landscape.reachable() <= 1.1 * high


@settings(max_examples=300)
@given(st.sampled_from(sorted(FAMILIES)), st.integers(0, 10**6))
def test_there_is_something_to_gain(family: str, seed: int):
    assert is_worth_a_night(draw_landscape(family, seed))


@pytest.mark.parametrize(("family", "seed"), HOPELESS)
def test_what_was_hopeless_is_drawn_again_and_stays_its_seed_s(family: str, seed: int):
    landscape = draw_landscape(family, seed)
    assert is_worth_a_night(landscape)
    assert landscape == draw_landscape(family, seed)
    assert landscape.seed == seed


def test_a_family_with_nothing_to_gain_is_refused():
    nothing = replace(FAMILIES["separable"], headroom_gb=(-100.0, -100.0))  # every change runs out of memory
    with pytest.raises(ValueError, match="nothing to gain"):
        draw_landscape(nothing, 1)


def test_tuning_and_held_out_share_nothing():
    assert not {f.name for f in TUNING} & {f.name for f in HELD_OUT}
    assert len(FAMILIES) >= 6


def test_the_separable_family_has_no_interaction():
    landscape = draw_landscape("separable", 1)
    rng = Random(0)
    for _ in range(50):
        a, b = rng.sample(range(len(landscape.ideas)), 2)
        one, two, both = list(landscape.baseline), list(landscape.baseline), list(landscape.baseline)
        one[a] = both[a] = 1
        two[b] = both[b] = 1
        assert landscape.gain(tuple(both)) == pytest.approx(
            landscape.gain(tuple(one)) + landscape.gain(tuple(two)), abs=1e-12
        )


def test_a_basin_s_first_steps_pay_and_then_block_better_ones():
    landscape = draw_landscape("basin", 2)
    walls = [p for p in landscape.pairs if p.bpb > 0 and landscape.ideas[p.first].effect_bpb[1] < 0]
    assert walls

    def at(*paths: int) -> float:
        return landscape.gain(tuple(int(i in paths) for i in range(len(landscape.ideas))))

    assert any(
        at(p.first) > 0 and at(p.second) > 0 and at(p.first, p.second) < at(p.first) + at(p.second) for p in walls
    )


@pytest.mark.parametrize("emitter", [None, *EMITTERS])
@pytest.mark.parametrize("category", [None, "attention", "batch+optimizer", "mixed", "simplification", "nonsense"])
def test_the_agent_answers_every_order_with_something_new(landscape: Landscape, emitter, category):
    agent = Agent(landscape, Random(1))
    for _ in range(15):
        config, _ = agent.propose(emitter, category, landscape.baseline, 0.5)
        assert config not in agent.tried
        agent.remember(landscape.baseline, config, 1.0, 0.999, 0.999)


def test_an_ordered_category_is_what_is_changed(landscape: Landscape):
    night = play(Scripted(asks=[("local_tuner", "optimizer", None)] * 10), landscape, 11, 0)
    categories = [trial.category for trial in night.history[1:]]
    assert categories.count("optimizer") >= 8


def test_an_ordered_emitter_is_named_and_the_parent_is_where_it_starts(landscape: Landscape):
    policy = Scripted(asks=[("simplifier", None, None), (None, "attention", "c1")])
    night = play(policy, landscape, 4, 0)
    assert night.history[1].emitter == "simplifier"
    assert night.history[1].deletions > night.history[1].additions
    assert night.history[2].parent_id == "c1"
    assert night.history[2].emitter in EMITTERS


def test_keep_moves_the_tip_and_a_later_discard_puts_back_what_was_kept_before(landscape: Landscape):
    seed = sound(landscape)
    asks = [(None, None, None), (None, None, None), ("replicate", None, "c2"), (None, None, None)]
    night = play(Scripted(["keep", "keep", "discard"], asks), landscape, 5, seed)
    gains = night.tip_gains_bpb
    assert gains[0] == 0
    assert gains[1] == gains[3] == gains[4] == landscape.gain(night.configs["c1"])
    assert gains[2] == landscape.gain(night.configs["c2"])
    assert night.history[4].parent_id == "c1"
    assert night.history[3].replicate_of == "c2"


def test_replicate_repeats_the_configuration_and_costs_a_run(landscape: Landscape):
    night = play(Scripted(["replicate", "replicate", "keep"]), landscape, 5, sound(landscape))
    first, second, third = night.history[1:4]
    assert (first.replicate_of, second.replicate_of, third.replicate_of) == (None, first.id, first.id)
    assert len({first.val_bpb, second.val_bpb, third.val_bpb}) == 3
    assert measure(night).replicate_share == pytest.approx(2 / 5)
    assert len(night.keep_effects_bpb) == 1


def test_a_policy_chooses_the_seed_of_every_run(landscape: Landscape):
    policy = Scripted(["replicate", "replicate"], seeds=[7, 42, 7, 9])
    assert [run.seed for run in play(policy, landscape, 5, sound(landscape)).history] == [42, 7, 42, 7, 9]


def test_the_tip_and_the_baseline_can_be_repeated(landscape: Landscape):
    night = play(Scripted(asks=[("replicate", None, "c0")]), landscape, 3, 0)
    assert night.history[1].replicate_of == "c0"


def test_crashes_cost_a_fraction_and_have_no_score():
    crashes = [
        trial
        for seed in range(4)
        for trial in play(Climber(0), draw_landscape("fragile", seed), 60, seed).history
        if trial.crash is not None
    ]
    assert crashes
    assert all(t.val_bpb is None and 0 < t.gpu_s < FULL_RUN_S for t in crashes)


def test_gpu_time_ends_a_night_too(landscape: Landscape):
    assert len(play(Climber(0), landscape, 100, 0, gpu_s=10 * FULL_RUN_S).history) < 25


def test_a_night_is_its_seeds(landscape: Landscape):
    one, two = (play(Climber(0), landscape, 30, 5) for _ in range(2))
    assert one.history == two.history
    assert one.history != play(Climber(0), landscape, 30, 6).history


def test_results_are_honest(landscape: Landscape):
    night = play(Climber(0), landscape, 40, 2)
    for trial in night.history[1:]:
        assert trial.delta
        assert all(" -> " in text for text in trial.delta.values())
        assert trial.diff_text.count("@@") == 2 * len(trial.delta)
        assert trial.crash is not None or abs(trial.val_bpb - landscape.value(night.configs[trial.id])) < 0.02
        assert (trial.seed, trial.stopped_at) == (42, None)


def test_perfect_acceptance_keeps_nothing_false(landscape: Landscape):
    nights = [play(make(YARDSTICK, seed), landscape, 60, seed) for seed in (1, 2, 3)]
    assert any(night.tip_gains_bpb[-1] > 0 for night in nights)
    assert all(effect < 0 for night in nights for effect in night.keep_effects_bpb)


def test_without_noise_greedy_keeps_nothing_false_and_claims_the_truth():
    night = play(Climber(0), draw_landscape(replace(FAMILIES["ordinary"], noise=QUIET), 11), 60, 1)
    measures = measure(night)
    assert measures.false_keeps == 0
    assert measures.claimed_bpb == pytest.approx(measures.shipped_bpb)


def test_a_comparison_is_the_same_whatever_the_number_of_processes():
    setup = ComparisonSetup(("greedy", "random"), "random", families_of("ordinary,basin"), 4, 15, 3)
    assert compare(setup, 1) == compare(setup, 2)


def test_families_by_name():
    assert families_of("held-out") == HELD_OUT
    assert [f.name for f in families_of("basin,tuning")] == ["basin", *(f.name for f in TUNING)]
    with pytest.raises(UsageError, match="nowhere"):
        families_of("nowhere")


def test_intervals():
    assert mean([1.0, 3.0]).mean == 2
    assert mean([1.0, 3.0]).low < 1
    assert ratio([2.0, 4.0], [1.0, 2.0]).mean == 2
    assert ratio([2.0, 4.0], [1.0, 2.0]).high == pytest.approx(2)


def test_the_course_of_a_night_that_lasts_a_time_is_told_by_that_time(landscape: Landscape):
    night = play(make("discovery", 1), landscape, 60, 1, gpu_s=12 * FULL_RUN_S)
    course = night.course_bpb()
    assert len(course) == 12
    assert len(night.history) > 12  # runs that are stopped, or crash, take less
    assert course[0] == 0.0
    assert course[-1] in night.tip_gains_bpb[-2:]


def test_the_chart_is_one_picture_with_every_name():
    text = draw_courses({"a<b": [0.0, 0.001], "c": [0.0, 0.002]}, "A & B")
    ElementTree.fromstring(text)
    assert "a&lt;b" in text


def test_the_chart_has_round_numbers_on_its_axes():
    root = ElementTree.fromstring(draw_courses({"a": [0.0001 * run for run in range(100)], "b": [0.0155] * 100}, ""))
    numbers = [text.text for text in root.iter() if text.tag.endswith("text") and (text.text or "").isdecimal()]
    assert numbers == ["0", "50", "100", "150", "1", "20", "40", "60", "80", "100"]
