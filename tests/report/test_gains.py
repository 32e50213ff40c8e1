"""One difference for one change, wherever it is shown: by all runs of today, against the best of the time."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from research.core.paths import LabPaths
from research.core.records import Decision, Estimate, Judged, Run, Verdict
from research.report.audit import AuditGain
from research.report.data import PageData, ShownConfiguration, emitter_totals, page_data
from research.report.page import render
from research.report.text import interval
from research.report.write import read_data
from research.runs.gpu import CARD_FACT
from research.store.open import read_store
from research.verdict.memory import against_baseline, recall
from tests.support.histories import BRANCH, CONTRACT, name, run
from tests.support.labkit import Kit

NOW = "2026-03-02T06:00:00Z"


def said(of: Run, decision: Decision, incumbent: int, change: float | None = None, first: bool = False) -> Verdict:
    """A verdict against a commit, with the difference that was estimated when it fell."""
    gap = Estimate(change, change - 0.001, change + 0.001, 3) if change is not None else None
    return Verdict(of.run, decision, "evidence", "so", NOW, first, name(incumbent), 0.9, None, gap)


def again(of: Run, number: int, val_bpb: float | None, seed: int = 43) -> Run:
    """Another run of a configuration."""
    return run(number, of.parent, val_bpb, commit=of.commit, fingerprint=of.fingerprint, subject=of.subject, seed=seed)


def judged(runs: Sequence[Run], verdicts: Sequence[Verdict]) -> list[Judged]:
    """Runs with the last of their verdicts."""
    order = {verdict.run: (place, verdict) for place, verdict in enumerate(verdicts, 1)}
    return [Judged(one, order[one.run][1], order[one.run][0]) for one in runs]


def page_of(runs: Sequence[Run], verdicts: Sequence[Verdict]) -> PageData:
    """What the page says of them."""
    return page_data(judged(runs, verdicts), BRANCH, NOW)


def of(data: PageData, number: int) -> ShownConfiguration:
    """A configuration of the page."""
    return next(one for one in data.candidates if one.known.commit == name(number))


def words_of(page: str) -> str:
    """The text of a page."""
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_a_lucky_change_has_one_gain_on_the_whole_page():
    """Its verdict credited 0.0051 of what its one run lies below the baseline; what is known today is shown."""
    base, lucky = run(0, val_bpb=0.99), run(1, name(0), 0.98)
    data = page_of([base, lucky], [said(base, "keep", 9, first=True), said(lucky, "keep", 0, -0.0051)])
    (one,) = data.kept
    gain = one.known.change
    assert data.gain == gain == one.against_baseline
    assert -0.0105 < gain.mean < -0.007
    assert emitter_totals(data.changes)[0].earned_bpb == pytest.approx(-gain.mean)
    assert [step.known.change for _, step, _ in data.steps if step.known.change] == [gain]
    page = render(data)
    assert page.count(f"−{-gain.mean:.4f}") >= 3
    assert "−0.0051" not in page.split('id="every-run"')[0]  # the rows below tell what each verdict said
    assert "measured once: probably real. It is one change:" in words_of(page)
    assert "probably real" in words_of(page)


def test_the_best_against_the_baseline_is_the_sum_of_its_steps_and_surer_than_it():
    runs = [run(number, name(number - 1) if number else "", 0.99 - number / 100) for number in range(4)]
    verdicts = [said(one, "keep", n - 1 if n else 9, first=not n) for n, one in enumerate(runs)]
    data = page_of(runs, verdicts)
    gain, steps = data.gain, [step.known.change for _, step, _ in data.steps if step.known.change]
    assert len(steps) == 3
    assert gain.mean == pytest.approx(sum(step.mean for step in steps), abs=0.0005)
    assert gain.mean == pytest.approx(-sum(line.earned_bpb for line in emitter_totals(data.changes)), abs=0.0005)
    assert gain.high - gain.low < sum(step.high - step.low for step in steps)
    memory = recall(judged(runs, verdicts), BRANCH, CONTRACT)
    assert gain == against_baseline(memory.belief, memory.known[name(3)], memory.baseline)
    assert against_baseline(memory.belief, memory.known[name(0)], memory.baseline) is None


def test_later_runs_of_a_step_count_and_it_stays_a_step_from_what_was_the_best_then():
    base, one, two = run(0, val_bpb=0.99), run(1, name(0), 0.98), run(2, name(1), 0.97)
    verdicts = [said(base, "keep", 9, first=True), said(one, "keep", 0), said(two, "keep", 1)]
    before = of(page_of([base, one, two], verdicts), 1).known
    later = [again(base, 3, 0.995), again(one, 4, 0.991), again(one, 5, None, seed=44)]
    told = [said(later[0], "discard", 2), said(later[1], "discard", 2), said(later[2], "discard", 2)]
    after = of(page_of([base, one, two, *later], [*verdicts, *told]), 1).known
    assert (before.seeds, after.seeds) == ((42,), (42, 43))
    assert after.change.n == before.change.n + 2
    assert after.change.mean > before.change.mean  # on the second seed it gained less than half of it
    assert after.change.mean < 0  # against the baseline, not against what came after it


def test_the_page_says_on_which_seeds_a_change_was_compared():
    base, one = run(0, val_bpb=0.99), run(1, name(0), 0.98)
    runs = [base, one, again(base, 2, 0.995), again(one, 3, 0.985)]
    verdicts = [said(base, "keep", 9, first=True), said(one, "replicate", 0), said(runs[2], "keep", 9)]
    data = page_of(runs, [*verdicts, said(runs[3], "keep", 0)])
    (sure,) = data.kept
    assert sure.known.seeds == (42, 43)
    assert f"{interval(sure.known.change, True)}"[:7] in render(data)
    assert "seeds 42 and 43" in words_of(render(data))


def test_a_shared_seed_cancels():
    """The seeds lie 0.02 apart; a change is the same 0.005 better on each."""
    base, one = run(0, val_bpb=0.99), run(1, name(0), 0.985)
    runs = [base, again(base, 2, 1.01), one, again(one, 3, 1.005)]
    verdicts = [said(base, "keep", 9, first=True), said(runs[1], "keep", 9), said(one, "keep", 0)]
    gain = of(page_of(runs, [*verdicts, said(runs[3], "keep", 0)]), 1).known.change
    assert gain.mean == pytest.approx(-0.005, abs=0.001)
    assert gain.high < 0


def test_the_audit_is_compared_on_the_seeds_that_both_ran_with():
    base, one = run(0, val_bpb=0.99, audit_bpb=1.0), run(1, name(0), 0.98, audit_bpb=1.09, seed=43)
    verdicts = [said(base, "keep", 9, first=True), said(one, "keep", 0)]
    assert of(page_of([base, one], verdicts), 1).audit is None
    more = run(2, "", 0.995, audit_bpb=1.1, seed=43, commit=base.commit, fingerprint=base.fingerprint)
    told = of(page_of([base, one, more], [*verdicts, said(more, "discard", 1)]), 1).audit
    assert told == AuditGain(pytest.approx(-0.01), pytest.approx(-0.015), 1)


def test_the_audit_is_compared_on_one_card_by_way_of_the_parent():
    """The second card scores 0.1 lower. The last change ran on that card only, and so did not meet the baseline."""
    base, one = run(0, val_bpb=0.99, audit_bpb=1.0), run(1, name(0), 0.98, audit_bpb=0.995)
    there = {"facts": {CARD_FACT: "GPU-2"}}
    same = run(2, "", 0.88, audit_bpb=0.895, commit=one.commit, fingerprint=one.fingerprint, **there)
    two = run(3, one.commit, 0.87, audit_bpb=0.893, **there)
    verdicts = [said(base, "keep", 9, first=True), said(one, "keep", 0), said(same, "keep", 0), said(two, "keep", 1)]
    data = page_of([base, one, same, two], verdicts)
    assert of(data, 3).audit == AuditGain(pytest.approx(-0.007), pytest.approx(-0.02), 1)
    assert "less than half of the gain is there" in words_of(render(data))


def test_review_summary_page_and_watch_say_one_gain_and_its_seeds(kit: Kit):
    kit.measure()
    kit.commit("exp: lower it", val=0.98)
    kit.measure()
    kit.research("replicate", "HEAD~1", "--seed", "43")
    kit.research("replicate", "HEAD", "--seed", "43")
    with read_store(LabPaths(kit.root)) as store:
        data = read_data(store, LabPaths(kit.root), NOW)
    gain = data.gain
    (one,) = [c for c in data.candidates if c.title == "lower it"]
    assert (one.known.change, one.known.seeds) == (gain, (42, 43))
    watch = kit.json("watch")
    assert watch["gain"]["mean"] == gain.mean
    assert watch["kept"] == kit.json("summary")["kept"] == 1
    assert watch["verdicts"][0]["seeds"] == [42, 43]
    assert "#4 compared on seeds 42 and 43" in kit.research("watch", "--once").out
    review = kit.research("last-review").out
    assert (
        f"{gain.mean:+.6f} [{gain.low:+.6f}, {gain.high:+.6f}] (2 runs against 2, discounted for luck), compared on"
        in review
    )
    assert f"{gain.mean:+.6f} [{gain.low:+.6f}, {gain.high:+.6f}]" in kit.research("summary").out
    assert "seeds 42 and 43" in words_of(render(data))


def test_summary_and_noise_say_the_same_three_standard_deviations(kit: Kit):
    kit.measure()
    kit.research("replicate", "--seed", "42")
    kit.research("replicate", "--seed", "43")
    noise = kit.json("noise")
    parts = {name: noise[name] for name in ("repeat", "seed", "interaction")}
    assert kit.json("summary")["noise"] == parts
    assert {name: one["n"] for name, one in parts.items()} == {"repeat": 1, "seed": 1, "interaction": 0}
    assert all(0 < one["low"] < one["sd"] < one["high"] for one in parts.values())
