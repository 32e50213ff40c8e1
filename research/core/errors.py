"""The errors a caller can treat differently, drawn as one tree.

    ResearchError               something a person can mend; carries what happened and what to type next
    ├── UsageError              the call itself is wrong (exit 2)
    └── ConfigurationError      a token, a package or data is missing (the runner's exit 78)

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


class ConfigurationError(ResearchError):
    """Something outside the experiment is missing: a token, a package, data (the runner exits 78)."""

    exit_code = 78
