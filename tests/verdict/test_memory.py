"""The fold of judged runs: the best, near misses, ways to fail, and conjectures that the evidence supports or did."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.core.records import PERSON, Failure, Judged
from research.core.settings import SETTINGS
from research.search.planner import results_of
from research.verdict.memory import recall
from research.verdict.models import Memory
from research.verdict.phase import PhaseInputs, phase_of
from research.verdict.summary import conjectures_shown
from tests.support.histories import BRANCH, CONTRACT, METRICS, judged, name, night, run, swapped


def recalled(history: Sequence[Judged]) -> Memory:
    return recall(history, BRANCH, CONTRACT)


def children(values: Sequence[float | None], **more: object) -> list[Judged]:
    """A baseline of 0.99 and its discarded children."""
    found = [judged(run(0), 1, "keep", baseline=True)]
    for number, value in enumerate(values, 1):
        found.append(judged(run(number, name(0), value, **more), number + 1))
    return found


def test_nothing_is_known_of_nothing():
    memory = recall([], BRANCH)
    assert (memory.runs, memory.best, memory.incumbent, memory.contract) == (0, None, None, None)
    assert memory.phase == "baseline"


def test_a_replicate_is_one_configuration_with_two_runs():
    again = dataclasses.replace(run(0), run="r1", folder="r1", seed=43, val_bpb=0.992)
    memory = recalled([judged(run(0), 1, "keep", baseline=True), judged(again, 2, "keep")])
    assert memory.best.estimate.n == 2
    assert memory.best.estimate.low < 0.991 < memory.best.estimate.high
    assert memory.best.runs == ("r0", "r1")
    assert (memory.runs, memory.kept, memory.belief.variances.noise.seed.n) == (2, 0, 1)


def test_best_is_never_what_was_not_kept():
    memory = recalled(children([0.95]))
    assert memory.best.commit == name(0)


def test_a_small_lucky_gain_shrinks_and_a_large_one_hardly():
    small = recalled(children([0.9895])).known[name(1)].estimate
    large = recalled(children([0.94])).known[name(1)].estimate
    assert small.mean > 0.9895
    assert large.mean == pytest.approx(0.94, abs=1e-3)


def test_suspect_scores_are_no_evidence():
    memory = recalled(children([0.5], suspect=("the log says 0.6",)))
    assert memory.known[name(1)].estimate is None
    assert all(elite.commit != name(1) for elite in memory.elites)
    assert f"1 result is not counted ({name(1)[:7]}: the log says 0.6)." in memory.warnings


def test_a_suspect_run_of_a_configuration_says_nothing_of_its_size():
    other = dataclasses.replace(METRICS, num_params_M=500.0)
    again = run(1, fingerprint=name(0), commit=name(0), parent="", subject="base", metrics=other, suspect=("bare log",))
    (first,) = recalled([judged(run(0), 1, "keep", baseline=True)]).elites
    (after,) = recalled([judged(run(0), 1, "keep", baseline=True), judged(again, 2)]).elites
    assert after.niche == first.niche


def test_what_is_suspected_is_no_elite_and_warned_of():
    first, (_, lucky) = run(0), children([0.5])
    lucky = dataclasses.replace(lucky, verdict=dataclasses.replace(lucky.verdict, decision="investigate"))
    memory = recalled([judged(first, 1, "keep", baseline=True), lucky])
    assert [elite.commit for elite in memory.elites] == [name(0)]
    assert any(f"research replicate {name(1)[:7]}" in text for text in memory.warnings)


def test_near_misses_are_discarded_changes_that_may_be_as_good():
    memory = recalled(children([0.9895, 1.2, None]))
    assert [one.commit for one in memory.near_misses] == [name(1)]
    assert memory.belief.p_better(name(2), name(0)) < SETTINGS.near_miss_p <= memory.belief.p_better(name(1), name(0))
    many = recalled(children([0.989] * 20))
    assert [one.commit for one in many.near_misses] == [name(n) for n in range(21 - SETTINGS.near_misses_kept, 21)]


def test_failures_are_counted_by_signature():
    memory = recalled(children([None, None, 0.992]))
    assert [(one.signature, one.count, one.commit) for one in memory.no_fly] == [
        ("RuntimeError: shape # is invalid", 2, name(2))
    ]
    assert any("habit" in one.text for one in memory.conjectures)


def test_a_conjecture_carries_its_evidence_and_is_withdrawn_when_contradicted():
    change = {"category": "attention", "delta": {"ROPE_BASE": "1 -> 2"}}
    losing = children([0.995, 0.9952, 0.9948, 0.9951], **change)
    told = [one for one in recalled(losing).conjectures if "ROPE_BASE" in one.text]
    assert [(one.text, one.n, one.withdrawn) for one in told] == [("Raising ROPE_BASE loses.", 4, False)]
    assert told[0].low < told[0].mean < told[0].high < 0
    turned = losing + [judged(run(n, name(0), 0.98 + n * 1e-4, **change), n + 1) for n in range(5, 9)]
    told = [one for one in recalled(turned).conjectures if "ROPE_BASE" in one.text]
    assert [one.withdrawn for one in told] == [True]
    assert told[0].text.startswith("Withdrawn: Raising ROPE_BASE loses")


def test_a_habit_of_failing_and_a_plateau_are_told_among_many_losers():
    losers: list[tuple[float | None, dict[str, object]]] = []
    for kind in ("attention", "batch", "optimizer", "architecture", "normalization"):
        losers += [(0.995 + 1e-4 * n, {"category": kind}) for n in range(4)]
    turned = [(0.995, {"delta": {"DEPTH": "1 -> 2"}})] * 4 + [(0.98, {"delta": {"DEPTH": "1 -> 2"}})] * 4
    history = [judged(run(0), 1, "keep", baseline=True)]
    for number, (value, more) in enumerate([*losers, (None, {}), (None, {}), *turned], 1):
        history.append(judged(run(number, name(0), value, **more), number + 1))
    memory = recalled(history)
    shown = conjectures_shown(memory)
    assert len(shown) == SETTINGS.conjectures_shown
    for word in ("habit", "plateau", "Withdrawn"):
        assert any(word in one.text for one in shown), word


def test_a_plateau_is_that_of_its_own_branch():
    losers = children([0.995] * SETTINGS.plateau_stall)
    other = dataclasses.replace(run(9, name(0), 1.5), branch="autoresearch/other")
    for history in (losers, [*losers, judged(other, 9)]):
        (plateau,) = [one for one in recalled(history).conjectures if "plateau" in one.text]
        assert (plateau.n, plateau.mean > -0.01) == (SETTINGS.plateau_stall, True)


def test_what_is_far_from_its_neighbours_is_an_anomaly():
    usual = [0.991 + 0.0001 * n for n in range(8)]
    memory = recalled(children([*usual, 0.97], category="optimizer"))
    assert [one.commit for one in memory.anomalies] == [name(9)]
    assert memory.anomalies[0].surprise > SETTINGS.anomaly_sd
    lost = recalled(children([*usual, 1.03], category="optimizer"))
    assert [one.commit for one in lost.anomalies] == [name(9)]
    assert lost.anomalies[0].surprise < -SETTINGS.anomaly_sd


def test_what_was_tried_is_found_by_constant_and_value():
    memory = recalled(children([0.991, 0.992], delta={"DEPTH": "9 -> 10"}))
    assert [(t.before, t.after, t.alone, t.known.commit) for t in memory.tried["DEPTH"]] == [
        ("9", "10", True, name(1)),
        ("9", "10", True, name(2)),
    ]
    assert memory.trends["DEPTH", "up"].n == 2


def test_one_emitter_alone_is_warned_of():
    memory = recalled(children([0.992] * 8, emitter="simplifier"))
    assert any("collapse" in text and "simplifier" in text for text in memory.warnings)


def test_other_branches_are_evidence_but_no_parents():
    other = dataclasses.replace(run(5, name(0), 0.5), branch="autoresearch/other")
    memory = recalled([*children([0.992]), judged(other, 9, "keep")])
    assert all(elite.commit != other.commit for elite in memory.elites)
    assert memory.best.commit == name(0)
    assert other.fingerprint in memory.fingerprints


@pytest.mark.parametrize(
    ("inputs", "phase"),
    [
        (PhaseInputs(0, 0, 0, 0, 0), "baseline"),
        (PhaseInputs(9, 9, 2, 0, 9), "stabilize"),
        (PhaseInputs(9, 6, 0, 0, 2), "recombine"),
        (PhaseInputs(9, 1, 0, 2, 0), "exploit"),
        (PhaseInputs(9, 5, 0, 2, 0), "explore"),
    ],
)
def test_phases(inputs: PhaseInputs, phase: str):
    assert phase_of(inputs) == phase


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_the_order_of_two_independent_runs_does_not_change_the_archive(seed: int, place: int):
    history = night(63, seed)
    one, other = history[place], history[place + 1]
    if other.run.parent == one.run.commit or one.run.commit == other.run.commit:
        return
    before, after = recalled(history), recalled(swapped(history, place))
    assert [(one.niche, one.commit, one.count) for one in before.elites] == [
        (one.niche, one.commit, one.count) for one in after.elites
    ]


def test_a_replicate_without_a_score_takes_nothing_away():
    kept = [judged(run(0), 1, "keep", baseline=True), judged(run(1, name(0), 0.98), 2, "keep")]
    crash = dataclasses.replace(run(1, name(0), None), run="r2", folder="r2", seed=43)
    doubted = dataclasses.replace(run(1, name(0), 0.5), run="r3", folder="r3", suspect=("the log says 0.6",))
    for history in (
        [*kept, judged(crash, 3)],
        [*kept, judged(doubted, 3)],
        [*kept, judged(crash, 3), judged(doubted, 4)],
    ):
        memory = recalled(history)
        assert memory.best is memory.incumbent is memory.known[name(1)]
        assert (memory.known[name(1)].decision, memory.kept) == ("keep", 1)


def test_a_person_decides_whatever_the_run_was_worth():
    """The run that they named may be a crash, or one whose score does not count."""
    open_one = judged(run(1, name(0), 0.9898), 2, "replicate")
    doubted = dataclasses.replace(run(1, name(0), 0.5), run="r2", folder="r2", suspect=("the log says 0.6",))
    by_person = judged(doubted, 4)
    by_person = dataclasses.replace(by_person, verdict=dataclasses.replace(by_person.verdict, rule=PERSON))
    history = [judged(run(0), 1, "keep", baseline=True), open_one, by_person]
    assert recalled(history).known[name(1)].decision == "discard"
    assert [decision for _, decision in results_of(history)] == ["keep", "replicate", "discard"]


def test_a_replicate_that_says_something_of_its_code_does():
    kept = [judged(run(0), 1, "keep", baseline=True), judged(run(1, name(0), 0.98), 2, "keep")]
    worse = dataclasses.replace(run(1, name(0), 0.999), run="r2", folder="r2", seed=43)
    cheat = dataclasses.replace(
        run(1, name(0), None), run="r2", folder="r2", failure=Failure("probe", "causal", "fail")
    )
    for again in (worse, cheat):
        memory = recalled([*kept, judged(again, 3)])
        assert memory.best is memory.incumbent is memory.known[name(0)]
