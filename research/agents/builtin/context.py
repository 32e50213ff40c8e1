"""What a mutation works on: the parent's text, the constants in force, the plan and what the lab knows."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from research.agents.builtin.evaluate import constants_in_force
from research.agents.builtin.knobs import Knob, knobs
from research.agents.builtin.text import Text
from research.core.records import Plan
from research.verdict.models import Memory

ReadSource = Callable[[str], "bytes | None"]
"""Gives the train.py of a commit, None where there is none."""


@dataclass(frozen=True)
class Draft:
    """A possible train.py.

    Attributes:
        what: The one idea, as a commit subject says it.
        content: The whole file.
        parts: What must have changed together; () where one constant or one place changed.
    """

    what: str
    content: bytes
    parts: tuple[str, ...] = ()


Drafts = Callable[[random.Random], Iterator[Draft]]
"""Makes the ways to carry an idea out, the most promising first."""


@dataclass(frozen=True)
class Idea:
    """One thing that can be changed, in one or several ways.

    Attributes:
        name: What is changed.
        category: What kind of change that is.
        worth: How often it is drawn, 1 for the ordinary.
        drafts: Makes the ways to do it.
    """

    name: str
    category: str
    worth: float
    drafts: Drafts


@dataclass(frozen=True)
class Bench:
    """The place of one mutation.

    Attributes:
        plan: What was planned.
        memory: What the lab knows.
        read_source: Gives the train.py of other commits.
        parent: The commit that is changed.
        text: Its train.py.
        profile: Name of the profile that runs.
    """

    plan: Plan
    memory: Memory
    read_source: ReadSource
    parent: str
    text: Text
    profile: str

    @cached_property
    def known(self) -> dict[str, Any]:
        """The constants in force."""
        return constants_in_force(self.text.tree, self.profile)

    @cached_property
    def knobs(self) -> Mapping[str, Knob]:
        """The numbers that may be moved, by name."""
        return {knob.name: knob for knob in knobs(self.text, self.known)}


def profile_of(memory: Memory) -> str:
    """The profile that a memory's contract belongs to; a custom one by the device of its baseline."""
    name = (memory.contract or "").split("-")[0]
    if name in ("official", "pocket"):
        return name
    device = (memory.baseline.device or "").lower() if memory.baseline else ""
    return "official" if any(word in device for word in ("nvidia", "cuda", "gpu")) else "pocket"
