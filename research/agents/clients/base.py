"""Defines what the project needs to know of a coding client: how its sessions look to hooks and orders, how it is
asked for one idea, and what doctor checks. A client implements this in a folder of its own and is named in CLIENTS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from research.core.check import Check

ENV_DRIVEN = "AUTORESEARCH_DRIVEN"
"""Tells the hooks that a driver runs, judges and settles."""


class Trouble(str, Enum):
    """Why an attempt at an idea came to no candidate."""

    missing = "it is not installed"
    rate_limit = "the service refused because of a limit"
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
        edit_tools: Names that they give to the tools that edit files.
        wait: How its agent waits for a command that is still running, to go behind "poll it with".
        advice: A sentence at the end of orders that name commands, "" for none.
    """

    name: str
    install: str
    shell_tools: frozenset[str]
    edit_tools: frozenset[str]
    wait: str
    advice: str

    def tool_text(self, tool_input: object) -> str | None:
        """Return what a tool was given: a command line, or a patch whose headers name the files. None if unknown."""

    def program(self, environment: Mapping[str, str]) -> str | None:
        """Return the path of the installed program."""

    def command(self, program: str, place: Path, writable: Sequence[Path], options: Sequence[str]) -> list[str]:
        """Return the command line of a session that reads its prompt from stdin and may write only there."""

    def tokens(self, lines: Sequence[str]) -> int:
        """Return how many tokens a session has used."""

    def trouble(self, end: SessionEnd) -> Trouble | None:
        """Return why a session ended without a commit, None where it ended as usual."""

    def checks(self, root: Path, environment: Mapping[str, str]) -> list[Check]:
        """Return what doctor says of it."""
