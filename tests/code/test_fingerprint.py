"""The identity of a train.py, and the values of its constants."""

from __future__ import annotations

import ast
import gc
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from research.code.constants import UNKNOWN, evaluate, evaluate_constants
from research.code.fingerprint import fingerprint
from research.code.syntax_tree import parse


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1  # a\n", "x=1\n"),
        ('"""Doc."""\ndef f():\n    "doc"\n    return 1\n', "def f():\n    return 1\n"),
        ("torch.manual_seed(42)\n", "torch.manual_seed(1337)\n"),
        ("SEED = 42\n", "SEED = 7\n"),
        ('S = os.environ.get("AUTORESEARCH_SEED", "42")\n', 'S = os.environ.get("AUTORESEARCH_SEED", "1")\n'),
        ("f(seed=1)\n", "f(seed=2)\n"),
    ],
)
def test_comments_layout_docstrings_and_seeds_are_left_out(one: str, other: str):
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("LR = 0.1\n", "LR = 0.2\n"),
        ("x = 1\n", "x = 1.0\n"),
        ("x = 1\n", "x = True\n"),
        ("f(1)\n", "f(2)\n"),
        ("speed = 1\n", "speed = 2\n"),
    ],
)
def test_everything_else_counts(one: str, other: str):
    assert fingerprint(one) != fingerprint(other)


def test_a_fingerprint_is_the_same_on_every_machine_and_for_ever():
    """Repeats are found by comparing with the fingerprints of runs that were recorded long ago."""
    text = 'import a\nSEED = 3\ndef f(x, *, y=1.5):\n    "doc"\n    return [b"\\xff", None, ..., "\\ud800", -x ** y]\n'
    assert fingerprint(text) == "cbae3eee4c36b556ee8b73af26a3d4e7827f27f606102620f166dfdfb3ae2c91"


def test_threads_parse_at_the_same_moment():
    """Python 3.11 can't, where another thread goes on while garbage is collected; a night's workers would crash."""
    text = "x = " + " + ".join(f"f({number}, [a, (b, {number})])" for number in range(300))

    def wait(*_: object) -> None:
        time.sleep(0.0001)

    before = gc.get_threshold()
    gc.callbacks.append(wait)
    gc.set_threshold(200)
    try:
        with ThreadPoolExecutor(4) as pool:
            trees = list(pool.map(parse, [text] * 20))
    finally:
        gc.callbacks.remove(wait)
        gc.set_threshold(*before)
    assert [len(tree.body) for tree in trees] == [1] * 20


def test_constants_are_evaluated_as_far_as_they_can_be():
    known = {"PROFILE.name": "pocket", "T": 256}
    lines = ("A = 1", "B: float = -2.5", "C = 9 if PROFILE.name == 'official' else A + 1", "D = (1, A * 3)", "E = f(1)")
    found = evaluate_constants(parse("\n".join((*lines, "F = T // 8"))), known)
    assert found == {**known, "A": 1, "B": -2.5, "C": 2, "D": (1, 3), "F": 32}


@pytest.mark.parametrize("text", ["9**9**9", "1 / 0", "'a' * 10**9", "x", "x.y", "f()", "~1", "1 < 2 < 3", "[][0]"])
def test_what_is_no_constant_is_unknown(text: str):
    assert evaluate(ast.parse(text, mode="eval").body, {}) is UNKNOWN


@pytest.mark.parametrize(
    ("text", "value"),
    [("False and x", False), ("1 or x", 1), ("not 0", True), ("2 > 1", True), ("x and False", UNKNOWN)],
)
def test_a_condition_is_decided_where_python_would_not_look_further(text: str, value: object):
    assert evaluate(ast.parse(text, mode="eval").body, {}) == value
