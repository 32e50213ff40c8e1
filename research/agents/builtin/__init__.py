"""Edits the settings of any train.py, as the built-in agent does, so that a night runs with no key and no network.

propose(plan, memory, read_source, seed) -> Proposal     raises NothingToPropose
"""

from research.agents.builtin.proposal import NothingToPropose, Proposal, propose

__all__ = ["NothingToPropose", "Proposal", "propose"]
