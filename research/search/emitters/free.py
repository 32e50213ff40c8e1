"""Leaves the agent free: it sees the facts and chooses by itself, which is often the best of all."""

from research.search.emitters.base import Emitter

FREE = Emitter(
    name="",
    purpose="try what you think is worth most",
    order="choose the one change that you expect to lower val_bpb most within the budget, and make it.",
    predicted="improve",
)
