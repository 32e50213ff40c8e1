"""Defines what the project needs to know of a coding client: how its sessions look to hooks and orders, how it is
asked for one idea, and what doctor checks. A client implements this in a folder of its own and is named in CLIENTS."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from research.core.check import Check

ENV_DRIVEN = "AUTORESEARCH_DRIVEN"
"""Tells the hooks that a driver runs, judges and settles."""


class Trouble(str, Enum):
    """Why an attempt at an idea came to no candidate."""

    missing = "it is not installed"
    limit = "the service refused because of a limit"
    service = "the service could not be reached or failed"
    login = "it is not logged in"
    refusal = "it declined"
    no_commit = "no commit was made"
    two_commits = "more than one commit was made"
    other_files = "the commit touches other files"
    subject = "the commit is no exp: commit"
    same_code = "the program is the same as before"
    unreadable = "train.py does not parse"
    timeout = "it took too long"
    tokens = "it used too many tokens"
    stopped = "the night was asked to stop"
    crash = "it failed"


@dataclass(frozen=True)
class Usage:
    """Counts tokens that sessions used, also those read from a cache, and dollars, None where the client names none."""

    tokens: int = 0
    usd: float | None = None

    def __add__(self, other: Usage) -> Usage:
        """Add up two; unknown dollars count as none where the other's are known."""
        known = [usd for usd in (self.usd, other.usd) if usd is not None]
        return Usage(self.tokens + other.tokens, sum(known) if known else None)

    def in_words(self) -> str:
        """Return "12,345 tokens ($0.07)", "" where nothing was used."""
        usd = f" (${self.usd:.2f})" if self.usd else ""
        return f"{self.tokens:,} tokens{usd}" if self.tokens or usd else ""

    def as_facts(self) -> dict[str, str]:
        """Return it as facts to be kept with a run."""
        usd = {} if self.usd is None else {"agent_usd": f"{self.usd:.6f}"}
        return {"agent_tokens": str(self.tokens), **usd} if self.tokens or usd else {}


def usage_in(facts: Mapping[str, str]) -> Usage:
    """Return what a run's idea took, by the facts kept with the run."""
    usd = facts.get("agent_usd")
    return Usage(int(facts.get("agent_tokens") or 0), None if usd is None else float(usd))


NOTHING_USED = Usage()


@dataclass(frozen=True)
class Failed:
    """An attempt without a candidate.

    Attributes:
        trouble: Why.
        detail: What was seen.
        limit_ends: When the limit is lifted that the service refused because of, None where that is not known.
    """

    trouble: Trouble
    detail: str = ""
    limit_ends: datetime | None = None


@dataclass(frozen=True)
class SessionEnd:
    """How a session that was asked for one idea ended.

    Attributes:
        code: Exit code, None when killed.
        lines: Its JSON lines.
        stderr: Its error output.
        killed: Why it was killed, None if it was not.
    """

    code: int | None
    lines: tuple[str, ...]
    stderr: str
    killed: Trouble | None = None


class Client(Protocol):
    """A coding client.

    Attributes:
        name: Its name, as in ``night --agent NAME``.
        install: The commands that install it and log in.
        shell_tools: Names that its hooks give to the tool that runs commands.
        edit_tools: Names that they give to tools whose one input is a patch.
        launching: How a long command is typed, to go behind it or behind "Type".
        waiting: How its agent waits for the command that it has just typed, as sentences.
        rejoining: How it waits for a run that is going on, as sentences.
        advice: A sentence at the end of orders that name commands, "" for none.
        max_blocks: How often in a row its Stop hook may make it go on, None for any number.
        names_usd: Whether it says what a session costs.
    """

    name: str
    install: str
    shell_tools: frozenset[str]
    edit_tools: frozenset[str]
    launching: str
    waiting: str
    rejoining: str
    advice: str
    max_blocks: int | None
    names_usd: bool

    def tool_text(self, tool_input: object) -> str | None:
        """Return what a tool was given: a command line, or a patch whose headers name the files. None if unknown."""

    def typed(self, prompt: str) -> str:
        """Return what a person typed of a prompt, "" for a message of the client itself."""

    def background(self, payload: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the commands whose end wakes the agent after its turn, of the payload of a Stop hook."""

    def program(self, environment: Mapping[str, str]) -> str | None:
        """Return the path of the installed program."""

    def command(self, program: str, place: Path, writable: Sequence[Path], options: Sequence[str]) -> list[str]:
        """Return the command line of a session that reads its prompt from stdin and may write only there."""

    def usage(self, lines: Sequence[str]) -> Usage:
        """Return what a session has used so far."""

    def failure(self, end: SessionEnd, now: datetime) -> Failed | None:
        """Return why a session ended without a commit, None where it ended as usual."""

    def checks(self, root: Path, environment: Mapping[str, str]) -> list[Check]:
        """Return what doctor says of it."""


def events_in(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the objects among a session's JSON lines."""
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value


def count_in(usage: object, names: Sequence[str]) -> int:
    """Return the sum of some counts of a client's usage object."""
    return sum(int(usage.get(name) or 0) for name in names) if isinstance(usage, dict) else 0
