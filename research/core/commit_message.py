"""Reads and writes the subjects of commits that are experiments, alike for the runner, the verbs and the hooks."""

from __future__ import annotations

import re

EXPERIMENT = "exp:"
"""Beginning of the subject of an experiment."""
FREE = "free"
"""The name in a tag where no emitter was asked for."""
_TAG = re.compile(r"\[emitter=([A-Za-z_][\w-]*)\]")


def tag_of(subject: str) -> str | None:
    """Read the name in a subject's [emitter=...] tag: FREE where the agent was free, None without a tag."""
    match = _TAG.search(subject)
    return match[1] if match else None


def emitter_of(subject: str) -> str | None:
    """Read the emitter that a subject's tag names, None without one and where the agent was free."""
    tag = tag_of(subject)
    return None if tag == FREE else tag


def as_experiment(subject: str, emitter: str = FREE) -> str:
    """Return the subject that makes a commit an experiment: prefix, what it says of the change, and a tag."""
    before, colon, rest = subject.partition(":")
    what = rest.strip() if colon and before.isidentifier() else subject
    return f"{EXPERIMENT} {what}" if tag_of(subject) else f"{EXPERIMENT} {what} [emitter={emitter}]"


def idea_of(subject: str) -> str:
    """Return what a subject says of the change, without prefix and tag, in single blanks."""
    return " ".join(subject.removeprefix(EXPERIMENT).split("[emitter=")[0].split())
