"""Which seed the next run gets: what is compared is to have run under the same seeds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from research.core.contract import DEFAULT_SEED
from research.verdict.belief import Belief, Score
from research.verdict.seeds import Place, experiment_seed, first_seed, next_replicate, replicate_seed
from research.verdict.variances import Condition

RUNS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(42, 47)), max_size=12)


def belief(*runs: tuple[str, int] | tuple[str, int, str]) -> Belief:
    return Belief([Score(config, None, Condition(*condition), 0.99) for config, *condition in runs])


def test_an_experiment_runs_on_a_seed_that_the_incumbent_has_and_seeds_take_turns():
    known = belief(("a", 42), ("a", 43))
    assert experiment_seed(known, "a") == 42
    known = belief(("a", 42), ("a", 43), ("b", 42))
    assert experiment_seed(known, "a") == 43
    known = belief(("a", 42), ("a", 43), ("b", 42), ("c", 43))
    assert experiment_seed(known, "a") == 42
    assert experiment_seed(belief(("a", 7)), "a") == 7


def test_without_an_incumbent_it_is_the_usual_seed():
    assert experiment_seed(belief(), None) == DEFAULT_SEED
    assert experiment_seed(belief(("a", 43)), "unknown") == DEFAULT_SEED


def test_a_candidate_gets_the_next_seed_that_the_incumbent_has():
    known = belief(("a", 42), ("a", 43), ("b", 42))
    assert next_replicate(known, "b", "a") == ("b", 43)


def test_the_incumbent_gets_the_seed_first_where_it_lacks_it():
    assert next_replicate(belief(("a", 42), ("b", 42), ("b", 43)), "b", "a") == ("a", 43)
    assert next_replicate(belief(("a", 42), ("b", 42)), "b", "a") == ("a", 43)
    assert next_replicate(belief(("a", 43), ("b", 43)), "b", "a") == ("a", 42)


def test_on_a_card_only_runs_of_that_card_are_compared():
    known = belief(("a", 42, "one"), ("a", 43, "two"), ("b", 42, "one"))
    one, two = Place("one", ("two",)), Place("two", ("one",))
    assert (experiment_seed(known, "a", one), experiment_seed(known, "a", two)) == (42, 43)
    assert next_replicate(known, "b", "a", two) == ("b", 43)
    assert next_replicate(known, "b", "a", one) is None  # it is due on the other card
    assert next_replicate(known, "b", "a", Place("one")) == ("a", 44)
    assert replicate_seed(known, "b", "a", place=two) == 43
    assert known.shared_seeds("a", "b") == (42,)
    assert belief(("a", 42, "one"), ("b", 42, "two")).shared_seeds("a", "b") == ()


def test_on_a_card_that_is_new_to_it_the_incumbent_takes_the_seed_that_is_used_there():
    known = belief(("a", 42, "one"), ("b", 42, "one"), ("c", 44, "two"), ("d", 44, "two"), ("d", 45, "two"))
    assert first_seed(known, "a", Place("two", ("one",))) == 44
    assert first_seed(known, "a", Place("three")) == 43
    beside = [first_seed(known, "a", Place(name, other)) for name, other in (("x", ("y",)), ("y", ("x",)))]
    assert beside == [43, 44]


def test_a_replicate_runs_on_what_the_incumbent_has_else_on_a_new_seed():
    known = belief(("a", 42), ("a", 43), ("b", 42))
    assert replicate_seed(known, "b", "a") == 43
    assert replicate_seed(known, "b", "a", used=[43]) == 44
    assert replicate_seed(known, "a", "a") == 44
    assert replicate_seed(known, "a", None, used=[44, 45]) == 46
    assert replicate_seed(belief(), "new", None) == DEFAULT_SEED


@given(RUNS)
def test_two_replicates_at_most_make_one_more_shared_seed(runs: list[tuple[str, int]]):
    rows = [*runs, ("a", 42), ("b", 42)]
    before = len(belief(*rows).shared_seeds("b", "a"))
    for _ in range(2):
        again = next_replicate(belief(*rows), "b", "a")
        which, seed = again
        assert which in ("a", "b")
        assert seed not in belief(*rows).seeds(which)
        rows.append((str(which), seed))
        if len(belief(*rows).shared_seeds("b", "a")) > before:
            break
    assert len(belief(*rows).shared_seeds("b", "a")) == before + 1


@given(RUNS, st.sampled_from("abc"))
def test_an_experiment_can_always_be_compared(runs: list[tuple[str, int]], incumbent: str):
    known = belief(*runs)
    seed = experiment_seed(known, incumbent)
    assert seed in (known.seeds(incumbent) or (DEFAULT_SEED,))
