"""Every policy holds the protocol: orders that can be carried out, the same for the same night, cheap, never lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from research.code.classify import CATEGORIES
from research.core.settings import SETTINGS
from research.search.emitters import EMITTERS
from research.search.observation import Observation, configuration
from research.search.policies.base import Answer, KeptChain, Order, Policy
from research.search.policies.discovery import Discovery
from research.search.policy import POLICIES, make_policy
from research.simulator.families import FAMILIES
from research.simulator.night import play
from research.simulator.noise import USUAL_NOISE, NoiseLevels
from research.simulator.sampling import draw_landscape
from research.verdict.belief import Belief, Score
from research.verdict.phase import PHASES
from research.verdict.variances import Condition


class Watched:
    """A policy whose order for every run is recorded, and which learns of a change what a commit says, or less.

    Args:
        name: The policy's name.
        seed: Seed of the policy, the landscape and the night.
        runs: Runs of the night.
        noise: The standard deviations of scores.
        is_tagged: Whether the policy learns the emitter that it ordered, and the kind of change.
    """

    def __init__(
        self, name: str, seed: int, runs: int = 60, noise: NoiseLevels = USUAL_NOISE, is_tagged: bool = True
    ) -> None:
        self.policy: Any = make_policy(name, seed)
        self.is_tagged = is_tagged
        self.orders: list[Any] = []  # emitter, category, configuration and seed
        landscape = draw_landscape(replace(FAMILIES["ordinary"], noise=noise), seed)
        self.night = play(cast(Policy, self), landscape, runs, seed)
        self.history = self.night.history
        self.ideas = [order for order in self.orders if order[0] != "replicate"]
        self.repeats = [order for order in self.orders if order[0] == "replicate"]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.policy, name)

    def ask(self, history: Sequence[Observation]) -> Order:
        order: Order = self.policy.ask(history)
        self.orders.append((*order, self.policy.next_seed()))
        return order

    def tell(self, result: Observation) -> Answer:
        if len(self.orders) < result.index:  # the last answer asked for a repeat
            self.orders.append(("replicate", None, configuration(result), result.seed))
        emitter = self.orders[-1][0]
        ordered = emitter if self.is_tagged and emitter != "replicate" else None
        result = replace(result, emitter=ordered, category=result.category if self.is_tagged else None)
        answer: Answer = self.policy.tell(result)
        assert answer in ("keep", "discard", "replicate")
        assert result.val_bpb is not None or answer == "discard"
        return answer


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("is_tagged", [True, False])
def test_a_night_ends_with_something_measured_to_ship(name: str, is_tagged: bool):
    watched = Watched(name, 3, 40, is_tagged=is_tagged)
    shipped = watched.policy.final(watched.history)
    assert shipped in {configuration(run) for run in watched.history if run.val_bpb is not None}
    assert abs(watched.night.claimed_gain_bpb - watched.night.shipped_gain_bpb) < 0.004
    with pytest.raises(KeyError):
        watched.policy.estimate("nothing")


@pytest.mark.parametrize("name", POLICIES)
def test_orders_name_what_exists(name: str):
    watched = Watched(name, 5, 40)
    known = {configuration(run) for run in watched.history}
    for emitter, category, parent, _ in watched.orders:
        assert emitter in (None, "replicate", *EMITTERS)
        assert set((category or "optimizer").split("+")) <= {*CATEGORIES, "mixed", "simplification"}
        assert parent is None or parent in known


@pytest.mark.parametrize("name", POLICIES)
def test_the_same_night_gives_the_same_orders(name: str):
    assert Watched(name, 7, 30).orders == Watched(name, 7, 30).orders


def test_another_seed_gives_other_orders():
    assert Watched("random", 1).orders != Watched("random", 2).orders


@pytest.mark.parametrize("name", ["greedy", "threshold"])
def test_plain_policies_keep_what_reads_lower(name: str):
    margin = SETTINGS.threshold_margin_bpb if name == "threshold" else 0.0
    policy = make_policy(name, 0)
    policy.start(Observation(0, "a", val_bpb=0.99))
    assert policy.tell(Observation(1, "b", "a", val_bpb=0.99 - 0.9 * margin - 1e-9)) == (
        "discard" if margin else "keep"
    )
    assert policy.tell(Observation(2, "c", "a", val_bpb=0.98)) == "keep"
    assert policy.final([]) == "c"


def test_greedy_runs_everything_on_one_seed():
    assert {run.seed for run in Watched("greedy", 1, 30).history} == {42}


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match="there is no policy 'best'"):
        make_policy("best", 0)


def test_a_discarded_tip_gives_way_to_the_one_before():
    chain = KeptChain("a")
    for config in ("b", "c"):
        chain.decide(config, "keep")
    assert (chain.tip, chain.kept) == ("c", ["a", "b", "c"])
    chain.decide("b", "discard")
    assert chain.tip == "c"
    chain.decide("c", "discard")
    chain.decide("b", "discard")
    chain.decide("a", "discard")
    assert chain.kept == ["a"]


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


# The policy of real nights --------------------------------------------------------------------------------------


def test_replaying_its_own_decisions_gives_the_same_plan():
    """The planner of a real night notes what the judge decided; the same decisions must lead to the same orders."""
    lived = Watched("discovery", 11)
    replayed = Discovery(11)
    replayed.start(lived.history[0])
    # An answer may put a replicate off, a record says it.
    for order, (result, _, decision) in zip(lived.orders, lived.policy._past[1:], strict=True):
        assert (*replayed.ask(lived.history[: result.index]), replayed.next_seed()) == order
        replayed.note(result, decision)
    assert replayed.final(lived.history) == lived.policy.final(lived.history)


def test_a_person_may_overrule_it():
    policy = Discovery(0)
    policy.start(Observation(0, "a", val_bpb=0.99, gpu_s=300.0))
    policy.note(Observation(1, "r", val_bpb=0.986, replicate_of="a", gpu_s=300.0, seed=43), "keep")
    policy.note(Observation(2, "b", "a", val_bpb=0.97, gpu_s=300.0), "discard")
    assert policy.ask([])[0] != "replicate"
    policy.note(Observation(3, "c", "a", val_bpb=0.93, gpu_s=300.0), "investigate")
    assert policy.ask([]) == ("replicate", None, "c")
    assert policy.next_seed() == 43


def test_a_given_posterior_takes_the_place_of_its_own():
    policy = Discovery(0)
    policy.start(Observation(0, "a", val_bpb=0.99, gpu_s=300.0))
    policy.note(Observation(1, "b", "a", val_bpb=0.97, gpu_s=300.0), "keep")
    given = Belief([Score("a", None, Condition(7), 0.99), Score("b", "a", Condition(7), 0.97)])
    policy.set_belief(given)
    assert policy.belief is given
    policy.ask([])
    assert policy.next_seed() == 7


def test_it_builds_on_what_stands_and_seldom_on_anything_else():
    watched = Watched("discovery", 2, 100)
    assert sum(parent is not None for _, _, parent, _ in watched.ideas) < 15
    assert len(watched.repeats) < 40


def test_where_scores_are_exact_the_best_is_shipped_and_few_runs_are_spent_on_repeats():
    watched = Watched("discovery", 4, 80, NoiseLevels(0.0, 0.0, 0.0))
    assert len(watched.repeats) < 25
    best = min(run.val_bpb for run in watched.history if run.val_bpb is not None)
    assert watched.night.value(watched.policy.final(watched.history)) <= best + 0.0005


def test_experiments_run_on_seeds_that_the_tip_has_and_seeds_take_turns():
    watched = Watched("discovery", 6)
    chain, seeds = KeptChain("c0"), {("c0", 42)}
    for (_, _, parent, seed), (result, _, decision) in zip(watched.orders, watched.policy._past[1:], strict=True):
        assert parent is not None or (chain.tip, seed) in seeds
        if result.val_bpb is not None:
            seeds.add((configuration(result), seed))
        chain.decide(configuration(result), decision)
    assert len({seed for *_, seed in watched.ideas}) > 1


def test_a_short_night_tries_ideas_before_it_measures_again():
    for seed in range(5):
        assert len(Watched("discovery", seed, 5).ideas) >= SETTINGS.ideas_before_replicates


def test_one_seed_is_run_twice_in_a_longer_night():
    assert Watched("discovery", 3, 40).policy.belief.variances.noise.repeat.n >= 1


def test_a_gain_of_a_lucky_seed_is_not_kept_as_greedy_keeps_it():
    """Changes that do nothing, measured on other seeds: the plain rule keeps what a seed gave, this one does not."""
    kept = {}
    for name in ("greedy", "discovery"):
        policy = make_policy(name, 0)
        policy.start(Observation(0, "a", val_bpb=0.99, gpu_s=300.0, seed=42))
        answers = [
            policy.tell(Observation(n, f"b{n}", "a", val_bpb=0.99 - 0.0005 * n, gpu_s=300.0, seed=42 + n))
            for n in range(1, 5)
        ]
        kept[name] = answers.count("keep")
    assert kept["discovery"] < kept["greedy"]


def test_a_score_that_comes_late_or_twice_ends_no_night():
    """A crashed baseline, an id that comes again with another parent, a second night with the same object."""
    for name in POLICIES:
        policy = make_policy(name, 0)
        for _ in range(2):
            policy.start(Observation(0, "a", crash="OutOfMemoryError", gpu_s=30.0))
            policy.ask([])
            policy.tell(Observation(1, "b", "a", val_bpb=0.99, gpu_s=300.0))
            policy.tell(Observation(2, "c", "b", val_bpb=0.98, gpu_s=300.0))
            policy.tell(Observation(3, "b", "c", val_bpb=0.99, gpu_s=300.0))
            policy.ask([])
            if name != "classic":  # the public loop keeps nothing while it has no baseline to compare with
                assert policy.final([]) in ("b", "c")
            assert 0.9 < policy.estimate("c") < 1.0


def test_a_far_larger_gain_is_measured_again_before_it_is_kept():
    policy = Discovery(0)
    policy.start(Observation(0, "a", val_bpb=0.99, gpu_s=300.0))
    assert policy.tell(Observation(1, "r", val_bpb=0.986, replicate_of="a", gpu_s=300.0, seed=43)) == "keep"
    assert policy.tell(Observation(2, "b", "a", val_bpb=0.93, gpu_s=300.0)) == "replicate"
    assert policy.ask([]) == ("replicate", None, "b")
    assert policy.next_seed() == 43
    assert policy.tell(Observation(3, "s", val_bpb=0.9895, replicate_of="b", gpu_s=300.0, seed=43)) != "replicate"


def test_the_tip_gets_a_seed_first_where_it_has_none_to_compare_on():
    policy = Discovery(0)
    policy.start(Observation(0, "a", val_bpb=0.99, gpu_s=300.0))
    assert policy.tell(Observation(1, "b", "a", val_bpb=0.93, gpu_s=300.0)) != "keep"
    assert (*policy.ask([]), policy.next_seed()) == ("replicate", None, "a", 43)
    policy.tell(Observation(2, "r", val_bpb=0.986, replicate_of="a", gpu_s=300.0, seed=43))
    assert (*policy.ask([]), policy.next_seed()) == ("replicate", None, "b", 43)


def test_it_says_what_it_is_at_and_why():
    policy = Watched("discovery", 8, 40).policy
    assert policy.phase in PHASES
    assert policy.reason.endswith(".")
    assert all(policy.credit().mean(arm) > 0.0 for arm in (None, *EMITTERS))


def test_ablations_do_without_their_part():
    assert all(parent is None for _, _, parent, _ in Watched("discovery-no-archive-parents", 1).ideas)
    assert all(order[:2] == (None, None) for order in Watched("discovery-no-bandit", 1).ideas)
    assert not Watched("discovery-no-replicates", 1).repeats
