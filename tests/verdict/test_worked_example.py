"""docs/how-it-decides.md says what the code does: its settings, its example, its arithmetic."""

from __future__ import annotations

import re
from dataclasses import asdict
from math import sqrt
from pathlib import Path

from research.verdict.comparable import compare
from support.judgekit import Night

from research.core.settings import SETTINGS
from research.verdict.score import Facts, score

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-it-decides.md").read_text()
RUNS = (
    ("a", 0.9979, ""),
    ("a", 0.9985, ""),
    ("b", 0.9952, "a"),
    ("c", 0.9945, "b"),
    ("b", 0.9958, "a"),
    ("c", 0.9940, "b"),
    ("d", 0.9990, "c"),
)


def example() -> str:
    """The table of the page, recomputed."""
    night = Night()
    rows = ["| run | val_bpb | σ | difference as believed | P(better) | decision |", "|---|---|---|---|---|---|"]
    for commit, val_bpb, parent in RUNS:
        verdict = night.run(commit, val_bpb, parent)
        noise = compare(night.history[-1].run, night.history[:-1]).evidence.noise()
        apart, chance = "", ""
        if verdict.difference is not None and verdict.p_better is not None:
            known = verdict.difference
            apart = f"{known.mean:+.6f} [{known.low:+.6f}, {known.high:+.6f}]"
            chance = f"{verdict.p_better:.3f}"
        rows.append(f"| `{commit}` | {val_bpb:.4f} | {noise.sd:.6f} | {apart} | {chance} | {verdict.decision} |")
    rows.append(f"\nIn the end the branch stands on `{night.tip()}`, and the runs are: {', '.join(night.decisions())}.")
    return "\n".join(rows)


def test_the_example_is_what_the_code_says():
    shown = PAGE.split("<!-- example -->\n")[1].split("\n<!-- /example -->")[0]
    assert shown == example(), f"the page should say:\n{example()}"


def test_the_settings_are_those_in_use():
    known = asdict(SETTINGS)
    table = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+) \|$", PAGE, re.MULTILINE))
    assert table == {name: str(known[name]) for name in table}
    named = set(re.findall(r"`(\w+_\w+)`", PAGE))
    assert named <= known.keys()
    assert named == table.keys()


def test_the_arithmetic_by_hand():
    squares = 2 * 0.0003**2
    sd = sqrt((2 * 0.0004**2 + squares) / 3)
    for number in (f"{squares:.8f}", f"{sd:.6f}", f"{0.9952 - 0.9982:.6f}".replace("-", "−"), f"{sd * sqrt(1.5):.6f}"):
        assert number in PAGE
    night = Night()
    for commit, val_bpb, parent in RUNS[:3]:
        night.run(commit, val_bpb, parent)
    evidence = compare(night.history[-1].run, night.history[:-1]).evidence
    assert abs(evidence.noise().sd - sd) < 1e-12
    gap, error = evidence.gap("b", "a")
    assert (round(gap, 6), round(error, 6)) == (-0.003, round(sd * sqrt(1.5), 6))


def test_the_score_is_as_described():
    first = score(Facts(True, gain=0.001, stall=4, kept=True, predicted="risky", statements_added=1))
    assert list(first.values()) == [0.1, 0.65, 0.35, 0.2, 0.02, 0.0, 1.28]
    assert score(Facts(True, statements_removed=300))["complexity"] == -0.1
