"""The plain rule, and the fold that says which commit a branch is on."""

from __future__ import annotations

from research.verdict.judge import judge_greedily
from tests.support import judgekit


class Night(judgekit.Night):
    """Runs judged one after the other by the plain rule."""

    def __init__(self) -> None:
        super().__init__(judge_greedily)


def test_baseline_then_lower_keeps():
    night = Night()
    first = night.run("a", 1.0)
    assert (first.decision, first.baseline) == ("keep", True)
    assert [night.run(c, v).decision for c, v in (("b", 1.0), ("c", 0.999999), ("d", 1.1))] == [
        "discard", "keep", "discard",
    ]  # fmt: skip
    assert night.tip() == "c"
    assert night.history[3].verdict.incumbent == "c"
    assert sum(bool(item.verdict and item.verdict.baseline) for item in night.history) == 1


def test_a_crash_before_the_baseline_is_no_baseline():
    night = Night()
    assert night.run("a", None).decision == "discard"
    assert night.run("b", 1.0).baseline


def test_suspect_runs_are_never_kept():
    night = Night()
    assert night.run("a", 1.0, suspect=("x",)).decision == "discard"
    assert night.run("b", 1.0).baseline
    assert night.run("c", 0.5, suspect=("x",)).decision == "discard"


def test_replicates_count_by_their_mean():
    night = Night()
    night.run("a", 1.0)
    night.run("b", 0.99)
    assert night.run("b", 1.03).decision == "keep"  # it remains the best so far ...
    assert night.run("c", 1.0).decision == "keep"  # ... but 1.01 is what has to be beaten
    assert night.run("a", 0.9).decision == "keep"  # mean 0.95


def test_a_discarded_replicate_of_an_older_one_takes_nothing_away():
    night = Night()
    night.run("a", 1.0)
    night.run("b", 0.9)
    assert night.run("a", 1.0).decision == "discard"
    assert night.tip() == "b"
    night.person(1, "discard")
    assert night.tip() == "a"


def test_a_person_can_put_an_older_one_back():
    night = Night()
    night.run("a", 1.0)
    night.run("b", 0.9)
    night.run("c", 0.95)
    night.person(2, "keep")
    assert night.tip() == "c"
    night.person(2, "discard")
    assert night.tip() == "b"
