"""Defines the emitters, kinds of proposal: what each is for, when it makes sense, and what it asks an agent to do."""

from research.search.emitters.base import Emitter
from research.search.emitters.registry import EMITTERS, FREE

__all__ = ["EMITTERS", "FREE", "Emitter"]
