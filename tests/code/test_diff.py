"""Differences of two train.py: what moved, what it cost, and which kind of change it is."""

from __future__ import annotations

import pytest

from research.code.constants import number
from research.code.diff import NO_CHANGE, change_between, direction
from tests.support.change_cases import BASES, CASES, HELD_OUT, Case

LAB = (BASES / "lab.txt").read_text()


@pytest.mark.parametrize("held_out", [False, True], ids=["tuned on", "held out"])
def test_nine_of_ten_kinds_are_right(held_out: bool, capsys: pytest.CaptureFixture[str]):
    cases = [case for case in CASES if (case.name in HELD_OUT) == held_out]
    misses = [(case, found) for case in cases if (found := change_between(*case.texts()).category) != case.kind]
    with capsys.disabled():
        kind = "held out" if held_out else "tuned on"
        print(f"\nkinds of change, {kind}: {len(cases) - len(misses)} of {len(cases)} right")
        for case, found in misses:
            print(f"  missed: {case.base}: {case.name} is {case.kind}, called {found}")
    assert len(CASES) == 60
    assert len(misses) <= len(cases) // 10


def test_constants_are_read_with_conditions():
    found = change_between(LAB, LAB.replace("DEPTH = 9 if OFFICIAL else 4", "DEPTH = 10 if OFFICIAL else 4"))
    assert found.delta == {"DEPTH": "9 if OFFICIAL else 4 -> 10 if OFFICIAL else 4"}
    assert (found.statements_added, found.statements_removed, found.category) == (1, 1, "architecture")


def test_layout_comments_and_docstrings_are_no_change():
    child = LAB.replace("MLP_RATIO = 4", "MLP_RATIO = (\n    4\n)  # four").replace(
        '"""Trains a small', '"""Trains some'
    )
    assert child != LAB
    assert change_between(LAB, child) == NO_CHANGE


def test_a_seed_is_no_change():
    assert change_between("SEED = 42\nseed(1)\n", "SEED = 43\nseed(2)\n") == NO_CHANGE
    for seed in ("SEED + 1", "7", "prepare.SEED", "2 * (SEED - 1)"):
        assert change_between("manual_seed(SEED)\n", f"manual_seed({seed})\n") == NO_CHANGE, seed
    assert change_between("manual_seed(SEED)\n", "manual_seed(best(SEED))\n") != NO_CHANGE


def test_moved_code_costs_nothing():
    parent = "def a():\n    x = 1\n    return x\n\n\ndef b():\n    return 2\n"
    child = "def b():\n    return 2\n\n\ndef a():\n    x = 1\n    return x\n"
    assert change_between(parent, child) == NO_CHANGE
    wrapped = "def a():\n    if True:\n        x = 1\n    return x\n\n\ndef b():\n    return 2\n"
    found = change_between(parent, wrapped)
    assert (found.statements_added, found.statements_removed, found.delta) == (1, 0, {"a": "changed"})


def test_an_order_that_changed_is_a_change_without_cost():
    found = change_between("def rotary(q):\n    q = 1\n    k = 2\n", "def rotary(q):\n    k = 2\n    q = 1\n")
    assert (found.statements_added, found.statements_removed) == (0, 0)
    assert (found.delta, found.category) == ({"rotary": "changed"}, "attention")


def test_functions_come_and_go():
    found = change_between("def f():\n    pass\n", "class A:\n    def g(self):\n        return 1\n")
    assert found.delta == {"A.g": "added", "f": "removed"}


@pytest.mark.parametrize(
    ("parent", "child", "name"),
    [
        ("class C:\n    n: int = 1\n", "class C:\n    n: int = 2\n", "C.n"),
        ("def f(a, lr=1):\n    return a\n", "def f(a, lr=2):\n    return a\n", "f.lr"),
        ("def f(a, *, wd=1):\n    return a\n", "def f(a, *, wd=2):\n    return a\n", "f.wd"),
        ("def f():\n    x = 1\n", "def f():\n    x = 2\n", "f.x"),
        ("def f():\n    g(eps=1)\n", "def f():\n    g(eps=2)\n", "f.eps"),
        ("def f():\n    g(1)\n", "def f():\n    g(2)\n", "f.g"),
        ("def f():\n    return {'beta': 1}\n", "def f():\n    return {'beta': 2}\n", "f.beta"),
    ],
)
def test_literals_have_sensible_names(parent: str, child: str, name: str):
    assert change_between(parent, child).delta[name] == "1 -> 2"


def test_what_does_not_parse_is_an_error():
    with pytest.raises(SyntaxError):
        change_between("x = 1", "x = = 1")


@pytest.mark.parametrize(
    ("text", "value"), [("0.04", 0.04), ("2**18", 262144.0), ("-3 * 2", -6.0), ("T // 8", None), ("9**9**9", None)]
)
def test_numbers_are_read(text: str, value: float | None):
    assert number(text) == value


@pytest.mark.parametrize(
    ("before", "after", "way"),
    [
        ("0.04", "0.05", "up"),
        ("9 if OFFICIAL else 4", "8 if OFFICIAL else 4", "down"),
        ("(0.8, 0.95)", "(0.9, 0.95)", "up"),
        ("(0.8, 0.95)", "(0.9, 0.9)", ""),
        ("'rms'", "'layer'", ""),
        ("1", "1.0", ""),
    ],
)
def test_directions(before: str, after: str, way: str):
    assert direction(before, after) == way


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.base}-{case.name}".replace(" ", "_"))
def test_a_change_undone_swaps_its_counts(case: Case):
    parent, child = case.texts()
    there, back = change_between(parent, child), change_between(child, parent)
    assert (there.statements_added, there.statements_removed) == (back.statements_removed, back.statements_added)
    assert change_between(parent, parent) == NO_CHANGE
