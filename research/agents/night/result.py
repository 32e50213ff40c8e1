"""What a night came to, in a sentence: what somebody who wakes up wants to know beside the number of runs."""

from __future__ import annotations

from research.core.commit_message import idea_of
from research.core.records import is_confirmed
from research.verdict.memory import baseline_of, change_of_best
from research.verdict.models import Memory


def found(memory: Memory) -> str:
    """Return the best that is kept on the branch, and how far it lies from the baseline; "" before the first score."""
    best, base = memory.best or memory.incumbent, baseline_of(memory)
    if best is None or base is None or best.estimate is None:
        return ""
    if best.key == base.key:
        return "Nothing on the branch beats the baseline yet."
    value, gain = best.estimate, change_of_best(memory)
    far = f", {gain.mean:+.6f} [{gain.low:+.6f}, {gain.high:+.6f}] against the baseline" if gain else ""
    sure = "confirmed" if is_confirmed(gain, value) else "not confirmed"
    return f"Best on the branch: {idea_of(best.subject)}; val_bpb {value.mean:.6f} (n={value.n}){far}, {sure}."
