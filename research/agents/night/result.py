"""Says what a night came to: its best in a sentence, and how many changes it kept."""

from __future__ import annotations

from collections.abc import Iterable

from research.core.commit_message import idea_of
from research.core.records import Judged, is_confirmed
from research.lab.launch import NIGHT_FACT
from research.verdict.memory import baseline_of, change_of_best
from research.verdict.models import Memory


def found(memory: Memory) -> str:
    """Describe the best kept configuration and its distance from the baseline; "" before the first score."""
    best, base = memory.best or memory.incumbent, baseline_of(memory)
    if best is None or base is None or best.estimate is None:
        return ""
    if best.key == base.key:
        return "Nothing on the branch beats the baseline yet."
    value, gain = best.estimate, change_of_best(memory)
    far = f", {gain.in_words('+')} against the baseline" if gain else ""
    sure = "confirmed" if is_confirmed(gain, value) else "not confirmed"
    return f"Best on the branch: {idea_of(best.subject)}; val_bpb {value.mean:.6f} (n={value.n}){far}, {sure}."


def kept_in(history: Iterable[Judged], night: str) -> int:
    """Counts the configurations that a night's runs kept, the baseline left out."""
    verdicts = [(item.run.commit, item.verdict) for item in history if item.run.facts.get(NIGHT_FACT) == night]
    baseline = {commit for commit, verdict in verdicts if verdict and verdict.baseline}
    kept = {commit for commit, verdict in verdicts if verdict and verdict.decision == "keep"}
    return len(kept - baseline)
