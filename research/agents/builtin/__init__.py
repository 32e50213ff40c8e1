"""Defines the built-in agent, which edits the constants of any train.py and needs no key and no network."""

from research.agents.builtin.proposal import NothingToPropose, Proposal, assign, propose

__all__ = ["NothingToPropose", "Proposal", "assign", "propose"]
