"""What a run is compared with: scores of all branches of its contract, and the decisions of its own branch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from research.verdict.comparison import compare
from tests.support.histories import judged, name, run

BASE = judged(run(0), 1, "keep", baseline=True)
KEPT = judged(run(1, name(0), 0.98), 2, "keep")
LOST = judged(run(2, name(1), 0.985), 3)


def test_the_first_run_has_nothing_to_be_compared_with():
    case = compare(run(0), [])
    assert (case.tip, case.incumbent, case.before, case.is_tip, case.siblings, case.past) == (
        None, None, None, False, (), (),
    )  # fmt: skip
    assert case.key in case.belief
    assert case.largest_gain == 0.0


def test_a_candidate_is_held_against_the_kept_run():
    case = compare(run(3, name(1), 0.979), [BASE, KEPT, LOST])
    assert case.tip == case.incumbent == KEPT.run
    assert [one.commit for one in case.kept] == [name(0), name(1)]
    assert case.before == KEPT.run  # what becomes the incumbent if the candidate is not kept
    assert {*case.belief.configs} == {name(n) for n in range(4)}
    assert case.belief.parent(name(3)) == name(1)
    step = case.belief.mean(name(0)) - case.belief.mean(name(1))
    assert case.largest_gain == pytest.approx(step)


def test_a_replicate_of_the_tip_is_known_as_such():
    again = replace(run(1, name(0), 0.981), run="again", seed=43)
    case = compare(again, [BASE, KEPT, LOST])
    assert case.is_tip
    assert case.before == BASE.run
    assert [item.run.run for item in case.siblings] == ["r1"]
    assert case.belief.n(name(1)) == 2
    assert case.belief.seeds(name(1)) == (42, 43)


def test_code_that_does_the_same_is_the_same_configuration():
    same = replace(run(7, name(1), 0.981), fingerprint=KEPT.run.fingerprint, seed=43)
    case = compare(same, [BASE, KEPT])
    assert case.key == name(1)
    assert case.is_tip


def test_other_branches_lend_their_scores_and_keep_their_decisions():
    elsewhere = judged(replace(run(5, name(0), 0.97), branch="autoresearch/other"), 4, "keep")
    case = compare(run(3, name(1), 0.979), [BASE, KEPT, elsewhere])
    assert name(5) in case.belief
    assert case.tip == KEPT.run
    assert [item.run.run for item in case.past] == ["r0", "r1"]


def test_other_contracts_lend_nothing():
    foreign = judged(replace(run(5, name(0), 0.97), contract="pocket-0"), 4, "keep")
    case = compare(run(3, name(1), 0.979), [BASE, KEPT, foreign])
    assert name(5) not in case.belief
    assert case.tip == KEPT.run


def test_a_run_that_is_judged_again_counts_once():
    case = compare(LOST.run, [BASE, KEPT, LOST])
    assert case.belief.n(name(2)) == 1
    assert [item.run.run for item in case.past] == ["r0", "r1"]


def test_a_tip_that_a_person_kept_without_a_score_is_passed_over():
    crashed = judged(run(2, name(1), None), 3, "keep")
    case = compare(run(3, name(1), 0.979), [BASE, KEPT, crashed])
    assert case.tip == crashed.run
    assert case.incumbent == KEPT.run
