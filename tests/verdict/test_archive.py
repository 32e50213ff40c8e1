"""The archive: niches by what was measured, and elites that no order of arrival shows in."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.core.records import Estimate
from research.verdict.archive import elites_of, niche_of
from research.verdict.models import Configuration
from tests.support.histories import METRICS, run


def configuration(name: str, mean: float | None, niche: str = "a", decision: str = "discard") -> Configuration:
    value = Estimate(mean, mean, mean, 1) if mean is not None else None
    return Configuration(
        key=name, commit=name, parent="", subject=f"exp: {name}", emitter=None, category="optimizer", delta={},
        statements_added=0, statements_removed=0, estimate=value, gain=None, runs=(f"run-{name}",),
        decision=decision, by_person=False, device=None, niche=niche, failure="", failure_kind=None, finished_utc="",
        surprise=0.0, suspect="", change=None, p_better=None, seeds=(42,),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "niche"),
    [
        (("optimizer", 24.9, 19.9, 1, 1), "optimizer/tiny/lean/growing"),
        (("attention", 25.0, 20.0, 1, 2), "attention/small/balanced/shrinking"),
        (("batch", 75.0, 40.0, 2, 1), "batch/medium/heavy/growing"),
        (("batch", 150.0, 60.0, 0, 0), "batch/large/extreme/growing"),
        (("", None, None, 0, 3), "unknown/unknown/unknown/shrinking"),
    ],
)
def test_niches(values: tuple[str, float | None, float | None, int, int], niche: str):
    category, params_m, peak_gb, added, removed = values
    metrics = replace(METRICS, num_params_M=params_m) if params_m else None
    peak_vram_mb = peak_gb * 1024 if peak_gb else None
    change = {"category": category, "statements_added": added, "statements_removed": removed}
    one = run(1, "", metrics=metrics, peak_vram_mb=peak_vram_mb, **change)
    assert niche_of(one, one, False) == niche


def test_lines_tell_the_shape_where_nobody_compared_the_trees():
    bare = run(1, "", additions=1, deletions=9)
    assert niche_of(bare, bare, False) == "unknown/small/balanced/shrinking"
    assert niche_of(replace(bare, category="batch", statements_added=2), bare, False) == "batch/small/balanced/growing"
    assert niche_of(bare, bare, True) == "baseline/small/balanced/growing"


def test_the_elite_is_the_lowest_of_its_niche_and_others_are_counted():
    known = [configuration("x", 0.99), configuration("y", 0.98), configuration("w", 0.97, niche="b")]
    found = elites_of(known)
    assert [(one.niche, one.commit, one.count, one.run) for one in found] == [
        ("b", "w", 1, "run-w"),
        ("a", "y", 2, "run-y"),
    ]


def test_what_has_no_score_or_is_suspected_of_luck_is_no_elite():
    known = [configuration("x", 0.99), configuration("y", 0.5, decision="investigate"), configuration("z", None)]
    assert [(one.commit, one.count) for one in elites_of(known)] == [("x", 1)]


CONFIGURATIONS = st.builds(
    configuration,
    st.text("abcdefgh", min_size=1, max_size=2),
    st.floats(0.5, 1.5).map(lambda x: round(x, 2)),
    st.sampled_from(["a", "b", "c"]),
)


@given(st.lists(CONFIGURATIONS, unique_by=lambda one: one.key, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_independent_results_does_not_show(known: list[Configuration], rng: random.Random):
    shuffled = list(known)
    rng.shuffle(shuffled)
    assert elites_of(known) == elites_of(shuffled)
