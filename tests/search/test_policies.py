"""Every policy holds the protocol: orders that can be carried out, the same for the same night, cheap, never lost."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from research.core.settings import SETTINGS
from research.search.observation import Observation, configuration
from research.search.policies.base import CATEGORIES, EMITTERS, KeptChain
from research.search.policies.discovery import Discovery
from research.search.policy import POLICIES, make_policy


class Driver:
    """A night on a landscape of one line: every change draws an effect; ids are tuples, authors may be unknown."""

    def __init__(self, name: str, seed: int = 0, sigma: float = 0.0004, tagged: bool = True) -> None:
        self.policy: Any = make_policy(name, seed)
        self.rng = random.Random(seed)
        self.sigma, self.tagged = sigma, tagged
        self.truth: dict[Any, float] = {("c", 0): 0.99}
        self.kept: list[Any] = [("c", 0)]
        self.history = [Observation(0, ("c", 0), val_bpb=self.read(("c", 0)), gpu_s=300.0)]
        self.orders: list[Any] = []
        self.answers: list[str] = []
        self.policy.start(self.history[0])

    def read(self, config: Any) -> float:
        return self.truth[config] + (self.rng.gauss(0.0, self.sigma) if self.sigma else 0.0)

    def step(self) -> None:
        index = len(self.history)
        order = self.policy.ask(self.history)
        self.orders.append(order)
        if order[0] == "replicate":
            assert order[1] is None
            result = Observation(index, ("r", index), val_bpb=self.read(order[2]), replicate_of=order[2], gpu_s=300.0)
        else:
            parent = order[2] if order[2] is not None else self.kept[-1]
            config = ("c", index)
            self.truth[config] = self.truth[parent] + self.rng.choice((-0.0008, -0.0002, 0.0005, 0.001, 0.003))
            crashed = self.rng.random() < 0.1
            result = Observation(
                index,
                config,
                parent,
                (order[0] or self.rng.choice(EMITTERS)) if self.tagged else None,
                (order[1] or self.rng.choice(CATEGORIES)) if self.tagged else None,
                None if crashed else self.read(config),
                "boom" if crashed else None,
                gpu_s=20.0 if crashed else 300.0,
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
    driver = Driver(name, 3, tagged=tagged).night()
    shipped = driver.policy.final(driver.history)
    scored = {configuration(r) for r in driver.history if r.val_bpb is not None}
    assert shipped in scored
    assert abs(driver.policy.estimate(shipped) - driver.truth[shipped]) < 0.003
    with pytest.raises(KeyError):
        driver.policy.estimate("nothing")


@pytest.mark.parametrize("name", POLICIES)
def test_orders_name_what_exists(name: str):
    driver = Driver(name, 5).night()
    known = {configuration(r) for r in driver.history}
    for emitter, category, parent in driver.orders:
        assert emitter in (None, "replicate", *EMITTERS)
        assert set((category or "optimizer").split("+")) <= {*CATEGORIES, "mixed", "simplification"}
        assert parent is None or parent in known


@pytest.mark.parametrize("name", POLICIES)
def test_the_same_night_gives_the_same_orders(name: str):
    assert Driver(name, 7).night().orders == Driver(name, 7).night().orders


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
    standing = Standing("a")
    for config in ("b", "c"):
        standing.decide(config, "keep")
    assert (standing.tip, standing.before, standing.line) == ("c", "b", ("a", "b", "c"))
    standing.decide("b", "discard")
    assert standing.tip == "c"
    standing.decide("c", "discard")
    standing.decide("b", "discard")
    standing.decide("a", "discard")
    assert (standing.tip, standing.before) == ("a", None)


# The policy of real nights --------------------------------------------------------------------------------------


def test_replaying_its_own_decisions_gives_the_same_plan():
    """The planner of a real night notes what the judge decided; the same decisions must lead to the same orders."""
    lived = Driver("discovery", 11).night()
    replayed = Discovery(11)
    replayed.start(lived.history[0])
    for order, result, answer in zip(lived.orders, lived.history[1:], lived.answers, strict=True):
        assert replayed.ask(lived.history[: result.index]) == order
        replayed.note(result, answer)
    assert replayed.final(lived.history) == lived.policy.final(lived.history)


def test_a_person_may_overrule_it():
    policy = Discovery(0)
    policy.start(Observation(0, "a", val_bpb=0.99, gpu_s=300.0))
    policy.note(Observation(1, "b", "a", val_bpb=0.97, gpu_s=300.0), "discard")
    assert policy.ask([])[0] == "replicate"  # the baseline, which everything is counted from
    policy.note(Observation(2, "r", val_bpb=0.9901, replicate_of="a", gpu_s=300.0), "keep")
    policy.note(Observation(3, "c", "a", val_bpb=0.985, gpu_s=300.0), "investigate")
    assert policy.ask([]) == ("replicate", None, "c")


def test_it_builds_on_what_stands_and_seldom_on_anything_else():
    driver = Driver("discovery", 2).night(100)
    elsewhere = [o for o in driver.orders if o[0] != "replicate" and o[2] is not None]
    assert len(elsewhere) < 15
    assert driver.answers.count("replicate") < 15


def test_exact_repeats_are_noticed_and_cost_few_runs():
    driver = Driver("discovery", 4, sigma=0.0).night(80)
    assert sum(r.replicate_of is not None for r in driver.history) <= SETTINGS.min_noise_n
    shipped = driver.policy.final(driver.history)
    assert driver.truth[shipped] == min(driver.truth[configuration(r)] for r in driver.history if r.val_bpb is not None)


def test_loud_noise_is_answered_by_replicates():
    def replicates(sigma: float) -> int:
        nights = (Driver("discovery", seed, sigma).night(80) for seed in range(5))
        return sum(r.replicate_of is not None for night in nights for r in night.history)

    assert replicates(0.01) > replicates(0.0002)


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


def test_a_miracle_is_measured_again_before_it_is_kept():
    policy = Discovery(0)
    policy.start(Observation(0, "a", val_bpb=0.99, gpu_s=300.0))
    assert policy.tell(Observation(1, "r", val_bpb=0.9904, replicate_of="a", gpu_s=300.0)) == "keep"
    assert policy.tell(Observation(2, "b", "a", val_bpb=0.93, gpu_s=300.0)) == "replicate"
    assert policy.ask([]) == ("replicate", None, "b")
    assert policy.tell(Observation(3, "s", val_bpb=0.9895, replicate_of="b", gpu_s=300.0)) != "replicate"


def test_it_says_what_it_is_at_and_why():
    driver = Driver("discovery", 8)
    assert driver.policy.phase == "baseline"
    driver.night(40)
    assert driver.policy.phase in ("explore", "exploit", "recombine", "stabilize")
    assert driver.policy.reason.endswith(".")
    shares = driver.policy.shares
    assert set(shares) == {None, *EMITTERS}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert min(shares.values()) > 0.0


def test_asking_is_cheap():
    driver = Driver("discovery", 9).night(100)
    start = time.perf_counter()
    for _ in range(50):
        driver.policy.ask(driver.history)
    assert (time.perf_counter() - start) / 50 < 0.02  # about 0.5 ms on a free core; loaded machines are slower


def test_ablations_do_without_their_part():
    assert all(o[2] is None for o in Driver("discovery-no-archive-parents", 1).night().orders if o[0] != "replicate")
    assert all(o[:2] == (None, None) for o in Driver("discovery-no-bandit", 1).night().orders if o[0] != "replicate")
    driver = Driver("discovery-no-replicates", 1).night()
    assert not any(r.replicate_of for r in driver.history)
