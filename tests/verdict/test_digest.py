"""The digest kept in the store is a copy: the same as one made anew, stale when rows move on, and never missed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from research.core.settings import Settings
from research.store import reads
from research.store.db import Store
from research.verdict import summary_cache
from research.verdict.recall import recall
from research.verdict.summary_cache import digest_of, remembered
from tests.support.histories import BRANCH, judged, name, night, run


@pytest.fixture(autouse=True)
def _always_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(summary_cache, "SETTINGS", Settings(min_cached_runs=1))


def filled(path: Path | None, runs: int, seed: int = 0) -> Store:
    store = Store(path)
    with store.write():
        for item in night(runs, seed):
            store.add_run(item.run)
            assert item.verdict is not None
            store.add_verdict(item.verdict)
    return store


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 60), st.integers(0, 99))
def test_rebuilding_from_the_rows_gives_the_same_state(runs: int, seed: int):
    with filled(None, runs, seed) as store:
        made = remembered(store, BRANCH)
        assert store.fact(f"digest:{BRANCH}")
        kept = remembered(store, BRANCH)
        store.set_fact(f"digest:{BRANCH}", "{")
        anew = remembered(store, BRANCH)
        whole = digest_of(recall(store.judged(), BRANCH))
    assert made == kept == anew == replace(whole, change=made.change)


def test_narrow_reads_say_what_whole_reads_say():
    with filled(None, 120) as store:
        narrow, whole = recall(reads.history(store), BRANCH), recall(store.judged(), BRANCH)
        assert reads.history(store, "elsewhere") == []
        assert len(reads.scores(store)) == whole.scored
    assert replace(narrow, baseline=None) == replace(whole, baseline=None)  # the baseline is a run, narrowly read


def test_a_digest_moves_on_with_the_rows():
    with filled(None, 30) as store:
        before = remembered(store, BRANCH)
        key = reads.state_key(store)
        new = judged(run(99, name(0), 0.5), 99, "keep")
        store.add_run(new.run)
        assert reads.state_key(store) != key
        assert reads.something_waits(store)
        assert new.verdict is not None
        store.add_verdict(new.verdict)
        assert not reads.something_waits(store)
        after = remembered(store, BRANCH)
    assert after.runs == before.runs + 1
    assert after.best is not None
    assert after.best.commit == name(99)
