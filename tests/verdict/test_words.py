"""The summary in words: a lower val_bpb looks better, beliefs are called so, and the baseline is no change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from research.verdict.recall import recall
from research.verdict.summary_cache import digest_of
from research.verdict.summary_text import BELIEVED, rows

from research.core.records import Estimate, Judged
from research.search.emitters.text import format_gain
from research.verdict.models import HABIT
from research.verdict.summary_rows import as_text
from tests.support.histories import BRANCH, CONTRACT, judged, name, run


def summary(history: Sequence[Judged]) -> str:
    """The text of a history."""
    short = digest_of(recall(history, BRANCH, CONTRACT))
    return as_text(rows(replace(short, change=Estimate(-0.08, -0.1, -0.06, 2)), None, ()))


def test_better_is_said_in_words_and_the_baseline_is_no_kept_change():
    text = summary([judged(run(0), 1, "keep", baseline=True), judged(run(1, name(0), 0.9), 2, "keep")])
    assert (
        "Change:      -0.080000 [-0.100000, -0.060000] against the baseline, as verdicts believe; - is better" in text
    )
    assert "+0.0" not in text
    assert "2 recorded, 2 scored; 1 change kept; 0 configurations since the last" in text
    assert text.count(BELIEVED) == 1
    (best,) = [line for line in text.splitlines() if line.startswith("Best:")]
    assert "] believed n=1 @" in best


def test_a_baseline_alone_is_what_was_measured():
    text = summary([judged(run(0), 1, "keep", baseline=True)])
    assert "0 changes kept" in text
    (best,) = [line for line in text.splitlines() if line.startswith("Best:")]
    assert "believed" not in best
    assert "Change" not in text


def test_what_loses_raises_val_bpb():
    change: dict[str, object] = {"delta": {"ROPE_BASE": "1 -> 2"}}
    history = [judged(run(0), 1, "keep", baseline=True)]
    history += [judged(run(n, name(0), 0.995 + n * 1e-5, **change), n + 1) for n in range(1, 5)]
    history += [judged(run(n, name(0), None), n + 1) for n in range(5, 8)]
    lines = summary(history).splitlines()
    (loses,) = [line for line in lines if "Raising ROPE_BASE loses" in line]
    assert "(change in val_bpb +0.005025 [+0.00" in loses
    (habit,) = [line for line in lines if HABIT in line]
    assert "(share of crashes 0.42 [" in habit


def test_an_agent_reads_the_same_sign():
    memory = recall([judged(run(0), 1, "keep", baseline=True), judged(run(1, name(0), 1.0444), 2)], BRANCH, CONTRACT)
    words = format_gain(memory.known[name(1)].gain)
    assert words.startswith("change in val_bpb +0.0544 [+0.05")
    assert format_gain(None) == "change in val_bpb unknown"
