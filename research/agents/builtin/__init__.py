"""Edits the settings of any train.py, as the built-in agent does, so that a night runs with no key and no network."""

from research.agents.builtin.proposal import NothingToPropose, Proposal, assign, propose

__all__ = ["NothingToPropose", "Proposal", "assign", "propose"]
