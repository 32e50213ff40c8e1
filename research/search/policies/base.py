"""What every policy is and shares: the interface, and the chain of kept configurations.

A policy is one night's searcher. Whoever drives it (a simulator, the planner of a real night) asks for the next
experiment, runs it, and tells the result; see docs/search.md for the protocol.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal, Protocol

from research.search.emitters import registry
from research.search.observation import Result

Order = tuple[str | None, str | None, Hashable | None]
"""Emitter, category and parent of the next experiment, None leaving each to the agent (the parent then is the tip);
or (REPLICATE, None, ID): the next run repeats configuration ID."""

Answer = Literal["keep", "discard", "replicate"]
"""What tell() says about a result's configuration: it is the tip now; it is not; the next run repeats it."""

REPLICATE = "replicate"

EMITTERS = tuple(registry.EMITTERS)
"""Names of the emitters that can be ordered."""

CATEGORIES = ("optimizer", "architecture", "attention", "batch", "normalization", "regularization")
"""Kinds of change that can be ordered; "simplification" and "mixed" are results, "a+b" asks for two at once."""


class Policy(Protocol):
    """One night's searcher; see research.search.observation.Result for what it is given."""

    def start(self, baseline: Result) -> None:
        """Begins the night with the baseline, which is index 0 of every history."""
        ...

    def ask(self, history: Sequence[Result]) -> Order:
        """The next experiment."""
        ...

    def tell(self, result: Result) -> Answer:
        """Takes a result and decides about its configuration."""
        ...

    def final(self, history: Sequence[Result]) -> Hashable:
        """The configuration to ship."""
        ...

    def estimate(self, config: Hashable) -> float:
        """The val_bpb that is claimed for a configuration.

        Raises:
            KeyError: for one that was never scored.
        """
        ...


class KeptChain:
    """The kept configurations in order; the last one is the tip.

    A discard of the tip puts back the one kept before it, as git follows in a real night. The baseline is
    never discarded.
    """

    def __init__(self, baseline: Hashable) -> None:
        self._kept: list[Hashable] = [baseline]

    @property
    def tip(self) -> Hashable:
        """Return the configuration that was kept last."""
        return self._kept[-1]

    @property
    def before(self) -> Hashable | None:
        """Return the one that was kept before it and comes back when the tip is discarded; None for the baseline."""
        return self._kept[-2] if len(self._kept) > 1 else None

    @property
    def kept(self) -> tuple[Hashable, ...]:
        """All kept configurations that were not discarded after, the baseline first."""
        return tuple(self._kept)

    def decide(self, config: Hashable, answer: str) -> None:
        """Follows a decision about a configuration."""
        if answer == "keep" and config != self.tip:
            self._kept = [*(other for other in self._kept if other != config), config]
        elif answer == "discard" and config == self.tip and len(self._kept) > 1:
            self._kept.pop()
