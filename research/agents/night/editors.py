"""Lists who can edit train.py in a night, seen alike by the loop: an order in, a commit out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

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
class Order:
    """What an editor is asked for.

    Attributes:
        plan: The plan; its details hold the brief.
        memory: What is known.
        seed: Seed of this attempt.
        stop: Asks a slow editor to give up.
    """

    plan: Plan
    memory: Memory
    seed: int
    stop: StopRequest


@dataclass(frozen=True)
class Candidate:
    """A commit that changes train.py alone, with its subject, and what it took to get it."""

    commit: str
    subject: str
    usage: Usage = NOTHING_USED


@dataclass(frozen=True)
class Wait:
    """A service that refuses for some time; until is None where it does not say for how long."""

    until: datetime | None = None


class NoCandidate(Exception):
    """The editor came to no commit.

    Args:
        why: One sentence.
        is_failure: Whether the editor itself failed, so that the plan is kept.
        wait: What the editor waits for, None where that is nothing.
        usage: What it used.
    """

    def __init__(
        self, why: str, is_failure: bool = False, wait: Wait | None = None, usage: Usage = NOTHING_USED
    ) -> None:
        super().__init__(why)
        self.why, self.is_failure, self.wait, self.usage = why, is_failure, wait, usage


class Editor(Protocol):
    """Makes commits."""

    name: str

    def edit(self, order: Order) -> Candidate:
        """Carries an order out.

        Raises:
            NoCandidate: if it comes to no commit.
        """


class BuiltinEditor:
    """Mutates train.py's own constants, switches and statements; needs no key and no network.

    Args:
        lab: The lab whose repository gets the commits.
    """

    name = "builtin"

    def __init__(self, lab: Lab) -> None:
        self._root = lab.paths.root

    def edit(self, order: Order) -> Candidate:
        """See Editor."""
        plan, memory = order.plan, order.memory

        def read_source(commit: str) -> bytes | None:
            return git.blob(self._root, commit, TARGET)

        try:
            if SET_NAME in plan.details:
                proposal = assign(plan, memory, read_source, plan.details[SET_NAME], plan.details[SET_VALUE])
            else:
                proposal = propose(plan, memory, read_source, order.seed)
        except NothingToPropose as nothing:
            raise NoCandidate(str(nothing)) from None
        commit = git.commit_file(self._root, proposal.parent, TARGET, proposal.text, proposal.subject)
        return Candidate(commit, proposal.subject)


def editor_of(name: str, lab: Lab) -> Editor:
    """Makes the editor of that name: the built-in agent or a coding client."""
    if name == BuiltinEditor.name:
        return BuiltinEditor(lab)
    from research.agents.clients import CLIENTS
    from research.agents.clients.driver import ClientEditor  # imports this module

    return ClientEditor(CLIENTS[name], lab)
