"""Edits the settings of any train.py, as the built-in agent does, so that a night runs with no key and no network.

propose(plan, memory, read_source, seed) -> Proposal          raises NothingToPropose
assign(plan, memory, read_source, name, value) -> Proposal    the same, for a value that a person asks for
"""

from research.agents.builtin.proposal import NothingToPropose, Proposal, assign, propose

__all__ = ["NothingToPropose", "Proposal", "assign", "propose"]
