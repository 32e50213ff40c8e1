"""Defines the editors of train.py in a night, which turn a plan into a commit: the built-in agent or a client."""

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
class ProposedCommit:
    """A commit of an editor that changes train.py alone."""

    commit: str  # full hash
    subject: str
    usage: Usage = NOTHING_USED  # tokens and dollars that it took


class NoCandidate(Exception):
    """An editor made no commit.

    Attributes:
        why: The reason, for people.
        kind: "idea", which is dropped then; "editor", which failed; or "service", which refuses for a while.
        until: When the service will not refuse any more, None if not known.
        usage: Tokens and dollars that were used.
    """

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
    """An editor of train.py that carries out plans."""

    name: str

    def edit(self, plan: Plan, memory: Memory, seed: int, stop: StopRequest) -> ProposedCommit:
        """Make the commit that carries out a plan, whose details hold the brief; raise NoCandidate if there is none."""


class BuiltinEditor:
    """The editor that changes train.py's own constants, and needs no key and no network."""

    name = "builtin"

    def __init__(self, lab: Lab) -> None:
        self._root = lab.paths.root

    def edit(self, plan: Plan, memory: Memory, seed: int, stop: StopRequest) -> ProposedCommit:
        """Carry out a plan by the built-in agent."""
        read_source = partial(git.blob, self._root, path=TARGET)
        try:
            if SET_NAME in plan.details:
                proposal = assign(plan, memory, read_source, plan.details[SET_NAME], plan.details[SET_VALUE])
            else:
                proposal = propose(plan, memory, read_source, seed)
        except NothingToPropose as nothing:
            raise NoCandidate(str(nothing)) from None
        commit = git.commit_file(self._root, proposal.parent, TARGET, proposal.text, proposal.subject)
        return ProposedCommit(commit, proposal.subject)
