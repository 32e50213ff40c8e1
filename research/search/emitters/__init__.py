"""The kinds of proposal: what each is for, when it makes sense, and what an agent is asked to do.

EMITTERS    the emitters by name, in the order of the registry
Emitter     one of them: name, purpose, predicted, ready(memory), details(memory), brief(plan, memory), covers(...)
FREE        the arm without an order: the agent chooses
"""

from research.search.emitters.base import Emitter
from research.search.emitters.registry import EMITTERS, FREE

__all__ = ["EMITTERS", "FREE", "Emitter"]
