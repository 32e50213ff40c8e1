"""Every policy holds the protocol: orders that can be carried out, the same for the same night, cheap, never lost."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from research.code.classify import CATEGORIES
from research.core.settings import SETTINGS
from research.search.emitters import EMITTERS
from research.search.observation import Observation, configuration
from research.search.policies.base import KeptChain
from research.search.policies.discovery import Discovery
from research.search.policy import POLICIES, make_policy
from research.verdict.belief import Belief, Score
from research.verdict.phase import PHASES
from research.verdict.variances import Condition


class Driver:
    """A night on a landscape of one line: every change draws an effect; ids are tuples, authors may be unknown.

    Args:
        name: The policy.
        seed: Another one gives another night.
        repeat: Standard deviation of repeats; that of seeds is ten times as large, a change's from seed to seed twice.
        tagged: Whether authors and kinds of change are known.
        named: Whether a free agent says which emitter it was, as in simulation; a real commit names the ordered one.
    """

    def __init__(
        self, name: str, seed: int = 0, repeat: float = 0.0003, tagged: bool = True, named: bool = True
    ) -> None:
        self.policy: Any = make_policy(name, seed)
        self.rng = random.Random(seed)
        self.repeat, self.tagged, self.named = repeat, tagged, named
        self.truth: dict[Any, float] = {("c", 0): 0.99}
        self.luck: dict[Any, float] = {}
        self.kept: list[Any] = [("c", 0)]
        self.history = [Observation(0, ("c", 0), val_bpb=self.read(("c", 0), 42), gpu_s=300.0, seed=42)]
        self.orders: list[Any] = []
        self.answers: list[str] = []
        self.policy.start(self.history[0])

    def read(self, config: Any, seed: int) -> float:
        """Draw a score; what a seed does is drawn once."""
        for key, factor in ((seed, 10.0), ((config, seed), 2.0)):
            if key not in self.luck:
                self.luck[key] = self.rng.gauss(0.0, factor * self.repeat) if self.repeat else 0.0
        noise = self.rng.gauss(0.0, self.repeat) if self.repeat else 0.0
        return self.truth[config] + self.luck[seed] + self.luck[config, seed] + noise

    def step(self) -> None:
        index = len(self.history)
        order = self.policy.ask(self.history)
        seed = self.policy.next_seed()
        self.orders.append((*order, seed))
        if order[0] == "replicate":
            assert order[1] is None
            score = self.read(order[2], seed)
            result = Observation(index, ("r", index), val_bpb=score, replicate_of=order[2], gpu_s=300.0, seed=seed)
        else:
            parent = order[2] if order[2] is not None else self.kept[-1]
            config = ("c", index)
            self.truth[config] = self.truth[parent] + self.rng.choice((-0.0016, -0.0004, 0.0005, 0.001, 0.003))
            crashed = self.rng.random() < 0.1
            author = order[0] or (self.rng.choice([*EMITTERS]) if self.named else None)
            result = Observation(
                index,
                config,
                parent,
                author if self.tagged else None,
                (order[1] or self.rng.choice(CATEGORIES)) if self.tagged else None,
                None if crashed else self.read(config, seed),
                "boom" if crashed else None,
                gpu_s=20.0 if crashed else 300.0,
                seed=seed,
            )
        self.history.append(result)
        answer = self.policy.tell(result)
        self.answers.append(answer)
        config = configuration(result)
        assert answer in ("keep", "discard", "replicate")
        assert result.val_bpb is not None or answer == "discard"
        if answer == "keep" and config != self.kept[-1]:
            self.kept = [*(c for c in self.kept if c != config), config]
        elif answer == "discard" and config == self.kept[-1] and len(self.kept) > 1:
            self.kept.pop()

    def night(self, runs: int = 60) -> Driver:
        while len(self.history) < runs:
            self.step()
        return self


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("tagged", [True, False])
def test_a_night_ends_with_something_measured_to_ship(name: str, tagged: bool):
    driver = Driver(name, 3, tagged=tagged).night(40)
    shipped = driver.policy.final(driver.history)
    scored = {configuration(r) for r in driver.history if r.val_bpb is not None}
    assert shipped in scored
    claimed = driver.policy.estimate(shipped) - driver.policy.estimate(("c", 0))
    assert abs(claimed - (driver.truth[shipped] - driver.truth["c", 0])) < 0.004
    with pytest.raises(KeyError):
        driver.policy.estimate("nothing")


@pytest.mark.parametrize("name", POLICIES)
def test_orders_name_what_exists(name: str):
    driver = Driver(name, 5).night(40)
    known = {configuration(r) for r in driver.history}
    for emitter, category, parent, _ in driver.orders:
        assert emitter in (None, "replicate", *EMITTERS)
        assert set((category or "optimizer").split("+")) <= {*CATEGORIES, "mixed", "simplification"}
        assert parent is None or parent in known


@pytest.mark.parametrize("name", POLICIES)
def test_the_same_night_gives_the_same_orders(name: str):
    assert Driver(name, 7).night(30).orders == Driver(name, 7).night(30).orders


def test_another_seed_gives_other_orders():
    assert Driver("random", 1).night().orders != Driver("random", 2).night().orders


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


# The policy of real nights --------------------------------------------------------------------------------------


def test_replaying_its_own_decisions_gives_the_same_plan():
    """The planner of a real night notes what the judge decided; the same decisions must lead to the same orders."""
    lived = Driver("discovery", 11, named=False).night()
    replayed = Discovery(11)
    replayed.start(lived.history[0])
    decisions = [
        past.decision for past in lived.policy._past[1:]
    ]  # an answer may put a replicate off, a record says it
    for order, result, decision in zip(lived.orders, lived.history[1:], decisions, strict=True):
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
    policy.use(given)
    assert policy.belief is given
    policy.ask([])
    assert policy.next_seed() == 7


def test_it_builds_on_what_stands_and_seldom_on_anything_else():
    driver = Driver("discovery", 2).night(100)
    elsewhere = [o for o in driver.orders if o[0] != "replicate" and o[2] is not None]
    assert len(elsewhere) < 15
    assert sum(r.replicate_of is not None for r in driver.history) < 40


def test_where_scores_are_exact_the_best_is_shipped_and_few_runs_are_spent_on_repeats():
    driver = Driver("discovery", 4, repeat=0.0).night(80)
    assert sum(r.replicate_of is not None for r in driver.history) < 25
    shipped = driver.policy.final(driver.history)
    best = min(driver.truth[configuration(r)] for r in driver.history if r.val_bpb is not None)
    assert driver.truth[shipped] <= best + 0.0005


def test_experiments_run_on_seeds_that_the_tip_has_and_seeds_take_turns():
    driver = Driver("discovery", 6)
    while len(driver.history) < 60:
        tip = driver.kept[-1]
        has = set(driver.policy.belief.seeds(tip))
        driver.step()
        emitter, _, parent, seed = driver.orders[-1]
        if emitter != "replicate" and parent is None:
            assert seed in has
    seeds = [seed for emitter, _, _, seed in driver.orders if emitter != "replicate"]
    assert len(set(seeds)) > 1


def test_a_short_night_tries_ideas_before_it_measures_again():
    for seed in range(5):
        driver = Driver("discovery", seed).night(5)
        ideas = [order for order in driver.orders if order[0] != "replicate"]
        assert len(ideas) >= SETTINGS.ideas_before_replicates


def test_one_seed_is_run_twice_in_a_longer_night():
    driver = Driver("discovery", 3).night(40)
    assert driver.policy.belief.variances.noise.repeat.n >= 1


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
    driver = Driver("discovery", 8)
    assert driver.policy.phase in PHASES
    driver.night(40)
    assert driver.policy.phase in PHASES
    assert driver.policy.reason.endswith(".")
    assert all(driver.policy.credit().mean(arm) > 0.0 for arm in (None, *EMITTERS))


def test_asking_is_cheap():
    driver = Driver("discovery", 9).night(100)
    start = time.process_time()
    for _ in range(20):
        driver.policy.ask(driver.history)
    assert (time.process_time() - start) / 20 < 0.05  # about 2 ms on a free core; loaded machines are slower


def test_ablations_do_without_their_part():
    assert all(o[2] is None for o in Driver("discovery-no-archive-parents", 1).night().orders if o[0] != "replicate")
    assert all(o[:2] == (None, None) for o in Driver("discovery-no-bandit", 1).night().orders if o[0] != "replicate")
    driver = Driver("discovery-no-replicates", 1).night()
    assert not any(r.replicate_of for r in driver.history)
