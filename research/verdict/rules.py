"""Names the rules that can judge a run: the interface ``judge(run, history, now_utc) -> Verdict``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from research.core.errors import ConfigurationError
from research.core.records import Judged, Run, Verdict
from research.verdict.greedy import judge as greedy
from research.verdict.judge import judge as by_evidence

Judge = Callable[[Run, Sequence[Judged], str], Verdict]
"""Takes a finished run, the judged runs of the lab (itself left out or not), and now; gives a verdict."""

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
