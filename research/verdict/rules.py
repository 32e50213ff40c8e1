"""Names the rules that can judge a run: the interface ``judge(comparison, now_utc) -> Verdict``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from research.core.errors import ConfigurationError
from research.core.records import Verdict
from research.verdict.comparison import Comparison
from research.verdict.greedy import judge as greedy
from research.verdict.judge import judge as by_evidence

Judge = Callable[[Comparison, str], Verdict]
"""Takes a finished run among those that it can be compared with, and now; gives a verdict."""

JUDGES: dict[str, Judge] = {"evidence": by_evidence, "greedy": greedy}
"""The rules by name; the first is the usual one."""

ENV_JUDGE = "AUTORESEARCH_JUDGE"
"""Environment variable that names another rule."""


def judge_of(environment: Mapping[str, str]) -> Judge:
    """Return the rule that an environment asks for, by default "evidence".

    Raises:
        ConfigurationError: if there is no such rule.
    """
    name = environment.get(ENV_JUDGE) or "evidence"
    if name not in JUDGES:
        raise ConfigurationError(f"{ENV_JUDGE} is {name}, which is no rule.", f"Choose one of {', '.join(JUDGES)}.")
    return JUDGES[name]
