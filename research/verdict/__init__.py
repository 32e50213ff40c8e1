"""From numbers to a judgement: the interface ``judge(run, history) -> Verdict`` and the rules behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from research.records import Judged, Run, Verdict
from research.verdict.greedy import judge as greedy

Judge = Callable[[Run, Sequence[Judged], str], Verdict]
"""Takes a finished run, the finished runs of its branch (itself left out or not), and now; gives a verdict."""

JUDGES: dict[str, Judge] = {"greedy": greedy}
"""The rules by name."""

__all__ = ["JUDGES", "Judge", "greedy"]
