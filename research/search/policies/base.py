"""Defines the interface of policies, and the chain of kept configurations that they share.

A policy searches through one night. Whoever drives it (a simulator, the planner of a real night) asks for the next
experiment, runs it, and tells the result; see docs/search.md.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal, Protocol

from research.core.contract import DEFAULT_SEED
from research.search.observation import Observation
from research.verdict.belief import Belief
from research.verdict.seeds import Place

Order = tuple[str | None, str | None, Hashable | None]
"""Emitter, category ("a+b" asks for two) and parent of the next experiment, None leaving each to the agent (the parent
then is the tip); or (REPLICATE, None, ID): the next run repeats configuration ID."""

Answer = Literal["keep", "discard", "replicate"]
"""The answer of tell() about a result's configuration: it is the tip now; it is not; the next run repeats it."""

REPLICATE = "replicate"


class Policy(Protocol):
    """A search through one night; starting again forgets the night before.

    Attributes:
        reason: The reason of the last order, one sentence, "" where the policy gives none.
        phase: The phase of the night, "" where the policy knows no phases.
    """

    reason: str = ""

    @property
    def phase(self) -> str:
        return ""

    def start(self, baseline: Observation) -> None:
        """Begin the night with the baseline, which is index 0 of every history."""

    def ask(self, history: Sequence[Observation]) -> Order:
        """Return the next experiment."""

    def next_seed(self) -> int:
        """Return the seed of the run that ask or tell has just asked for."""
        return DEFAULT_SEED

    def tell(self, result: Observation) -> Answer:
        """Take a result and decide about its configuration."""

    def note(self, result: Observation, decision: str) -> None:
        """Take a result with a decision that was made elsewhere; a policy without this method decides by itself."""
        self.tell(result)

    def set_belief(self, belief: Belief) -> None:
        """Take the posterior of a real night, with the same ids, in place of its own."""
        return None

    def set_place(self, place: Place) -> None:
        """Take where the next run is made."""
        return None

    def final(self, history: Sequence[Observation]) -> Hashable:
        """Return the configuration to ship."""

    def estimate(self, config: Hashable) -> float:
        """Return the val_bpb that is claimed for a configuration.

        Raises:
            KeyError: for one that was never scored.
        """


class KeptChain:
    """The kept configurations in order; the last one is the tip.

    A discard of the tip puts back the one kept before it; the only one left is never discarded.

    Attributes:
        kept: All kept configurations that were not discarded after, the tip last.
    """

    def __init__(self, baseline: Hashable) -> None:
        self.kept: list[Hashable] = [baseline]

    @property
    def tip(self) -> Hashable:
        """Return the configuration that was kept last."""
        return self.kept[-1]

    def decide(self, config: Hashable, answer: str) -> None:
        """Change the chain by a decision about a configuration."""
        if answer == "keep" and config != self.tip:
            self.kept = [*(other for other in self.kept if other != config), config]
        elif answer == "discard" and config == self.tip and len(self.kept) > 1:
            self.kept.pop()
