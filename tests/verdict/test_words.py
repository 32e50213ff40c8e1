"""The summary in words: a lower val_bpb looks better, estimates are called so, and the baseline is no change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from research.core.records import Estimate, Failure, Judged, Plan
from research.search.emitters.base import format_gain
from research.verdict.digest import digest_of
from research.verdict.memory import recall
from research.verdict.models import HABIT
from research.verdict.summary import ESTIMATED, as_text, plan_line, rows
from tests.support.histories import BRANCH, CONTRACT, judged, name, run


def summary(history: Sequence[Judged]) -> str:
    """The text of a history."""
    digest = digest_of(recall(history, BRANCH, CONTRACT))
    if digest.change:
        digest = replace(digest, change=Estimate(-0.08, -0.1, -0.06, 2))
    return as_text(rows(digest, None, ()))


def test_better_is_said_in_words_and_the_baseline_is_no_kept_change():
    text = summary([judged(run(0), 1, "keep", baseline=True), judged(run(1, name(0), 0.9), 2, "keep")])
    assert "Change:      -0.080000 [-0.100000, -0.060000] against the baseline; below zero is better" in text
    assert "+0.0" not in text
    assert "2 with a result, 2 scored; 1 change kept; 0 changes tried since the last one kept" in text
    assert text.count(ESTIMATED) == 1
    (best,) = [line for line in text.splitlines() if line.startswith("Best:")]
    assert "] n=1 @" in best


def test_ideas_stand_beside_elites_and_near_misses_in_quotation_marks():
    losers = [judged(run(n, name(0), 0.9895 + n / 1e4), n + 1) for n in (1, 2)]
    crash = judged(run(3, name(0), None, failure=Failure("assertion", "AssertionError: now push", "")), 4)
    lines = summary([judged(run(0), 1, "keep", baseline=True), *losers, crash]).splitlines()
    (near,) = [n for n, line in enumerate(lines) if line.startswith("Near misses: ")]
    assert [line.split(" @ ")[1] for line in lines[near : near + 2]] == ['0000002 "idea 2"', '0000001 "idea 1"']
    assert 'No-fly:      1x "AssertionError: now push"' in lines
    assert any(" @ 0000001 " in line and line.endswith(' "idea 1"') for line in lines[:near])


def test_a_pending_plan_says_what_it_expects():
    plan = Plan("p", "", "simplifier", "batch", name(0), "experiment", "why", details={"predicted": "flat"})
    assert plan_line(plan) == "simplifier on batch from 0000000, predicted flat: why"


def test_a_baseline_alone_is_what_was_measured():
    text = summary([judged(run(0), 1, "keep", baseline=True)])
    assert "0 changes kept; 0 changes tried since the baseline" in text
    (best,) = [line for line in text.splitlines() if line.startswith("Best:")]
    assert best.startswith("Best:        0.990000 [")
    assert "Change" not in text


def test_the_three_parts_of_the_noise_are_told_apart():
    history = [judged(run(0), 1, "keep", baseline=True)]
    for number, (seed, value) in enumerate([(42, 0.9903), (43, 0.986), (43, 0.9862)], 2):
        again = replace(run(0, val_bpb=value), run=f"again{number}", seed=seed)
        history.append(judged(again, number, "keep"))
    (noise,) = [line for line in summary(history).splitlines() if line.startswith("Noise:")]
    sds = dict(re.findall(r"(0\.\d+) of (repeats|seeds|change x seed)", noise))
    assert [*sds.values()] == ["repeats", "seeds", "change x seed"]
    repeat, seed, _ = (float(sd) for sd in sds)
    assert repeat < 0.001 < seed


def test_what_loses_raises_val_bpb():
    change: dict[str, object] = {"delta": {"ROPE_BASE": "1 -> 2"}}
    history = [judged(run(0), 1, "keep", baseline=True)]
    history += [judged(run(n, name(0), 0.995 + n * 1e-5, **change), n + 1) for n in range(1, 5)]
    history += [judged(run(n, name(0), None), n + 1) for n in range(5, 8)]
    lines = summary(history).splitlines()
    (loses,) = [line for line in lines if "Raising ROPE_BASE loses" in line]
    assert re.search(r"\(change in val_bpb \+0\.00\d+ \[\+0\.00\d+, \+0\.00\d+\], below zero is better, n=4\)", loses)
    (habit,) = [line for line in lines if HABIT in line]
    assert "(share of crashes 0.42 [" in habit


def test_an_agent_reads_the_same_sign():
    memory = recall([judged(run(0), 1, "keep", baseline=True), judged(run(1, name(0), 1.0444), 2)], BRANCH, CONTRACT)
    words = format_gain(memory.known[name(1)].gain)
    assert re.match(r"change in val_bpb \+0\.05\d\d \[\+0\.0", words)
    assert format_gain(None) == "change in val_bpb unknown"
