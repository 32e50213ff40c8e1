"""The rule: every branch of it, at thresholds that are read from the settings or given."""

from __future__ import annotations

from dataclasses import replace

import pytest

from research.core.settings import SETTINGS, Settings
from research.core.text import chance
from research.verdict.belief import Belief, Score
from research.verdict.rule import compared, weigh
from research.verdict.variances import Condition


def belief(*rows: tuple[str, int, float]) -> Belief:
    """Runs of configurations "a", "b" and "c", the last two made from the first."""
    return Belief(
        [Score(config, None if config == "a" else "a", Condition(seed), value) for config, seed, value in rows]
    )


def on_seeds(gain: float, seeds: int) -> Belief:
    """A candidate that is better by this much on each of so many seeds, which differ by more."""
    rows = [("a", 42 + n, 0.99 - 0.004 * n) for n in range(seeds)]
    return belief(*rows, *((("b", seed, value - gain)) for _, seed, value in rows))


def settings_around(p: float, **more: float) -> Settings:
    """Thresholds between which a probability lies: above confirm_p, below sure_p."""
    return replace(SETTINGS, confirm_p=p - 0.01, sure_p=p + 0.01, **more)


def test_a_sure_gain_is_kept_at_once():
    known = on_seeds(0.01, 6)
    weighed = weigh(known, "b", "a")
    assert weighed.decision == "keep"
    assert weighed.p_better >= SETTINGS.sure_p
    one = on_seeds(0.01, 1)
    p = one.p_better("b", "a")
    assert weigh(one, "b", "a", settings=replace(SETTINGS, sure_p=p)).decision == "keep"


def test_a_clear_loss_is_discarded_at_once():
    weighed = weigh(on_seeds(-0.01, 1), "b", "a")
    assert weighed.decision == "discard"
    assert weighed.p_better < SETTINGS.confirm_p
    assert "not better" in weighed.why


def test_what_one_seed_cannot_tell_gets_another():
    known = on_seeds(0.003, 1)
    p = known.p_better("b", "a")
    weighed = weigh(known, "b", "a", settings=settings_around(p))
    assert weighed.decision == "replicate"
    assert "another seed" in weighed.why


def test_after_its_seeds_a_change_is_kept_or_discarded():
    known = on_seeds(0.003, SETTINGS.max_seeds)
    p = known.p_better("b", "a")
    kept = weigh(known, "b", "a", settings=settings_around(p, keep_p=p))
    left = weigh(known, "b", "a", settings=settings_around(p, keep_p=p + 0.005))
    assert (kept.decision, left.decision) == ("keep", "discard")
    assert "seeds together" in kept.why
    assert "still undecided" in left.why


def test_a_candidate_on_seeds_that_the_incumbent_lacks_is_decided_too():
    rows = [("a", 42, 0.99), *(("b", 50 + n, 0.988) for n in range(SETTINGS.max_seeds + 1))]
    known = belief(*rows)
    p = known.p_better("b", "a")
    assert weigh(known, "b", "a", settings=settings_around(p)).decision != "replicate"


@pytest.mark.parametrize(("largest", "decision"), [(0.0, "investigate"), (1.0, "keep")])
def test_a_far_larger_gain_than_any_is_measured_again_first(largest: float, decision: str):
    known = belief(("a", 42, 0.99), ("b", 42, 0.5))
    sure = replace(SETTINGS, sure_p=0.5)
    assert weigh(known, "b", "a", largest_gain=largest, settings=sure).decision == decision
    twice = belief(("a", 42, 0.99), ("b", 42, 0.5), ("b", 43, 0.5))
    assert weigh(twice, "b", "a").decision == "keep"


def test_a_shorter_program_is_kept_where_it_is_as_good():
    rows = [(config, 42 + n, 0.99 - 0.001 * n) for n in range(8) for config in "ab" for _ in range(2)]
    known = belief(*rows)
    assert weigh(known, "b", "a").decision == "discard"
    assert weigh(known, "b", "a", statements_net=5).decision == "discard"
    shorter = weigh(known, "b", "a", statements_net=-5)
    assert shorter.decision == "keep"
    assert "5 statements shorter" in shorter.why
    worse = belief(*rows, *(("c", 42 + n, 0.992 - 0.001 * n) for n in range(8)))
    assert weigh(worse, "c", "a", statements_net=-5).decision == "discard"


def test_the_sentence_says_difference_interval_seeds_and_probability():
    known = on_seeds(0.003, 2)
    said = compared(known, "b", "a")
    change = known.difference("b", "a")
    assert said.startswith(f"{change.mean:+.6f} [{change.low:+.6f}, {change.high:+.6f}], compared on seeds 42 and 43")
    assert said.endswith(f"P(better) {chance(known.p_better('b', 'a'))}")
    weighed = weigh(known, "b", "a")
    assert weighed.why.startswith(said)
    assert (weighed.difference, weighed.p_better) == (change, known.p_better("b", "a"))
    apart = belief(("a", 42, 0.99), ("b", 43, 0.98))
    assert "measured on no seed of the best so far" in compared(apart, "b", "a")


def test_what_was_never_scored_is_refused():
    with pytest.raises(KeyError):
        weigh(belief(("a", 42, 0.99)), "nobody", "a")


def test_seeds_make_a_small_gain_sure():
    """The case of two GPUs: 0.0014 better on the same seed, while seeds differ by 0.006."""
    chances = [on_seeds(0.0014, seeds).p_better("b", "a") for seeds in (1, 2, 4)]
    assert chances == sorted(chances)
    assert weigh(on_seeds(0.0014, 8), "b", "a").decision == "keep"
