"""The rule of real nights: clear gains at once, near ties by replicates, miracles looked at, crashes no evidence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.judgekit import PROBE, Night

from research.core.errors import ConfigurationError
from research.core.records import Decision
from research.core.settings import SETTINGS
from research.verdict.rules import JUDGES, greedy, judge_of

RANK: dict[Decision, int] = {"discard": 0, "replicate": 1, "keep": 2, "investigate": 2}
"""Better is higher; what is investigated is a keep that must be confirmed."""


def second(val_bpb: float, **more: object) -> Decision:
    """What is decided about one run after a baseline of 0.99."""
    night = Night()
    night.run("a", 0.99)
    return night.run("b", val_bpb, "a", **more).decision


def test_the_baseline():
    night = Night()
    assert night.run("crash", None).decision == "discard"
    first = night.run("a", 0.99)
    assert (first.decision, first.baseline, first.p_better, first.difference) == ("keep", True, None, None)
    assert first.estimate is not None
    assert first.estimate.n == 1
    assert night.run("b", 1.9, contract="official-0").baseline
    assert night.run("c", 1.9, branch="other").baseline


@pytest.mark.parametrize(
    ("val_bpb", "decision"),
    [(0.98, "keep"), (0.985, "keep"), (0.988, "keep"), (0.9893, "replicate"), (0.989999, "discard"), (0.99, "discard"),
     (1.0, "discard"), (0.96, "investigate"), (0.5, "investigate")],
)  # fmt: skip
def test_one_run_after_one_baseline(val_bpb: float, decision: str):
    assert second(val_bpb) == decision


def test_a_verdict_states_its_evidence():
    night = Night()
    night.run("a", 0.99)
    verdict = night.run("b", 0.98, "a")
    assert verdict.p_better is not None
    assert verdict.p_better > 0.95
    assert verdict.difference is not None
    assert verdict.difference.low < verdict.difference.mean < verdict.difference.high < 0
    assert (verdict.rule, verdict.incumbent) == ("evidence", "a")
    assert "\n" not in verdict.why


def test_a_miracle_is_believed_when_it_comes_again():
    night = Night()
    night.run("a", 0.99)
    night.run("b", 0.5, "a")
    assert night.tip() == "a"
    night.run("b", 0.501, "a")
    assert night.decisions() == ["keep", "keep", "keep"]
    assert night.tip() == "b"


def test_a_near_tie_is_decided_by_its_replicates():
    night = Night()
    night.run("a", 0.99)
    night.run("b", 0.9885, "a")
    night.run("b", 0.9912, "a")
    night.run("b", 0.9908, "a")
    assert night.decisions() == ["keep", "discard", "discard", "discard"]
    assert "decided by its replicate r" in night.history[1].verdict.why  # type: ignore[union-attr]


def test_the_incumbent_is_all_its_runs():
    night = Night()
    night.run("a", 0.99)
    night.run("b", 0.98, "a")
    assert night.run("b", 0.981, "a").decision == "keep"
    night.run("b", 0.995, "a")
    night.run("b", 0.996, "a")
    night.run("b", 0.997, "a")
    assert night.tip() == "a"
    assert set(night.decisions()[1:]) == {"discard"}


def test_a_baseline_measured_again_stays():
    night = Night()
    night.run("a", 0.99)
    again = night.run("a", 0.995)
    assert (again.decision, again.baseline) == ("keep", False)
    assert again.estimate is not None
    assert again.estimate.n == 2


def test_an_older_one_measured_again_takes_nothing_away_unless_it_is_better():
    night = Night()
    night.run("a", 0.99)
    night.run("b", 0.98, "a")
    assert night.run("a", 0.9905).decision == "discard"
    assert night.tip() == "b"
    assert night.run("a", 0.90).decision == "keep"
    assert night.tip() == "a"


def test_a_crash_is_no_evidence():
    night = Night()
    night.run("a", 0.99)
    night.run("b", 0.98, "a")
    assert night.run("b", None, "a").decision == "discard"
    assert night.tip() == "b"
    assert night.run("b", 0.9801, "a").estimate.n == 2  # type: ignore[union-attr]
    night.run("c", 0.9798, "b")
    night.run("c", None, "b")
    assert night.decisions()[-2:] == ["discard", "discard"]


def test_a_probe_that_fails_later_takes_the_incumbent_away():
    night = Night()
    night.run("a", 0.99)
    night.run("b", 0.98, "a")
    night.run("b", None, "a", failure=PROBE)
    assert night.tip() == "a"
    assert night.decisions() == ["keep", "discard", "discard"]


def test_suspect_and_foreign_scores_are_neither_kept_nor_counted():
    night = Night()
    assert night.run("a", 0.99, suspect=("odd",)).decision == "discard"
    assert night.run("a", 0.99).baseline
    assert night.run("b", 0.98, "a", suspect=("odd",)).decision == "discard"
    assert night.run("c", 0.5, "a", origin="import").decision == "discard"
    assert night.run("b", 0.985, "a").estimate.n == 1  # type: ignore[union-attr]
    assert night.run("b", 0.1, "a", suspect=("odd",)).decision == "discard"
    assert night.tip() == "b"


def test_shorter_and_as_good_is_kept():
    night = Night()
    for _ in range(1 + SETTINGS.min_noise_n):
        night.run("a", 0.99)
    assert night.run("b", 0.99, "a").decision == "discard"
    verdict = night.run("c", 0.99, "a", statements_removed=3)
    assert verdict.decision == "keep"
    assert "shorter" in verdict.why
    assert night.run("c", 0.99, "a", statements_removed=3).decision == "keep"
    assert night.tip() == "c"


def test_a_near_miss_is_told():
    night = Night()
    night.run("a", 0.99)
    night.run("b", 0.97, "a")
    verdict = night.run("c", 0.98, "a")
    assert verdict.decision == "discard"
    assert verdict.why.startswith("a near miss")


def test_a_rival_that_gave_way_stands_again():
    night = Night()
    night.run("a", 0.99)
    night.run("b", 0.98, "a")
    night.run("c", 0.97, "a")
    assert night.decisions() == ["keep", "discard", "keep"]
    for val_bpb in (0.99, 1.0):
        night.run("c", val_bpb, "a")
    assert night.tip() == "b"
    assert night.decisions()[:3] == ["keep", "keep", "discard"]


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


def test_one_value_over_and_over():
    night = Night()
    night.run("a", 1.9)
    night.run("a", 1.9)
    verdict = night.run("near", 1.8999, "a")
    assert verdict.difference is not None
    assert verdict.difference.low < 0 < verdict.difference.high  # two equal scores may be chance
    for _ in range(SETTINGS.min_noise_n - 1):
        night.run("a", 1.9)
    assert night.run("b", 1.899, "a").decision == "keep"
    assert night.run("c", 1.899, "b").decision == "discard"
    assert night.run("d", 1.8995, "b").decision == "discard"


@settings(deadline=None, max_examples=40)
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
    assert seen[0].p_better is not None
    assert seen[1].p_better is not None
    left_out = 10 * SETTINGS.min_effect_weight  # parts of the mixture that are too small to be summed
    assert seen[0].p_better <= seen[1].p_better + left_out


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.97, 1.0)), min_size=1, max_size=8))
def test_the_same_runs_give_the_same_verdicts(runs: list[tuple[str, float]]):
    one, other = Night(), Night()
    for commit, val_bpb in runs:
        assert one.run(commit, val_bpb, "a") == other.run(commit, val_bpb, "a")
    assert one.history == other.history


def test_rules_by_name():
    assert judge_of({}) is JUDGES["evidence"]
    assert judge_of({"AUTORESEARCH_JUDGE": "greedy"}) is greedy
    with pytest.raises(ConfigurationError, match="no rule"):
        judge_of({"AUTORESEARCH_JUDGE": "wishes"})
