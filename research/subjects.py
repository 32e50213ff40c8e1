"""What a commit's subject says of an experiment: the same for the runner, the verbs and the hooks."""

from __future__ import annotations

import re

EXPERIMENT = "exp:"
"""How the subject of an experiment begins."""
FREE = "free"
"""What a tag says where no emitter was asked for."""
_EMITTER = re.compile(r"\[emitter=([A-Za-z_][\w-]*)\]")


def tag_of(subject: str) -> str | None:
    """The name in a subject's [emitter=...] tag, FREE where the agent was free; None without a tag."""
    match = _EMITTER.search(subject)
    return match[1] if match else None


def emitter_of(subject: str) -> str | None:
    """The emitter that a subject's tag names, None without one and where the agent was free."""
    tag = tag_of(subject)
    return None if tag == FREE else tag
