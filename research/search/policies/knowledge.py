"""What a night's measurements say, kept up to date as they come: beliefs of values, effects so far, verdicts.

The real judge works the same out from the store's rows; here it has to cost a millisecond or two a run.
"""

from __future__ import annotations

import math
from collections.abc import Hashable

from research.core.settings import Settings
from research.search.observation import Result, configuration
from research.verdict.beliefs import Beliefs
from research.verdict.effects import Belief, Effects, Gap, assumed, likelihoods, noise_sd, p_below_zero
from research.verdict.evidence import Evidence
from research.verdict.rule import Weighed, weigh


class Knowledge:
    """Evidence with what follows from it.

    Args:
        settings: The thresholds.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.evidence = Evidence()
        self.effects = Effects()
        self.first: dict[Hashable, Result] = {}
        self.parents: dict[Hashable, Hashable] = {}
        self._beliefs = Beliefs(self.evidence, self.parents, self.effects)
        self._unlearned = 0
        self.usual_s = 0.0

    def add(self, result: Result) -> None:
        """Takes a result."""
        config = configuration(result)
        self.first.setdefault(config, result)
        if result.val_bpb is None:
            return
        self.usual_s += (result.gpu_s - self.usual_s) / (1.0 + len(self.evidence))
        replicate = config in self.evidence
        self.evidence.add(config, result.val_bpb)
        if result.parent_id is not None and result.replicate_of is None:
            self.parents[config] = result.parent_id
        self._unlearned += 1
        if not replicate:
            self._beliefs.hear(config)
        if replicate or self._unlearned >= self.settings.learn_effects_every:
            self._learn(noise_is_new=replicate)

    def belief(self, config: Hashable) -> Belief:
        """What is believed of a configuration's true value, its kin's values and typical effects considered.

        Raises:
            KeyError: if it has no run.
        """
        return self._beliefs.value(config)

    def doubt(self, config: Hashable) -> float:
        """How much worse a configuration is believed to be than its runs read, in their standard errors.

        Raises:
            KeyError: if it has no run.
        """
        error = noise_sd(self.evidence) / math.sqrt(self.evidence.n(config))
        return (self.belief(config).mean - self.evidence.mean(config)) / error

    def gap(self, config: Hashable) -> Gap:
        """A configuration's value minus its parent's believed one, and the standard error, in bpb."""
        return self._beliefs.gap(config)

    def weigh(self, config: Hashable, tip: Hashable, largest_gain: float) -> Weighed:
        """The rule's decision about a configuration against the tip."""
        return weigh(self._beliefs, config, tip, largest_gain=largest_gain, settings=self.settings)

    def p_better(self, config: Hashable, other: Hashable) -> float:
        """P(a configuration's true value is lower than another's)."""
        if self.parents.get(config) == other:
            return self.effects.p_better(self.gap(config))
        return p_below_zero(self._beliefs.apart(config, other))

    def _learn(self, noise_is_new: bool) -> None:
        """Learns the distribution of effects again from the latest ones."""
        self._unlearned = 0
        latest = [config for config in self.parents if self.parents[config] in self.evidence]
        latest = latest[-self.settings.effects_remembered :]
        heard = latest[-self.settings.max_children :]
        if noise_is_new:
            self._beliefs = Beliefs(self.evidence, self.parents, self.effects, heard)
        rows = [likelihoods(self.gap(config)) for config in latest]
        known = Effects(self.effects.weights, assumed(noise_sd(self.evidence)))
        self.effects = known.refined(rows, self.settings.learn_effects_sweeps)
        self._beliefs = Beliefs(self.evidence, self.parents, self.effects, heard)
