"""The built-in agent: edits train.py's own constants, forms and parts, so that a night runs with no key and no network.

propose(plan, memory, read_source, seed) -> Proposal     raises NothingToPropose
"""

from research.agents.builtin.propose import NothingToPropose, Proposal, propose

__all__ = ["NothingToPropose", "Proposal", "propose"]
