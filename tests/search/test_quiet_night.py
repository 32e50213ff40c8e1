"""The quiet night of docs/history/nights.md replayed: a lucky run became the incumbent, 25 ideas were held to it."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

from research.search.observation import Observation
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
def records() -> tuple[Observation, ...]:
    """The night's runs; what was made from what is read off the order of the ledger, seeds as nights give them."""
    found: list[Observation] = []
    known: dict[str, int] = {}
    tip = None
    with LEDGER.open() as lines:
        for index, row in enumerate(csv.DictReader(lines, delimiter="\t")):
            commit, again = row["commit"], row["commit"] in known
            parent, repeats = (None, commit) if again else (tip, None)
            name, value = f"{commit}-{index}" if again else commit, float(row["val_bpb"])
            known[commit] = known.get(commit, 41) + 1
            seed = known[commit]
            found.append(Observation(index, name, parent, val_bpb=value, gpu_s=30.0, replicate_of=repeats, seed=seed))
            tip = commit if row["status"] == "keep" else tip
    return tuple(found)


@cache
def after(runs: int) -> Belief:
    """The posterior after so many runs of the night."""
    scores = [
        Score(one.replicate_of or one.id, one.parent_id, Condition(one.seed), one.val_bpb)
        for one in records()[:runs]
        if one.val_bpb
    ]
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
