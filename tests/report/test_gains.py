"""One difference for one change, wherever it is shown: its verdicts' estimate, and the sum of them for a line."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import pytest
from research.verdict.gains import against_baseline, apart, gains_of
from research.verdict.recall import recall

from research.core.records import Decision, Estimate, Judged, Run, Verdict
from research.report.data import Material, PageData, page_data
from research.report.page import render
from tests.support.histories import BRANCH, CONTRACT, name, run

NOW = "2026-03-02T06:00:00Z"


def said(
    of: Run, decision: Decision, incumbent: int, change: float | None = None, reach: float = 0.001, first: bool = False
) -> Verdict:
    """A verdict against a commit, with what it believes of the difference."""
    gap = Estimate(change, change - reach, change + reach, 3) if change is not None else None
    return Verdict(of.run, decision, "evidence", "so", NOW, first, name(incumbent), 0.9, None, gap)


def again(of: Run, number: int, val_bpb: float) -> Run:
    """Another run of a configuration."""
    return run(number, of.parent, val_bpb, commit=of.commit, fingerprint=of.fingerprint, subject=of.subject, seed=43)


def page_of(runs: Sequence[Run], verdicts: Sequence[Verdict]) -> PageData:
    """What the page says of them."""
    order = {verdict.run: (place, verdict) for place, verdict in enumerate(verdicts, 1)}
    history = [Judged(one, order[one.run][1], order[one.run][0]) for one in runs]
    return page_data(Material(history, verdicts, BRANCH, NOW))


def test_a_lucky_change_has_one_gain_on_the_whole_page():
    """Its one run lies 0.0100 below the baseline, of which its verdict credits 0.0062."""
    base, lucky = run(0, val_bpb=0.99), run(1, name(0), 0.98)
    data = page_of([base, lucky], [said(base, "keep", 9, first=True), said(lucky, "keep", 0, -0.0062, 0.004)])
    (one,) = data.unconfirmed
    assert data.headline.gain == one.gain == one.against_baseline
    assert data.emitters[0].earned_bpb == pytest.approx(0.0062)
    assert [step.gain.mean for step in data.steps if step.gain] == [-0.0062]
    page = render(data)
    assert page.count("−0.0062") >= 4
    assert "−0.0100" not in page
    words = re.sub(r"<[^>]*>", " ", page)
    assert "val_bpb as measured: 0.9800 (once); the baseline 0.9900 (once)." in " ".join(words.split())


def test_the_best_is_the_sum_of_its_steps():
    runs = [run(0, val_bpb=0.99), run(1, name(0), 0.98), run(2, name(1), 0.97)]
    verdicts = [
        said(runs[0], "keep", 9, first=True),
        said(runs[1], "keep", 0, -0.006),
        said(runs[2], "keep", 1, -0.004),
    ]
    data = page_of(runs, verdicts)
    gain = data.headline.gain
    assert gain is not None
    assert gain.mean == pytest.approx(-0.010)
    assert gain.mean == pytest.approx(-sum(line.earned_bpb for line in data.emitters))
    assert (gain.high - gain.low) / 2 == pytest.approx(math.hypot(0.001, 0.001))


def test_a_sum_is_no_less_sure_than_its_two_ends():
    runs = [run(number, name(number - 1) if number else "", 0.99 - number / 100) for number in range(4)]
    verdicts = [said(one, "keep", n - 1, -0.004, 0.05) if n else said(one, "keep", 9) for n, one in enumerate(runs)]
    verdicts[0] = said(runs[0], "keep", 9, first=True)
    history = [Judged(one, verdict, place) for place, (one, verdict) in enumerate(zip(runs, verdicts, strict=True), 1)]
    memory = recall(history, BRANCH, CONTRACT)
    tip, base = memory.known[name(3)], memory.known[name(0)]
    gain, ends = against_baseline(tip, memory, gains_of(history, verdicts)), apart(tip.estimate, base.estimate)
    assert gain is not None
    assert ends is not None
    assert gain.mean == pytest.approx(-0.012)
    assert gain.high - gain.low == pytest.approx(ends.high - ends.low)
    assert against_baseline(base, memory, gains_of(history, verdicts)) is None


def test_later_runs_of_a_step_count_and_what_is_no_step_does_not():
    base, one, two = run(0, val_bpb=0.99), run(1, name(0), 0.98), run(2, name(1), 0.97)
    second, third, crash = again(one, 3, 0.981), again(one, 4, 0.981), again(one, 5, 0.0)
    runs = [base, one, second, two, third, crash]
    verdicts = [
        said(base, "keep", 9, first=True),
        said(one, "replicate", 0, -0.006),
        said(second, "keep", 0, -0.005),
        said(again(one, 3, 0.981), "keep", 1, -0.0045),  # measured again while it stands, against what stood before
        said(two, "keep", 1, -0.003),
        said(third, "discard", 2, 0.009),  # against what came after it: no step that led to it
        said(crash, "discard", 2),
    ]
    found = gains_of([Judged(each) for each in runs], verdicts)
    assert {key: (gain.against, gain.change.mean) for key, gain in found.items()} == {
        name(1): (name(0), -0.0045),
        name(2): (name(1), -0.003),
    }


@pytest.mark.parametrize(("score", "said_so"), [(0.9899, False), (0.9901, True)])
def test_that_nothing_was_better_is_said_where_it_is_true(score: float, said_so: bool):
    base, one = run(0, val_bpb=0.99), run(1, name(0), score)
    page = render(page_of([base, one], [said(base, "keep", 9, first=True), said(one, "discard", 0, 0.0001)]))
    assert ("Nothing beat the best so far, not even for a moment." in page) == said_so
    assert ("Run #2 scored better than the best of the time" in page) == (not said_so)
