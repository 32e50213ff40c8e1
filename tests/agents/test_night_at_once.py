"""What others do in the checkout while a night works there: another night, a person's git."""

from __future__ import annotations

from pathlib import Path

from research.places import Places
from research.store.open import read_store
from tests.support.labkit import wait_for
from tests.support.nightkit import make_night_kit

NIGHT = ("night", "--backend", "scripted")


def test_a_second_night_is_refused_while_one_goes_on(tmp_path: Path):
    """It would go on with the first one's state, in its work trees, and take them away when it ends."""
    kit = make_night_kit(tmp_path, script=[{"kind": "noise", "steps": 10, "step_s": 0.1}] * 3)
    first = kit.start(*NIGHT, "--max-runs", "3")
    wait_for(lambda: (kit.root / "worktrees" / "night-1").exists())
    told = kit.research(*NIGHT, "--max-runs", "1", code=1)
    assert "going on" in told["error"]["what"]
    assert (kit.root / "worktrees" / "night-1").exists()
    assert first.wait(timeout=120) == 0
    with read_store(Places(kit.root)) as store:
        assert [run.outcome for run in store.runs()] == ["scored"] * 3
    kit.research(*NIGHT, "--max-runs", "1")  # the first one has let go


def test_a_night_goes_on_while_a_persons_git_holds_the_index(tmp_path: Path):
    """What is kept can't be checked out, as during `git commit -a` with an editor open; the branch follows later."""
    wins = [{"kind": "win", "by": -0.05}] * 2
    kit = make_night_kit(tmp_path, script=["noise", "noise", *wins, "noise", "noise"])
    kit.git("switch", "-q", "-c", "autoresearch/try")
    base, lock = kit.git("rev-parse", "HEAD"), kit.root / ".git" / "index.lock"
    lock.touch()
    told = kit.research(*NIGHT, "--max-runs", "6")
    assert (told["runs"], "--max-runs" in told["stop_reason"]) == (6, True)
    assert told["kept"] > 0
    assert kit.git("rev-parse", "HEAD") == base
    assert "was not moved" in kit.research("settle", code=1)["error"]["what"]
    lock.unlink()
    while kit.research("settle")["run"]:
        pass
    assert kit.git("rev-parse", "HEAD") != base
    assert kit.git("status", "--porcelain") == ""
