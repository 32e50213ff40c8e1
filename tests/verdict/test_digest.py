"""The digest kept in the store is a copy: the same as one made anew, stale when rows move on, and never missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.core.records import Judged
from research.core.settings import SETTINGS
from research.store import reads
from research.store.db import Store
from research.verdict.digest import digest_of, read_digest
from research.verdict.evidence import Keys, scores_of
from research.verdict.memory import recall
from research.verdict.models import Digest
from tests.support.histories import BRANCH, fill, judged, name, night, run


def filled(runs: int, seed: int = 0) -> Store:
    store = Store(None)
    fill(store, night(runs, seed))
    return store


def digested(history: Sequence[Judged]) -> Digest:
    return digest_of(recall(history, BRANCH))


@settings(max_examples=8)
@given(st.integers(1, 60), st.integers(0, 99))
def test_rebuilding_from_the_rows_gives_the_same_state(runs: int, seed: int):
    with filled(runs, seed) as store:
        made = read_digest(store, BRANCH)
        assert store.fact(f"digest:{BRANCH}")
        kept = read_digest(store, BRANCH)
        store.set_fact(f"digest:{BRANCH}", "{")
        anew = read_digest(store, BRANCH)
        whole = digested(store.judged())
    assert made == kept == anew == whole


def test_narrow_reads_say_what_whole_reads_say():
    with filled(120) as store:
        narrow, whole = recall(reads.history(store), BRANCH), recall(store.judged(), BRANCH)
        assert reads.history(store, "elsewhere") == []
    # The baseline is a run, narrowly read, and two posteriors are never the same object.
    same = {"baseline": None, "belief": whole.belief}
    assert replace(narrow, **same) == replace(whole, **same)


def test_narrow_reads_know_machines_and_initial_values():
    """Or the planner would make another posterior than the judge."""
    facts = [
        {"gpu_uuid": "GPU-1", "initial_values": '{"embedding": "a", "head": "b"}', "driver": "1"},
        {"gpu_uuid": "GPU-2", "initial_values": '{"embedding": "c", "head": "d"}', "kernels": '["mlp"]'},
        {},
    ]
    runs = [run(0, val_bpb=0.99), run(1, name(0), 0.98), run(2, name(0), 0.985)]
    with Store(None) as store:
        fill(store, [judged(replace(one, facts=known), 1) for one, known in zip(runs, facts, strict=True)])
        read = [[item.run for item in items] for items in (reads.history(store), store.judged())]
    narrow, whole = (scores_of(each, Keys(each)) for each in read)
    assert narrow == whole
    assert len({score.condition for score in whole}) == 3


def test_a_digest_moves_on_with_the_rows():
    with filled(30) as store:
        before = read_digest(store, BRANCH)
        key = reads.state_key(store)
        new = judged(run(99, name(0), 0.5), 99, "keep")
        store.add_run(new.run)
        assert reads.state_key(store) != key
        assert reads.something_waits(store)
        store.add_verdict(new.verdict)
        assert not reads.something_waits(store)
        after = read_digest(store, BRANCH)
    assert after.runs == before.runs + 1
    assert after.best.commit == name(99)


def test_a_lab_without_a_run_says_what_the_posterior_of_no_runs_says():
    """Its digest is made without the posterior, which takes long to load."""
    with Store(None) as store:
        empty, pocket = read_digest(store, BRANCH), read_digest(store, BRANCH, "pocket")
    assert pocket.noise.repeat.sd == SETTINGS.pocket_repeat_sd_bpb
    whole = digested([])
    assert replace(empty, noise=whole.noise) == whole
    for part in ("repeat", "seed", "interaction"):
        one, other = getattr(empty.noise, part), getattr(whole.noise, part)
        assert (one.sd, one.n) == (pytest.approx(other.sd, rel=0.01), other.n)
        assert (one.low, one.high) == (pytest.approx(other.low, rel=0.2), pytest.approx(other.high, rel=0.2))
