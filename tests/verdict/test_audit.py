"""The audit text is asked about a gain that is about to be kept, and is hardly ever wrong about an honest one."""

from __future__ import annotations

import random

import pytest

from research.core.settings import SETTINGS
from research.verdict.audit import denies, is_missing
from tests.support.judgekit import Night

ASSUMED = SETTINGS.audit_sd_bpb


def asked(val: float, audit: float | None) -> bool:
    """Whether a change is denied that scores so on a seed on which the baseline scores 0.99 and 1.2."""
    night = Night()
    for seed in (42, 43):
        night.run("a", 0.99, seed=seed, audit_bpb=1.2)
    night.run("b", val, "a", seed=42, audit_bpb=audit)
    return denies(night.cases[-1], night.history[:-1])


@pytest.mark.parametrize(
    ("val", "audit", "is_denied"),
    [
        (0.980, 1.190, False),  # the whole gain
        (0.980, 1.193, False),  # most of it
        (0.980, 1.200, True),  # none: the batches that cost nothing were val's
        (0.980, 1.400, True),  # trained on val
        (0.988, 1.199, False),  # too small for the audit text to tell
        (0.990, 1.300, False),  # no gain to be denied
        (0.980, None, False),  # no audit score
    ],
)
def test_a_gain_that_is_only_on_val_is_denied(val: float, audit: float | None, is_denied: bool):
    assert asked(val, audit) is is_denied


def test_what_was_kept_once_is_not_asked_again():
    night = Night()
    for commit, val, audit in (("a", 0.99, 1.2), ("b", 0.97, 1.17), ("b", 0.97, 1.17), ("b", 0.97, 1.3)):
        night.run(commit, val, "a", audit_bpb=audit, seed=42)
    assert night.tip() == "b"
    assert not denies(night.cases[-1], night.history)


@pytest.mark.parametrize(("others", "share"), [(1, 1.0), (5, 1.0), (30, 1.0), (80, 2.0), (5, 0.25)])
def test_at_most_one_honest_gain_in_200_is_denied(others: int, share: float):
    chance, sd = random.Random(0), share * ASSUMED
    asked = denied = 0
    while asked < 3000:
        excess = [{42: chance.gauss(0.2, sd)} for _ in range(others)]
        lost = chance.gauss(0, sd) + 0.2 - excess[0][42]
        gain = chance.gauss(0, 0.0015)  # with the luck of the run, which both texts share
        if gain + lost / 2 < 0.0015:  # only what looks like a gain on val is asked about
            continue
        asked += 1
        denied += is_missing(gain + lost / 2, gain - lost / 2, excess, ASSUMED)
    assert denied <= asked / 200
