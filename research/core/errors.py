"""The errors that a person can mend: each carries what happened and what to type next. Nothing here prints."""

from __future__ import annotations


class ResearchError(Exception):
    """An error: what happened, in one sentence, and what to type or do next."""

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
