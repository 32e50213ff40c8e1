"""Checks on the audit text, by which nothing was chosen, whether a gain that is about to be kept is there too.

The answer is yes or no. No number leaves this module: whoever chooses experiments must not see the audit score.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, median

from research.core.records import Judged, Run
from research.core.settings import SETTINGS
from research.verdict.comparison import Comparison
from research.verdict.lineage import is_evidence, persons_verdict
from research.verdict.noise import POCKET

GAIN_IS_MISSING = "the gain is not there on text that nothing was chosen by"  # the reason, as agents read it too


def denies(case: Comparison, history: Sequence[Judged]) -> bool:
    """Return whether the audit text clearly denies the gain of a run that is about to be kept, paired by seed.

    Seed and machine move the val and audit scores of a run alike, so that their difference, the excess, hardly varies
    from run to run. How much it does is estimated from the other configurations of the contract.
    """
    if case.incumbent is None or persons_verdict(case.siblings) is not None:
        return False
    mine, theirs = case.key, case.keys.of(case.incumbent)
    if any(case.keys.of(kept) == mine for kept in case.kept):
        return False
    if case.belief.p_better(mine, theirs) < SETTINGS.keep_p:
        return False
    others = [item.run for item in history if item.run.run != case.run.run and item.run.contract == case.run.contract]
    runs: dict[str, dict[int, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in (*others, case.run):
        if is_evidence(run) and run.audit_bpb is not None:
            runs[case.keys.of(run)][run.seed].append(run)
    shared = runs[mine].keys() & runs[theirs].keys()
    if not shared:
        return False
    val_gain = fmean(_val(runs[theirs][seed]) - _val(runs[mine][seed]) for seed in shared)
    audit_gain = fmean(_audit(runs[theirs][seed]) - _audit(runs[mine][seed]) for seed in shared)
    excess = [
        {seed: _audit(same) - _val(same) for seed, same in by_seed.items()}
        for key, by_seed in runs.items()
        if key != mine
    ]
    assumed_sd = SETTINGS.pocket_audit_sd_bpb if case.belief.prior is POCKET else SETTINGS.audit_sd_bpb
    return is_missing(val_gain, audit_gain, excess, assumed_sd)


def is_missing(val_gain: float, audit_gain: float, excess: Sequence[Mapping[int, float]], assumed_sd: float) -> bool:
    """Return whether a gain on val is clearly not there on the audit text; all numbers are in bpb.

    Args:
        val_gain: The incumbent's val scores minus the candidate's, on the same seeds.
        audit_gain: The same of audit scores.
        excess: Audit score minus val score by seed, of every other configuration.
        assumed_sd: Standard deviation of a configuration's excess under one seed that is assumed beforehand.
    """
    allowed = SETTINGS.audit_factor * 2**0.5 * _spread(excess, assumed_sd)
    return audit_gain < SETTINGS.audit_share * val_gain and val_gain - audit_gain > allowed


def _val(runs: Sequence[Run]) -> float:
    return fmean(run.val_bpb for run in runs if run.val_bpb is not None)


def _audit(runs: Sequence[Run]) -> float:
    return fmean(run.audit_bpb for run in runs if run.audit_bpb is not None)


def _spread(excess: Sequence[Mapping[int, float]], assumed_sd: float) -> float:
    """Return the standard deviation of a configuration's excess under one seed, in bpb.

    It is estimated by the median deviation, which neither the few far worse configurations nor one that cheats can
    move, and averaged with the assumed one.
    """
    seeds = {seed for one in excess for seed in one}
    usual = {seed: median(one[seed] for one in excess if seed in one) for seed in seeds}
    deviations = [abs(fmean(value - usual[seed] for seed, value in one.items())) for one in excess]
    n, assumed_n = len(deviations) - 1, SETTINGS.audit_prior_n
    square = n * (SETTINGS.mad_to_sd * median(deviations)) ** 2 + assumed_n * assumed_sd**2
    return float((square / (n + assumed_n)) ** 0.5)
