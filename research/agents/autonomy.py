"""The switch of the loop: on or off, why, since when, its limits, and when it has to let go by itself.

It lives in the memory as the fact "autonomy", one JSON object; hooks and the verb read and write it through anything
that has fact() and set_fact().
"""

from __future__ import annotations

from research.agents.hooks.wire import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Facts(Protocol):
        """Where named values are kept."""

        def fact(self, name: str) -> str | None:
            """A named value."""

        def set_fact(self, name: str, value: str) -> None:
            """Sets a named value."""


FACT = "autonomy"
REASON_CHARS = 240
"""How much of a prompt is kept as the reason: enough to recognise it by."""


class Autonomy:
    """The switch as it stands.

    Attributes:
        enabled: Whether Stop goes on.
        reason: Why it stands so: a prompt's beginning, or what ended the loop.
        since: Seconds since 1970 when it was last turned on or off.
        runs: Most runs since then, 0 for no limit.
        hours: Most hours.
        usd: Most estimated dollars.
        first_run: Number of the last run before it was turned on.
        by_itself: Whether the loop ended by itself (a limit, no progress), so that a plain "continue" resumes it.
        progress: What the last continuation saw: commit, runs, verdicts.
        words: Digest of the agent's last words then.
        idle: Continuations since anything changed, words included.
        stuck: Continuations since a commit, a run or a verdict.
        continuations: Continuations since it was turned on.
        idle_limit, stuck_limit, order_words: The settings of that name when it was turned on; 0 is as if never set.
    """

    __slots__ = (
        "by_itself", "continuations", "enabled", "first_run", "hours", "idle", "idle_limit", "order_words", "progress",
        "reason", "runs", "since", "stuck", "stuck_limit", "usd", "words",
    )  # fmt: skip

    def __init__(self) -> None:
        self.enabled = self.by_itself = False
        self.reason = "never turned on"
        self.since = self.hours = self.usd = 0.0
        self.runs = self.first_run = self.idle = self.stuck = self.continuations = 0
        self.idle_limit = self.stuck_limit = self.order_words = 0
        self.progress = self.words = ""

    def as_dict(self) -> dict[str, Any]:
        """Its JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


def load(store: Facts) -> Autonomy:
    """The switch as the memory has it."""
    return read(store.fact(FACT))


def read(text: str | None) -> Autonomy:
    """The switch as the fact's text has it; anything unreadable in it is as if it was never set."""
    state = Autonomy()
    try:
        value = loads(text or "{}")
    except ValueError:
        value = {}
    if isinstance(value, dict):
        for name in Autonomy.__slots__:
            held = value.get(name)
            kind = type(getattr(state, name))
            if isinstance(held, (int, float)) and kind in (int, float):
                setattr(state, name, kind(held))
            elif isinstance(held, kind):
                setattr(state, name, held)
    return state


def save(store: Facts, state: Autonomy) -> None:
    """Writes the switch."""
    store.set_fact(FACT, dumps(state.as_dict()))


def turned_on(before: Autonomy, reason: str, now: float, last_run: int, limits: dict[str, float]) -> Autonomy:
    """The switch turned on: limits not named are those that were set before it was last turned off by itself.

    It takes the settings along, so that Stop need not load them at every turn's end.
    """
    from research.core.settings import SETTINGS

    state = Autonomy()
    state.enabled, state.reason, state.since, state.first_run = True, reason[:REASON_CHARS], now, last_run
    keeps = before.enabled or before.by_itself
    state.runs = int(limits.get("runs", before.runs if keeps else 0))
    state.hours = float(limits.get("hours", before.hours if keeps else 0.0)) or SETTINGS.autonomy_hours
    state.idle_limit, state.stuck_limit = SETTINGS.idle_continuations, SETTINGS.stuck_continuations
    state.order_words = SETTINGS.order_words
    state.usd = float(limits.get("usd", before.usd if keeps else 0.0))
    if before.enabled and not limits:
        state.since, state.first_run = before.since, before.first_run
    return state


def turned_off(before: Autonomy, reason: str, now: float, by_itself: bool = False) -> Autonomy:
    """The switch turned off, its limits kept for a resumption."""
    state = Autonomy()
    state.reason, state.since, state.by_itself = reason[:REASON_CHARS], now, by_itself
    state.runs, state.hours, state.usd = before.runs, before.hours, before.usd
    return state


def reached(state: Autonomy, now: float, runs: int, usd: float) -> str:
    """Which limit is reached, as a sentence; "" for none.

    Args:
        state: The switch.
        now: Seconds since 1970.
        runs: Runs since it was turned on.
        usd: Their estimated cost.
    """
    if state.runs and runs >= state.runs:
        return f"The limit of {state.runs} runs is reached."
    if (now - state.since) / 3600 >= state.hours > 0:
        return f"The limit of {state.hours:g} hours is reached."
    if state.usd and usd >= state.usd:
        return f"The limit of ${state.usd:g} is reached (estimated)."
    return ""


def went_on(state: Autonomy, progress: str, words: str) -> str:
    """Counts one more continuation; returns why the loop has to end, "" if it may go on.

    Args:
        state: The switch; its counters change.
        progress: What the lab has now: commit, runs, verdicts.
        words: Digest of the agent's last words.
    """
    moved = progress != state.progress
    state.stuck = 0 if moved else state.stuck + 1
    state.idle = 0 if moved or words != state.words else state.idle + 1
    state.progress, state.words = progress, words
    state.continuations += 1
    if state.idle >= state.idle_limit > 0:
        return f"Nothing changed in {state.idle} continuations: no commit, no run, no new words."
    if state.stuck >= state.stuck_limit > 0:
        return f"No commit and no run in {state.stuck} continuations."
    return ""
