"""What a night's measurements say, kept up to date as they come: beliefs of values, effects so far, verdicts.

The real judge works the same out from the store's rows; here it has to cost less than a millisecond a run.
"""

from __future__ import annotations

import math
from collections.abc import Hashable

from research.results import Result, configuration
from research.settings import Settings
from research.verdict.effects import Belief, Effects, ahead, apart, assumed, child, likelihoods, noise_sd, p_below_zero
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
        self._beliefs: dict[Hashable, Belief] = {}
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
        if replicate or self._unlearned >= self.settings.learn_effects_every:
            self._learn()

    def belief(self, config: Hashable) -> Belief:
        """What is believed of a configuration's true value, its ancestors' values and typical effects considered.

        Raises:
            KeyError: if it has no run.
        """
        known = self._beliefs.get(config)
        if known is None:
            line = [config]
            while (parent := self.parents.get(line[-1])) in self.evidence:
                if parent in self._beliefs or parent in line:
                    break
                line.append(parent)
            for each in reversed(line):
                self._beliefs[each] = known = self._fresh(each)
        assert known is not None
        return known

    def gap(self, config: Hashable) -> tuple[float, float]:
        """A configuration's measured value minus its parent's believed one, and the standard error, in bpb."""
        held = self.belief(self.parents[config])
        error = noise_sd(self.evidence) / math.sqrt(self.evidence.n(config))
        return self.evidence.mean(config) - held.mean, math.hypot(held.sd, error)

    def weigh(self, config: Hashable, tip: Hashable, largest_gain: float) -> Weighed:
        """The rule's decision about a configuration against the tip."""
        return weigh(
            self.evidence,
            config,
            tip,
            parents=self.parents,
            effects=self.effects,
            largest_gain=largest_gain,
            held=self.belief(tip),
            settings=self.settings,
        )

    def p_better(self, config: Hashable, other: Hashable) -> float:
        """P(a configuration's true value is lower than another's)."""
        if self.parents.get(config) == other:
            return self.effects.p_better(self.gap(config))
        held = self.belief(other)
        effect = ahead(self.evidence, self.parents, config, other, held, self.effects)
        return p_below_zero(effect or apart(self.belief(config), held))

    def _fresh(self, config: Hashable) -> Belief:
        mean = self.evidence.mean(config)
        error = noise_sd(self.evidence) / math.sqrt(self.evidence.n(config))
        parent = self.parents.get(config)
        if parent not in self._beliefs:  # nothing before it has a score, or it is said to descend from itself
            return Belief(mean, error)
        return child(self._beliefs[parent], mean, error, self.effects)

    def _learn(self) -> None:
        """Learns the distribution of effects again from the latest ones."""
        self._unlearned = 0
        self._beliefs.clear()
        latest = list(self.parents)[-self.settings.effects_remembered :]
        rows = [likelihoods(self.gap(config)) for config in latest if self.parents[config] in self.evidence]
        known = Effects(self.effects.weights, assumed(noise_sd(self.evidence)))
        self.effects = known.refined(rows, self.settings.learn_effects_sweeps)
        self._beliefs.clear()
