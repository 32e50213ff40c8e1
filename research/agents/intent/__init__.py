"""Reads what a person's prompt says about the loop: go on by itself, end, or nothing; and the limits that it names."""

from research.agents.intent.limits import NamedLimits, read_limits
from research.agents.intent.orders import SHORT_WORDS, Intent, intent

__all__ = ["SHORT_WORDS", "Intent", "NamedLimits", "intent", "read_limits"]
