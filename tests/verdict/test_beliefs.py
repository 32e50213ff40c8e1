"""News flows both ways along a lineage: exactly where effects are normal, robustly where they are not."""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from research.verdict.beliefs import Beliefs
from research.verdict.noise import Prior

from research.core.settings import SETTINGS
from research.verdict.effects import PARTS, Effects, noise_sd
from research.verdict.evidence import Evidence

SD = 0.001
"""Noise of one run in these tests, in bpb; replicates say the same as the prior, which outweighs them."""
WHOLE = replace(SETTINGS, heard_trust=1.0)
"""Children taken at their word, as a joint posterior does."""


def evidence_of(runs: Mapping[Hashable, list[float]]) -> Evidence:
    evidence = Evidence(Prior(SD, 1e3))
    for config, values in runs.items():
        for value in values:
            evidence.add(config, value)
    return evidence


def normal_effects(sd: float) -> Effects:
    """Effects that are normal around zero: one half better, one half worse, on one of the known scales."""
    scale = min((part.sd for part in PARTS if part.side), key=lambda each: abs(each - sd))
    return Effects([0.5 if part.side and part.sd == scale else 0.0 for part in PARTS])


def dense(evidence: Evidence, parents: Mapping[Hashable, Hashable], effect_sd: float) -> dict[Hashable, tuple]:
    """Mean and sd of every value from the joint normal posterior, its precision matrix inverted by hand."""
    names, sd = list(evidence), noise_sd(evidence)
    size = len(names)
    rows = [[0.0] * (2 * size) for _ in names]
    pull = [evidence.n(name) * evidence.mean(name) / sd**2 for name in names]
    for i, name in enumerate(names):
        rows[i][i] += evidence.n(name) / sd**2
        rows[i][size + i] = 1.0
        if name in parents:
            j, precision = names.index(parents[name]), 1.0 / effect_sd**2
            for a, b in ((i, i), (j, j)):
                rows[a][b] += precision
            for a, b in ((i, j), (j, i)):
                rows[a][b] -= precision
    for i in range(size):
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for j in range(size):
            if j != i:
                rows[j] = [value - rows[j][i] * own for value, own in zip(rows[j], rows[i], strict=True)]
    inverse = [row[size:] for row in rows]
    return {
        name: (sum(a * b for a, b in zip(inverse[i], pull, strict=True)), math.sqrt(inverse[i][i]))
        for i, name in enumerate(names)
    }


@given(st.integers(0, 10_000), st.integers(1, 14))
def test_with_normal_effects_beliefs_are_those_of_the_joint_posterior(seed: int, children: int):
    rng = random.Random(seed)
    effects = normal_effects(0.0016)
    scale = next(part.sd for part, weight in zip(PARTS, effects.weights, strict=True) if weight)
    true: dict[Hashable, float] = {0: 1.0}
    parents: dict[Hashable, Hashable] = {}
    for config in range(1, children + 1):
        parents[config] = rng.randrange(config)
        true[config] = true[parents[config]] + rng.gauss(0.0, scale)
    evidence = evidence_of({c: [v + rng.gauss(0.0, SD) for _ in range(rng.choice((1, 1, 3)))] for c, v in true.items()})
    beliefs = Beliefs(evidence, parents, effects, parents, WHOLE)
    for config, (mean, sd) in dense(evidence, parents, scale).items():
        assert beliefs.value(config).mean == pytest.approx(mean, abs=0.02 * SD)
        assert beliefs.value(config).sd == pytest.approx(sd, rel=0.02)


def test_without_children_a_value_follows_from_its_own_line():
    runs: dict[Hashable, list[float]] = {"a": [0.99, 0.9904], "b": [0.987], "c": [0.9862]}
    evidence, parents, effects = evidence_of(runs), {"b": "a", "c": "b"}, Effects()
    deaf, heard = Beliefs(evidence, parents, effects), Beliefs(evidence, parents, effects, parents)
    assert deaf.value("a").mean == pytest.approx(0.9902)
    assert heard.value("c") == deaf.value("c")
    assert heard.value("b", "c") == deaf.value("b")
    assert heard.seen("c") == deaf.seen("c") == (pytest.approx(0.9862), pytest.approx(SD, rel=0.01))
    gap = deaf.ahead("c", "a")
    assert gap is not None
    assert gap.mean == pytest.approx(deaf.value("c").mean - deaf.value("a").mean)
    assert gap.sd <= math.hypot(deaf.value("c").sd, deaf.value("a").sd)
    assert deaf.ahead("a", "c") is None


def lucky(children: list[float]) -> tuple[Beliefs, dict[Hashable, Hashable]]:
    """An incumbent that one run put at 1.000, made from one at 1.003, with children that read as told."""
    runs: dict[Hashable, list[float]] = {"before": [1.003] * 3, "tip": [1.0]}
    runs |= {f"child {index}": [value] for index, value in enumerate(children)}
    parents: dict[Hashable, Hashable] = {name: "tip" for name in runs if name not in ("before", "tip")}
    parents["tip"] = "before"
    order: list[Hashable] = ["tip", *(name for name in parents if name != "tip")]
    return Beliefs(evidence_of(runs), parents, Effects(), order), parents


def test_children_that_all_read_worse_by_as_much_say_that_their_parent_was_lucky():
    rng = random.Random(0)
    alone, _ = lucky([])
    denied, _ = lucky([1.004 + rng.gauss(0.0, SD) for _ in range(25)])
    assert denied.value("tip").mean > alone.value("tip").mean + 0.5 * SD
    assert denied.value("tip").sd < alone.value("tip").sd
    apart = denied.ahead("tip", "before")
    unheard = alone.ahead("tip", "before")
    assert apart is not None
    assert unheard is not None
    assert apart.mean > unheard.mean


def test_one_disaster_says_next_to_nothing():
    alone, _ = lucky([])
    for value in (1.1, 1.5, 9.0):
        shifted = lucky([value])[0].value("tip")
        assert shifted.mean == pytest.approx(alone.value("tip").mean, abs=0.05 * SD)
        assert shifted.sd == pytest.approx(alone.value("tip").sd, rel=0.05)


@given(st.lists(st.floats(0.98, 1.2), min_size=1, max_size=8))
def test_whoever_is_weighed_against_its_parent_is_not_heard_by_it(children: list[float]):
    every, parents = lucky(children)
    others, _ = lucky(children[:-1])
    last = f"child {len(children) - 1}"
    assert every.value("tip", last).mean == pytest.approx(others.value("tip").mean, abs=1e-9)
    assert every.gap(last)[0] == pytest.approx(children[-1] - others.value("tip").mean, abs=1e-9)
    for config in parents:
        every.hear(config)  # said twice, it is one word still
    assert every.value("tip", last).mean == pytest.approx(others.value("tip").mean, abs=1e-3 * SD)


def test_a_configuration_said_to_descend_from_itself_is_believed_all_the_same():
    evidence = evidence_of({"a": [1.0], "b": [1.001]})
    for parents in ({"a": "b", "b": "a"}, {"a": "a"}):
        beliefs = Beliefs(evidence, parents, Effects(), parents)
        assert beliefs.value("a").mean == pytest.approx(1.0, abs=SD)
        assert beliefs.ahead("a", "nobody") is None
