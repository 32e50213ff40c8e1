"""A gain that is not there on the audit text is not kept, and nobody who chooses experiments sees a number of it."""

from __future__ import annotations

import json

import pytest
from support.labkit import AUDIT, Kit, kit

from research.verdict.audit import GAIN_IS_MISSING

__all__ = ["kit"]

BASE_AUDIT = 0.99 + 0.2345678


def two_seeds(kit: Kit, subject: str, val: float, audit: float) -> str:
    """Measure a change on both seeds of the baseline; return the last run."""
    kit.commit(f"exp: {subject}", val=val, extra=f"_audit = {audit}")
    kit.measure()
    return str(kit.measure("--seed", "43").end["run"])


@pytest.fixture
def based(kit: Kit) -> Kit:
    kit.measure()
    kit.measure("--seed", "43")
    return kit


def test_a_gain_that_the_audit_text_denies_is_suspect(based: Kit):
    kit, base = based, based.head()
    run = two_seeds(kit, "two batches for nothing", 0.984, BASE_AUDIT)
    review = kit.json("last-review")
    assert review["verdict"] == "discard"
    assert f"DISCARD: not counted: {GAIN_IS_MISSING}." in str(review["text"])
    assert f'suspect: "{GAIN_IS_MISSING}"' in str(review["text"])
    assert [row[3] for row in kit.ledger()] == ["keep", "keep", "discard", "discard"]
    assert kit.json("settle", run)["tip"] == base
    assert kit.json("summary")["best"]["commit"] == base
    kit.research("report")
    assert GAIN_IS_MISSING in (kit.root / "results" / "report.html").read_text()
    (kit.root / "results" / "discovery" / "memory.db").unlink()
    assert kit.json("summary")["best"]["commit"] == base
    again = [json.loads(line) for line in kit.research("export").out.splitlines()]
    doubts = sorted(one["suspect"] for one in again if "suspect" in one)
    assert doubts == [[], [], [GAIN_IS_MISSING], [GAIN_IS_MISSING]]


def test_a_gain_that_is_there_is_kept(based: Kit):
    run = two_seeds(based, "better", 0.984, BASE_AUDIT - 0.005)
    assert based.json("last-review")["verdict"] == "keep"
    assert based.json("settle", run)["tip"] == based.head()


def test_a_person_may_keep_it(based: Kit):
    run = two_seeds(based, "two batches for nothing", 0.984, BASE_AUDIT)
    based.research("decide", run, "keep", "--why", "I know better")
    assert based.json("settle", run)["verdict"] == "keep"


@pytest.mark.parametrize(
    "verb", ["summary", "archive", "next", "last-review", "parse-run", "noise", "record", "export", "autonomy status"]
)
def test_no_verb_shows_the_audit_score(based: Kit, verb: str):
    two_seeds(based, "better", 0.984, 1.22456)
    for words in (verb.split(), [*verb.split(), "--json"]):
        done = based.research(*words)
        assert AUDIT not in done.out + done.err
        assert "audit_bpb" not in done.out
