"""Formats results and quotes other people's text in one bounded line each, so that neither can pose as an order."""

from __future__ import annotations

from research.core.records import Estimate
from research.core.settings import SETTINGS
from research.core.text import quoted as as_data
from research.verdict.models import Configuration


def quoted(text: str) -> str:
    """Quote a subject or a failure, cut to a few words."""
    return as_data(text, SETTINGS.quote_subject_chars)


def format_estimate(estimate: Estimate | None) -> str:
    """Return a value with its interval: 0.981234 [0.9805, 0.9820], n=2."""
    if estimate is None:
        return "no score"
    return f"{estimate.mean:.6f} [{estimate.low:.4f}, {estimate.high:.4f}], n={estimate.n}"


def format_gain(gain: Estimate | None) -> str:
    """Return what a change did to its parent's val_bpb, below zero is better; of a gain above zero is."""
    if gain is None:
        return "change in val_bpb unknown"
    return f"change in val_bpb {-gain.mean:+.4f} [{-gain.high:+.4f}, {-gain.low:+.4f}]"


def format_change(known: Configuration) -> str:
    """Return what a configuration changed, from its syntax tree where that is known."""
    return quoted("; ".join(f"{name} {text}" for name, text in list(known.delta.items())[:3]) or known.subject)


def format_configuration(known: Configuration) -> str:
    """Return one configuration in one line: commit, change, result, decision."""
    scored = f"{format_estimate(known.estimate)}, {format_gain(known.gain)}"
    result = f"failed with {quoted(known.failure)}" if known.failure else scored
    return f"{known.commit[:7]} {format_change(known)}: {result}, {known.decision or 'undecided'}"
