"""Names the rules that can judge a run: the interface ``judge(comparison, now_utc) -> Verdict``.

A rule is loaded when it is to judge, since its posterior loads numpy; its name is checked without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from research.core.errors import ConfigurationError
from research.core.records import Verdict

if TYPE_CHECKING:
    from research.verdict.comparison import Comparison

    Judge = Callable[[Comparison, str], Verdict]
    """Takes a finished run among those that it can be compared with, and now; gives a verdict."""

JUDGES: Mapping[str, str] = {"evidence": "research.verdict.judge", "greedy": "research.verdict.greedy"}
"""The modules of the rules by name; the first is the usual one. Each has a function ``judge``."""

ENV_JUDGE = "AUTORESEARCH_JUDGE"
"""Environment variable that names another rule."""


def rule_name(environment: Mapping[str, str]) -> str:
    """Return the name of the rule that an environment asks for, by default "evidence".

    Raises:
        ConfigurationError: if there is no such rule.
    """
    name = environment.get(ENV_JUDGE) or "evidence"
    if name not in JUDGES:
        raise ConfigurationError(f"{ENV_JUDGE} is {name}, which is no rule.", f"Choose one of {', '.join(JUDGES)}.")
    return name


def judge_of(environment: Mapping[str, str]) -> Judge:
    """Return the rule that an environment asks for; see rule_name()."""
    found: Judge = import_module(JUDGES[rule_name(environment)]).judge
    return found
