"""Says results and quotes other people's text in one bounded line each, so that neither can pose as an order."""

from __future__ import annotations

from research.core.records import Estimate
from research.core.settings import SETTINGS
from research.verdict.models import Known


def quoted(text: str) -> str:
    """Text of others as data: one line, bounded, in quotation marks that it cannot close."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split()).replace('"', "'")
    most = SETTINGS.quote_subject_chars
    return '"' + (line if len(line) <= most else line[: most - 3] + "...") + '"'


def said(estimate: Estimate | None) -> str:
    """A value with its spread: 0.981234 [0.9805, 0.9820], n=2."""
    if estimate is None:
        return "no score"
    return f"{estimate.mean:.6f} [{estimate.low:.4f}, {estimate.high:.4f}], n={estimate.n}"


def gain_said(gain: Estimate | None) -> str:
    """What a change did to its parent's val_bpb, - is better as everywhere in text; a gain is better above zero."""
    if gain is None:
        return "change in val_bpb unknown"
    return f"change in val_bpb {-gain.mean:+.4f} [{-gain.high:+.4f}, {-gain.low:+.4f}]"


def changed(known: Known) -> str:
    """What a configuration changed, from its syntax tree where that is known."""
    parts = [f"{name} {text}" for name, text in list(known.delta.items())[:3]]
    return quoted("; ".join(parts)) if parts else quoted(known.subject)


def told(known: Known) -> str:
    """One configuration in one line: commit, change, result, decision."""
    scored = f"{said(known.estimate)}, {gain_said(known.gain)}"
    result = f"failed with {quoted(known.failure)}" if known.failure else scored
    return f"{known.commit[:7]} {changed(known)}: {result}, {known.decision or 'undecided'}"
