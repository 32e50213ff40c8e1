"""What a commit's subject says of an experiment: the same for the runner, the verbs and the hooks."""

from __future__ import annotations

import re

EXPERIMENT = "exp:"
"""How the subject of an experiment begins."""
_EMITTER = re.compile(r"\[emitter=([A-Za-z_][\w-]*)\]")


def emitter_of(subject: str) -> str | None:
    """The name in a subject's [emitter=...] tag."""
    match = _EMITTER.search(subject)
    return match[1] if match else None
