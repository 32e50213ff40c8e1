"""The rule of real nights: compared on shared seeds, near ties by replicates, large gains measured again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.core.records import Decision
from research.core.settings import SETTINGS
from tests.support.judgekit import PROBE, SEED_43, Night, near

RANK: dict[Decision, int] = {"discard": 0, "replicate": 1, "keep": 2, "investigate": 2}
"""Better is higher; what is investigated is a keep that must be confirmed."""


def after_two_seeds() -> Night:
    """A night whose baseline has a score on two seeds, and on one of them twice."""
    night = Night()
    night.both("a", 0.99)
    night.run("a", 0.9903, seed=42)
    return night


def test_the_baseline():
    night = Night()
    assert night.run("crash", None).decision == "discard"
    first = night.run("a", 0.99)
    assert (first.decision, first.baseline, first.p_better, first.difference) == ("keep", True, None, None)
    assert first.estimate.n == 1
    assert night.run("b", 1.9, contract="pocket-0").baseline
    assert night.run("c", 1.9, branch="other").baseline


@pytest.mark.parametrize(
    ("val_bpb", "decisions"),
    [(0.97, {"keep", "replicate"}), (0.98, {"keep", "replicate"}), (0.99, {"discard"}), (1.0, {"discard"}),
     (0.96, {"investigate"}), (0.5, {"investigate"})],
)  # fmt: skip
def test_one_run_after_one_baseline(val_bpb: float, decisions: set[str]):
    night = Night()
    night.run("a", 0.99)
    assert night.run("b", val_bpb, "a").decision in decisions


def test_a_gain_on_two_shared_seeds_is_kept_although_seeds_differ_by_more():
    night = after_two_seeds()
    assert night.both("b", 0.9885, "a").decision == "keep"
    assert night.tip() == "b"
    assert "seeds 42 and 43" in night.history[-1].verdict.why


def test_the_luck_of_a_seed_is_no_gain():
    """On another seed than the baseline's 0.004 less says little; on the same seed it says much."""
    other, same = Night(), Night()
    for night in (other, same):
        night.run("a", 0.99)
    apart = other.run("b", 0.99 - SEED_43, "a", seed=43)
    shared = same.run("b", 0.99 - SEED_43, "a")
    assert apart.p_better < shared.p_better
    assert "no seed of the best so far" in apart.why
    assert "compared on seed 42" in shared.why


def test_a_verdict_states_its_evidence():
    night = after_two_seeds()
    verdict = night.run("b", 0.98, "a", seed=42)
    assert verdict.p_better > 0.8
    assert verdict.difference.low < verdict.difference.mean < verdict.difference.high
    assert verdict.difference.mean < 0
    assert (verdict.rule, verdict.incumbent) == ("evidence", "a")
    assert "\n" not in verdict.why


def test_a_far_larger_gain_is_kept_when_it_comes_again():
    night = Night()
    night.both("a", 0.99)
    night.run("b", 0.5, "a")
    assert night.tip() == "a"
    night.run("b", 0.501, "a")
    assert night.decisions() == ["keep", "keep", "keep", "keep"]
    assert night.tip() == "b"


def test_a_near_tie_is_decided_by_its_replicates():
    night = Night()
    night.both("a", 0.99)
    assert night.run("b", near(), "a").decision == "replicate"
    night.run("b", 0.996, "a")
    assert night.decisions() == ["keep", "keep", "discard", "discard"]
    assert "decided by its replicate r" in night.history[2].verdict.why


def test_no_candidate_is_measured_for_ever():
    """A candidate on more seeds than the incumbent has is decided once it has run on enough of them."""
    night = Night()
    night.run("a", 0.99)
    decided = [night.run("b", 0.9893, "a").decision for _ in range(2 * SETTINGS.max_seeds)]
    assert decided[-1] in ("keep", "discard")


def test_the_incumbent_is_all_its_runs():
    night = Night()
    night.both("a", 0.99)
    night.both("b", 0.98, "a")
    assert night.tip() == "b"
    assert night.run("b", 0.981, "a", seed=42).decision == "keep"
    for seed in (44, 45, 46):
        night.run("a", 0.99, seed=seed)
        night.run("b", 1.01, "a", seed=seed)
    assert night.tip() == "a"
    assert set(night.decisions()[2:5]) == {"discard"}


def test_a_baseline_measured_again_stays():
    night = Night()
    night.run("a", 0.99)
    again = night.run("a", 0.995)
    assert (again.decision, again.baseline) == ("keep", False)
    assert again.estimate.n == 2


def test_an_older_one_measured_again_takes_nothing_away_unless_it_is_better():
    night = Night()
    night.both("a", 0.99)
    night.both("b", 0.98, "a")
    assert night.run("a", 0.9905, seed=42).decision == "discard"
    assert night.tip() == "b"
    for seed in (44, 45, 46):
        night.run("b", 0.99, "a", seed=seed)
        verdict = night.run("a", 0.90, seed=seed)
    assert verdict.decision == "keep"
    assert night.tip() == "a"


def test_a_crash_is_no_evidence():
    night = Night()
    night.both("a", 0.99)
    night.both("b", 0.98, "a")
    assert night.run("b", None, "a").decision == "discard"
    assert night.tip() == "b"
    assert night.run("b", 0.9801, "a").estimate.n == 3


def test_a_crash_of_its_replicate_closes_what_was_open_and_a_doubted_score_does_not():
    night = Night()
    night.both("a", 0.99)
    assert night.run("b", near(), "a").is_open
    night.run("b", 0.5, "a", suspect=("odd",))
    assert night.decisions()[-2:] == ["replicate", "discard"]
    night.run("b", None, "a")
    assert night.decisions()[-3:] == ["discard", "discard", "discard"]


def test_a_probe_that_fails_later_takes_the_incumbent_away():
    night = Night()
    night.both("a", 0.99)
    night.both("b", 0.98, "a")
    night.run("b", None, "a", failure=PROBE)
    assert night.tip() == "a"
    assert night.decisions() == ["keep", "keep", "discard", "discard", "discard"]


def test_suspect_and_foreign_scores_are_neither_kept_nor_counted():
    night = Night()
    assert night.run("a", 0.99, suspect=("odd",)).decision == "discard"
    assert night.both("a", 0.99).decision == "keep"
    assert night.history[1].verdict.baseline
    assert night.run("b", 0.98, "a", suspect=("odd",)).decision == "discard"
    assert night.run("c", 0.5, "a", origin="import").decision == "discard"
    assert night.both("b", 0.98, "a").estimate.n == 2
    assert night.run("b", 0.1, "a", suspect=("odd",)).decision == "discard"
    assert night.tip() == "b"


def test_shorter_and_as_good_is_kept():
    night = Night()
    for seed in range(42, 48):  # measured so often that two programs that score alike are alike
        for commit in ("a", "b", "a", "b"):
            longer = night.run(commit, 0.99, "" if commit == "a" else "a", seed=seed)
    assert longer.decision == "discard"
    for seed in range(42, 48):
        shorter = night.run("c", 0.99, "a", seed=seed, statements_removed=3)
    assert shorter.decision == "keep"
    assert any("shorter" in item.verdict.why for item in night.history if item.verdict)
    assert night.tip() == "c"


def test_a_near_miss_says_so():
    night = Night()
    night.both("a", 0.99)
    night.both("b", 0.97, "a")
    verdict = night.both("c", 0.98, "a")
    assert verdict.decision == "discard"
    assert verdict.why.startswith("a near miss")


def test_of_two_winners_from_one_parent_the_better_remains_and_the_other_comes_back_when_that_falls():
    night = Night()
    night.both("a", 0.99)
    night.both("b", 0.98, "a")
    night.both("c", 0.972, "a")
    assert night.decisions() == ["keep", "keep", "discard", "discard", "keep", "keep"]
    assert "a near miss: c, made from the same parent" in night.history[2].verdict.why
    night.run("c", None, "a", failure=PROBE)
    assert night.tip() == "b"
    assert night.decisions()[:2] == ["keep", "keep"]
    assert "keep" in night.decisions()[2:4]
    assert set(night.decisions()[4:]) == {"discard"}


def test_a_persons_word_holds():
    night = Night()
    night.run("a", 0.99)
    night.run("b", 1.0, "a")
    night.person(1, "keep")
    assert night.run("b", 1.0, "a").decision == "keep"
    assert night.tip() == "b"
    night.run("c", 0.9, "b")
    night.person(3, "discard")
    assert night.run("c", 0.9, "b").decision == "discard"


def test_two_equal_scores_may_be_chance_and_many_are_none():
    night = Night()
    night.run("a", 1.9)
    night.run("a", 1.9, seed=42)
    verdict = night.run("near", 1.8999, "a")
    assert verdict.difference.low < 0 < verdict.difference.high
    for seed in range(42, 50):  # every score comes again exactly, for every seed and every change
        for commit, val_bpb in (("a", 1.9), ("b", 1.899), ("c", 1.8995)):
            for _ in range(2):
                night.run(commit, val_bpb, "" if commit == "a" else "a", seed=seed)
    assert night.tip() == "b"
    apart = night.cases[-1].belief.difference("b", "a")
    assert apart.mean == pytest.approx(-0.001, abs=1e-4)
    assert apart.high < -0.0005


@settings(max_examples=25)
@given(st.floats(-0.02, 0.02), st.floats(0.0, 0.02), st.integers(0, 2), st.integers(1, 2))
def test_more_gain_is_never_decided_worse(gain: float, more: float, replicates: int, runs: int):
    seen = []
    for each in (gain, gain + more):
        night = Night()
        for n in range(replicates + 1):
            night.run("a", 0.99 + 0.0004 * n)
        verdicts = [night.run("b", 0.99 - each + 0.0002 * n, "a") for n in range(runs)]
        seen.append(verdicts[-1])
    assert RANK[seen[0].decision] <= RANK[seen[1].decision]
    assert seen[0].p_better <= seen[1].p_better + 1e-3
