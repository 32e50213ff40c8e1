"""From records to scores: what counts, which configuration it is of, and under which condition it ran."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from research.core.records import Run
from research.verdict.evidence import (
    INITIAL_VALUES,
    Keys,
    belief_of,
    is_evidence,
    scores_of,
)
from research.verdict.memory import recall
from research.verdict.noise import OFFICIAL, POCKET
from tests.support import histories
from tests.support.histories import name, run


def conditions(*runs: Run) -> list[tuple[object, int, str, str]]:
    return [(one.config, *one.condition) for one in scores_of(runs, Keys(runs))]


def with_values(of: Run, **hashes: str) -> Run:
    return replace(of, facts={**of.facts, INITIAL_VALUES: json.dumps(hashes)})


@pytest.mark.parametrize(
    "more",
    [{"outcome": "crash", "val_bpb": None}, {"suspect": ("the log says 0.6",)}, {"origin": "import"},
     {"outcome": "timeout"}],
)  # fmt: skip
def test_what_is_no_evidence(more: dict[str, object]):
    good = run(0)
    bad = replace(run(1, name(0), 0.5), **more)
    assert is_evidence(good)
    assert not is_evidence(bad)
    assert [one.config for one in scores_of([good, bad], Keys([good, bad]))] == [name(0)]


def test_two_commits_that_do_the_same_are_one_configuration():
    first = run(0)
    second = replace(run(1, name(0), 0.991), fingerprint=first.fingerprint)
    child = run(2, name(1), 0.985)
    scores = scores_of([first, second, child], Keys([first, second, child]))
    assert [one.config for one in scores] == [name(0), name(0), name(2)]
    assert [one.parent for one in scores] == [None, None, name(0)]  # none is its own parent


def test_a_commit_without_a_fingerprint_is_named_by_itself_or_by_another_run_of_it():
    bare = replace(run(1), fingerprint="")
    assert Keys([bare]).of(bare) == name(1)
    known = replace(bare, run="r2", fingerprint="f")
    assert Keys([bare, known]).of(bare) == "f"
    assert Keys([]).of(replace(bare, commit="")) == "r1"


def test_a_machine_is_its_card_else_its_kind_of_device():
    kinds = [replace(run(n), device=f"NVIDIA H{n}00") for n in (1, 2)]
    assert [machine for _, _, machine, _ in conditions(*kinds)] == ["NVIDIA H100", "NVIDIA H200"]
    cards = [replace(run(n), facts={"gpu_uuid": f"card{n}"}) for n in (0, 1)]
    assert [machine for _, _, machine, _ in conditions(*cards)] == ["card0", "card1"]


def test_who_keeps_the_initial_values_of_its_parent_is_of_its_family():
    base = with_values(run(0), a="1", b="2", c="3")
    added = with_values(run(1, name(0)), a="1", b="2", c="3", more="4")
    other = with_values(run(2, name(1)), a="9", b="8", c="7", more="6")
    below = with_values(run(3, name(2)), a="9", b="8", c="7", more="6")
    unknown = run(4, name(3))
    families = [family for *_, family in conditions(base, added, other, below, unknown)]
    assert families == ["", "", name(2), name(2), name(2)]


def test_families_need_no_order_of_runs():
    child, base = with_values(run(1, name(0)), a="9"), with_values(run(0), a="1")
    assert {config: family for config, _, _, family in conditions(child, base)} == {name(0): "", name(1): name(1)}
    in_a_circle = [replace(run(n, name(1 - n)), facts={}) for n in (0, 1)]
    assert [family for *_, family in conditions(*in_a_circle)] == ["", ""]


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null"])
def test_hashes_that_cannot_be_read_count_as_none(text: str):
    odd = replace(run(1, name(0)), facts={INITIAL_VALUES: text})
    assert [family for *_, family in conditions(run(0), odd)] == ["", ""]


@pytest.mark.parametrize(
    ("contract", "device", "prior"),
    [("official-0", "NVIDIA H100", OFFICIAL), ("pocket-0", "Apple M2", POCKET), ("pocket-0", "NVIDIA H100", POCKET),
     ("other-0", "cpu", POCKET), ("other-0", "NVIDIA H100", OFFICIAL), ("official-0", "cpu", OFFICIAL)],
)  # fmt: skip
def test_the_prior_is_that_of_the_profile(contract: str, device: str, prior: object):
    runs = [replace(run(0), contract=contract, device=device)]
    assert belief_of(runs, Keys(runs)).prior is prior


def test_branches_share_scores_and_contracts_do_not():
    here = histories.judged(run(0), 1)
    elsewhere = histories.judged(replace(run(1, name(0), 0.98), branch="autoresearch/other"), 2)
    foreign = histories.judged(replace(run(2, name(0), 0.98), contract="pocket-0"), 3)
    known = recall([here, elsewhere, foreign], histories.BRANCH, histories.CONTRACT).belief
    assert known.configs == (name(0), name(1))
