"""Defines the interface of a coding client: its hooks, the orders it gets, sessions for one idea, doctor's checks.

A client fills this in, in a file of its own, and is named in CLIENTS.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from research.core.check import Check

ENV_DRIVEN = "AUTORESEARCH_DRIVEN"
"""The variable that tells the hooks that a driver runs, judges and settles."""
EVENTS = ("SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop")
"""The events that have a hook, as clients name them."""


class Trouble(str, Enum):
    """The reasons why an attempt at an idea made no candidate."""

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


_STATUS = r"(?<![a-z]:)(?<!line )\b"
"""Stands before the number of a status; in "main.rs:503" and "line 503" it is that of a line."""
_SIGNS = {
    Trouble.limit: r"\b(?:usage|session|hour|weekly|spend|rate).?limit|hit your .*limit|quota|credit balance|"
    rf"too many requests|{_STATUS}429\b",
    Trouble.login: rf"{_STATUS}40[13]\b|not logged in|unauthorized|authenticat|login|api.key",
    Trouble.service: rf"overloaded|high demand|connect|error sending request|timed? ?out|{_STATUS}5[02]\d\b",
}
"""Patterns in what a failed session printed, by kind of trouble; the first that matches decides."""
_REFUSED = re.compile(r"\bI (?:can(?:'|no)t|won't|am unable to|'m unable to)\b|cannot help with|usage polic", re.I)
_TEXT_KEYS = ("command", "cmd", "input", "patch")
"""Fields of a tool's input that hold the command or the patch; versions of clients differ."""


@dataclass(frozen=True)
class Usage:
    """The tokens and dollars that sessions used."""

    tokens: int = 0  # those read from a cache included
    usd: float | None = None  # None where the client names none

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
    """Return the usage of a run's idea, by the facts kept with the run."""
    usd = facts.get("agent_usd")
    return Usage(int(facts.get("agent_tokens") or 0), None if usd is None else float(usd))


NOTHING_USED = Usage()


@dataclass(frozen=True)
class FailedAttempt:
    """An attempt that made no candidate."""

    trouble: Trouble
    detail: str = ""  # the last message of the session
    limit_ends: datetime | None = None  # when the service lifts its limit, None if not known


@dataclass(frozen=True)
class SessionEnd:
    """The end of a session of a client."""

    code: int | None  # exit code, None when it was killed
    lines: tuple[str, ...]  # its output, JSON lines
    stderr: str
    killed: Trouble | None = None  # why it was killed


class Client(ABC):
    """A coding client."""

    name: str  # as in `night --agent NAME`
    variable: str  # name of the environment variable that names its program where it is not on PATH
    settings: str  # path in the repository of the file that names its hooks
    hook_variable: str  # name of an environment variable that its hooks have, "" for the one client without any
    install: str  # the commands that install it and log in
    measured_with: str  # the version whose hooks were measured
    shell_tools: frozenset[str]  # names that its hooks give to the tool that runs commands
    edit_tools: frozenset[str] = frozenset()  # names that its hooks give to tools whose one input is a patch
    launching: str  # words on how to type a long command, to follow the command or "Type"
    waiting: str  # sentences on how its agent waits for the command that it has just typed
    rejoining: str  # sentences on how its agent waits for a run that is going on
    advice: str = ""  # a sentence at the end of orders that name commands
    wake_mark: str | None = None  # beginning of the prompts that the client writes itself, no person
    names_usd: bool = False  # whether it reports the cost of a session

    @abstractmethod
    def command(self, program: str, place: Path, writable: Sequence[Path]) -> list[str]:
        """Return the command line of a session in a place that reads its prompt from stdin.

        The session may write only to its place and the writable folders.
        """

    @abstractmethod
    def usage(self, lines: Sequence[str]) -> Usage:
        """Return the usage of a session so far."""

    @abstractmethod
    def words_in(self, events: Sequence[Mapping[str, Any]]) -> tuple[list[str], bool]:
        """Return the errors of a session and True, or without errors its last messages and False."""

    @abstractmethod
    def limit_end(self, events: Sequence[Mapping[str, Any]], text: str, now: datetime) -> datetime | None:
        """Return when the limit that made a session fail is lifted, None where the client does not say."""

    @abstractmethod
    def checks(self, program: str, root: Path, environment: Mapping[str, str]) -> list[Check]:
        """Return doctor's checks of the installed program's login and hooks."""

    def program(self, environment: Mapping[str, str]) -> str | None:
        """Return the path of the installed program."""
        return shutil.which(environment.get(self.variable) or self.name, path=environment.get("PATH"))

    def tool_text(self, tool_input: object) -> str | None:
        """Return the input of a tool: a command line, or a patch whose headers name the files. None if unknown."""
        if isinstance(tool_input, dict):
            tool_input = next((tool_input[key] for key in _TEXT_KEYS if tool_input.get(key)), None)
        if isinstance(tool_input, list):
            return shlex.join(str(word) for word in tool_input)
        return tool_input if isinstance(tool_input, str) else None

    def failure(self, end: SessionEnd, now: datetime) -> FailedAttempt | None:
        """Return why a session ended without a commit, None where it ended as usual."""
        if end.killed:
            return FailedAttempt(end.killed)
        events = list(events_in(end.lines))
        words, are_errors = self.words_in(events)
        if end.code == 0 and not are_errors:
            return FailedAttempt(Trouble.refusal, words[-1]) if words and _REFUSED.search(words[-1]) else None
        lines = [line for line in end.stderr.splitlines() if line.strip()]
        detail = "".join(words[-1:] or lines[-1:])
        text = f"{' '.join(words) if are_errors else ''} {end.stderr[-4000:]}"  # not what the agent says of its idea
        trouble = next((trouble for trouble, sign in _SIGNS.items() if re.search(sign, text, re.I)), None)
        if trouble is None:
            return FailedAttempt(Trouble.crash, detail) if end.code else None
        return FailedAttempt(trouble, detail, self.limit_end(events, text, now) if trouble is Trouble.limit else None)


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
