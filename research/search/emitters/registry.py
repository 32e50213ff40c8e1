"""Lists all emitters, in the order in which they are shown everywhere.

An emitter is one file beside this one that defines EMITTER, and one line here. The built-in agent, the simulated
agent and the policies know what is special about some of them; any other is carried out by the kinds of
change that it declares (``Emitter.covers``).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from research.search.emitters.base import Emitter

NAMES = (
    "local_tuner",
    "optimizer_hacker",
    "architecture_mutator",
    "simplifier",
    "contrarian",
    "recombinator",
    "anomaly_chaser",
)
"""Names of the emitters, which are those of their files."""

EMITTERS: Mapping[str, Emitter] = {name: import_module(f"research.search.emitters.{name}").EMITTER for name in NAMES}
"""The emitters by name."""

FREE = Emitter(
    name="",
    purpose="try what you think is worth most",
    order="choose the one change that you expect to lower val_bpb most within the budget, and make it.",
    predicted="improve",
)
"""The emitter that leaves the agent free: the agent sees the facts and chooses by itself, which is often best."""
