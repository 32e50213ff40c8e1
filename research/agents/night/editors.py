"""Lists who can edit train.py in a night, seen alike by the loop: a plan in, a commit out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Literal, Protocol

from research.agents.builtin import NothingToPropose, assign, propose
from research.agents.clients.base import NOTHING_USED, Usage
from research.core import git
from research.core.records import Plan
from research.lab.ideas import SET_NAME, SET_VALUE
from research.lab.lab import Lab
from research.runs.backend import StopRequest
from research.runs.preflight import TARGET
from research.verdict.models import Memory


@dataclass(frozen=True)
class Candidate:
    """A commit that changes train.py alone, with its subject, and what it took to get it."""

    commit: str
    subject: str
    usage: Usage = NOTHING_USED


class NoCandidate(Exception):
    """The editor came to no commit for an idea, which is dropped; or it failed, or a service refuses until a time."""

    def __init__(
        self,
        why: str,
        kind: Literal["idea", "editor", "service"] = "idea",
        until: datetime | None = None,
        usage: Usage = NOTHING_USED,
    ) -> None:
        super().__init__(why)
        self.why, self.kind, self.until, self.usage = why, kind, until, usage


class Editor(Protocol):
    """Makes commits."""

    name: str

    def edit(self, plan: Plan, memory: Memory, seed: int, stop: StopRequest) -> Candidate:
        """Carry out a plan, whose details hold the brief; raise NoCandidate if it comes to no commit."""


class BuiltinEditor:
    """Changes train.py's own constants; needs no key and no network."""

    name = "builtin"

    def __init__(self, lab: Lab) -> None:
        self._root = lab.paths.root

    def edit(self, plan: Plan, memory: Memory, seed: int, stop: StopRequest) -> Candidate:
        """See Editor."""
        read_source = partial(git.blob, self._root, path=TARGET)
        try:
            if SET_NAME in plan.details:
                proposal = assign(plan, memory, read_source, plan.details[SET_NAME], plan.details[SET_VALUE])
            else:
                proposal = propose(plan, memory, read_source, seed)
        except NothingToPropose as nothing:
            raise NoCandidate(str(nothing)) from None
        commit = git.commit_file(self._root, proposal.parent, TARGET, proposal.text, proposal.subject)
        return Candidate(commit, proposal.subject)


def editor_of(name: str, lab: Lab) -> Editor:
    """Make the editor of that name: the built-in agent or a coding client."""
    if name == BuiltinEditor.name:
        return BuiltinEditor(lab)
    from research.agents.clients import CLIENTS
    from research.agents.clients.driver import ClientEditor  # imports this module

    return ClientEditor(CLIENTS[name], lab)
