"""The errors a caller can treat differently, drawn as one tree.

    ResearchError               something a person can mend; carries what happened and what to type next
    └── UsageError              the call itself is wrong (exit 2)

The front door turns them into one clear line and an exit code; nothing here prints.
"""

from __future__ import annotations


class ResearchError(Exception):
    """An error with a next step.

    Args:
        what: What happened, in one sentence.
        next: What to type or do next.
    """

    exit_code = 1

    def __init__(self, what: str, next: str) -> None:
        super().__init__(f"{what} {next}".strip())
        self.what = what
        self.next = next


class UsageError(ResearchError):
    """The command line cannot mean anything."""

    exit_code = 2
