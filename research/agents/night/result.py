"""What a night came to, in a sentence: what somebody who wakes up wants to know beside the number of runs."""

from __future__ import annotations

from collections.abc import Mapping

from research.core.commit_message import idea_of
from research.core.records import is_confirmed
from research.verdict.gains import Gain, against_baseline
from research.verdict.models import Memory
from research.verdict.recall import baseline_of


def found(memory: Memory, gains: Mapping[str, Gain]) -> str:
    """The best that is kept on the branch, and how far it lies from the baseline; "" before the first score.

    Args:
        memory: What is known of the branch.
        gains: What verdicts believe of changes.
    """
    best, base = memory.best or memory.incumbent, baseline_of(memory)
    if best is None or base is None or best.estimate is None:
        return ""
    if best.key == base.key:
        return "Nothing on the branch beats the baseline yet."
    value, gain = best.estimate, against_baseline(best, memory, gains)
    far = f", {gain.mean:+.6f} [{gain.low:+.6f}, {gain.high:+.6f}] against the baseline" if gain else ""
    sure = "confirmed" if is_confirmed(gain, value) else "not confirmed"
    return f"Best on the branch: {idea_of(best.subject)}; val_bpb {value.mean:.6f} (n={value.n}){far}, {sure}."
