"""Plays synthetic nights: landscapes whose truth is known, an agent that carries orders out, and a policy.

    landscape(family, seed)                 a landscape; families.FAMILIES, TUNING, HELD_OUT and SEEDS name them
    play(policy, landscape, runs, seed)     a Night: what the policy saw and decided, and what was true
    measure(night)                          its metrics

It exists because a policy's worth can't be seen in one real night: its own noise hides it. Nothing here is imported by
the code that plans real nights.
"""

from research.simulator.families import FAMILIES, HELD_OUT, TUNING, families_of
from research.simulator.landscape import Landscape
from research.simulator.metrics import Measures, measure
from research.simulator.night import Night, PolicyError, play
from research.simulator.sampling import landscape

__all__ = ["FAMILIES", "HELD_OUT", "TUNING", "Landscape", "Measures", "Night", "PolicyError"]
__all__ += ["families_of", "landscape", "measure", "play"]
