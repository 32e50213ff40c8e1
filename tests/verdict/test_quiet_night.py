"""The quiet night of docs/history/nights.md replayed: a lucky run became the incumbent, 25 ideas were held to it."""

from __future__ import annotations

import csv
from functools import cache
from itertools import islice
from pathlib import Path

from research.core.contract import DEFAULT_SEED
from research.verdict.belief import Belief, Score
from research.verdict.noise import POCKET
from research.verdict.variances import Condition

LEDGER = Path(__file__).resolve().parents[2] / "docs" / "history" / "pocket-night-2.tsv"
BASELINE, TIP = "31ced54", "c0b44a1"
"""The incumbent from run 39 on: it read 1.593753 once; its six fresh runs say 1.646 (sd 0.019)."""
READ, FRESH = 1.593753, 1.646
CLAIMED, TRUE = -0.277, -0.245
"""Its gain over the baseline: as it was claimed when every score was taken at its word, and by fresh runs."""


@cache
def after(runs: int) -> Belief:
    """Return the posterior after so many runs; parents are read off the ledger's order, seeds as nights give them."""
    scores = []
    seeds: dict[str, int] = {}
    tip = None
    with LEDGER.open() as lines:
        for row in islice(csv.DictReader(lines, delimiter="\t"), runs):
            commit, value = row["commit"], float(row["val_bpb"])
            parent = None if commit in seeds else tip
            seeds[commit] = seeds.get(commit, DEFAULT_SEED - 1) + 1
            if value:  # a crash has 0
                scores.append(Score(commit, parent, Condition(seeds[commit]), value))
            tip = commit if row["status"] == "keep" else tip
    return Belief(scores, POCKET)


def test_the_lucky_run_is_not_taken_at_its_word():
    assert after(39).mean(TIP) > READ


def test_what_it_claims_is_discounted_and_holds_what_fresh_runs_say():
    claimed = after(64).difference(TIP, BASELINE)
    assert claimed.mean > CLAIMED
    assert claimed.low < TRUE < claimed.high


def test_its_interval_holds_what_fresh_runs_say():
    value = after(64).value(TIP)
    assert value.low < FRESH < value.high
