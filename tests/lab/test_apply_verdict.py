"""Verdicts in git: the branch goes to what is kept, discarded work stays reachable, nothing dirty is touched."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys

import pytest
from support.labkit import Kit, Result, kit

__all__ = ["kit"]


def measured(kit: Kit, subject: str, val: float, mode: str = "ok") -> tuple[str, str]:
    """Commits and runs an experiment; returns commit and run."""
    commit = kit.commit(f"exp: {subject} [emitter=local_tuner]", mode, val)
    return commit, str(kit.measure().end["run"])


def failed(result: Result, word: str) -> None:
    """Asserts one clear line with a next step."""
    assert result.code == 1
    assert word in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_keep_stays_and_discard_goes_back(kit: Kit):
    kit.measure()
    base = kit.head()
    better, kept = measured(kit, "better", 0.98)
    worse, lost = measured(kit, "worse", 1.1)
    assert kit.json("settle", kept) | {"why": 0, "rule": 0, "say": 0} == {
        "schema": "autoresearch.settle/1", "run": kept, "verdict": "keep", "tip": better, "why": 0, "rule": 0, "say": 0,
    }  # fmt: skip
    done = kit.json("settle", lost)
    assert (done["verdict"], done["tip"], kit.head()) == ("discard", better, better)
    assert kit.json("settle", lost) == {**done, "say": f"autoresearch/try is at {better[:7]}."}
    kit.git("reflog", "expire", "--expire=now", "--all")
    kit.git("gc", "-q", "--prune=now")
    assert kit.git("cat-file", "-t", worse) == "commit"
    assert kit.git("cat-file", "-t", base) == "commit"
    assert "val_bpb" in (kit.root / "train.py").read_text()


def test_without_a_run_the_oldest_of_this_branch(kit: Kit):
    first = str(kit.measure().end["run"])
    _, second = measured(kit, "a", 0.98)
    assert kit.research("settle").out.endswith("on autoresearch/try: 1 verdict. Type: uv run research settle\n")
    assert [kit.json("settle")["run"] for _ in range(2)] == [second, None]
    assert kit.json("settle", first)["verdict"] == "keep"


def test_a_crash_goes_back_to_the_incumbent(kit: Kit):
    kit.measure()
    base = kit.head()
    _, run = measured(kit, "crash", 0.5, "crash")
    assert kit.json("settle", run)["tip"] == base == kit.head()


def test_a_file_that_was_only_touched_is_not_dirty(kit: Kit):
    """Saved without a change, or copied with the whole checkout: git has another time for it in its index."""
    kit.measure()
    base = kit.head()
    _, run = measured(kit, "worse", 1.1)
    os.utime(kit.root / "train.py", (1, 1))
    assert kit.json("settle", run)["tip"] == base == kit.head()
    assert kit.git("status", "--porcelain") == ""


def test_nothing_moves_while_the_tree_is_dirty(kit: Kit):
    kit.measure()
    base = kit.head()
    worse, run = measured(kit, "worse", 1.1)
    (kit.root / "train.py").write_text("changed = True\n")
    failed(kit.research("settle", run), "not clean")
    assert (kit.root / "train.py").read_text() == "changed = True\n"
    assert kit.head() == worse
    kit.git("checkout", "-q", "train.py")
    (kit.root / "untracked.txt").write_text("mine")
    assert kit.json("settle", run)["tip"] == base
    assert (kit.root / "untracked.txt").read_text() == "mine"


def test_an_unmeasured_tip_is_not_dropped(kit: Kit):
    kit.measure()
    _, run = measured(kit, "worse", 1.1)
    kit.commit("exp: not measured yet [emitter=local_tuner]", val=0.9)
    failed(kit.research("settle", run), "never measured")
    kit.measure("--allow-dirty")
    failed(kit.research("settle", run), "never measured")  # an unscored run is no measurement


def test_a_tip_that_does_what_was_measured_is_taken_back_or_moved(kit: Kit):
    kit.measure()
    base = kit.head()
    worse, run = measured(kit, "worse", 1.1)
    (kit.root / "train.py").write_text((kit.root / "train.py").read_text() + "# a remark\n")
    kit.git("commit", "-qam", "exp: worse with a remark [emitter=local_tuner]")
    result = kit.research("settle", run)
    failed(result, f"is the same program as run {run}")
    step = f"Take it back: git reset --keep {worse[:7]} && uv run research settle"
    assert step in result.err
    kit.git("reset", "-q", "--keep", worse)
    kit.research("settle", run)
    assert kit.head() == base

    better, run = measured(kit, "better", 0.9)
    kit.research("replicate")
    kit.research("settle")
    _, run = measured(kit, "worse again", 1.2)
    kit.git("reset", "-q", "--keep", better)
    kit.git("commit", "-q", "--amend", "-m", "exp: better, in other words [emitter=local_tuner]")
    assert kit.json("settle", run)["tip"] == better, "a message that was amended is no work that could be lost"


def test_clear_words(kit: Kit):
    assert kit.json("settle")["run"] is None  # a fresh clone
    failed(kit.research("settle", "20260101-000000-0000000-0000"), "no run")
    kit.measure()
    _, run = measured(kit, "worse", 1.1)
    kit.git("checkout", "-q", "--detach")
    failed(kit.research("settle"), "detached")
    assert kit.json("settle", run)["verdict"] == "discard"  # the branch is nowhere checked out: it moves alone
    kit.git("checkout", "-q", "main")
    kit.git("branch", "-D", "autoresearch/try")
    failed(kit.research("decide", run, "keep", "--why", "x"), "no longer exists")


def test_a_merge_in_progress(kit: Kit):
    kit.measure()
    _, run = measured(kit, "worse", 1.1)
    kit.git("checkout", "-qb", "other", "main")
    (kit.root / "more.txt").write_text("x")
    kit.git("add", "more.txt")
    kit.git("commit", "-qm", "more")
    kit.git("checkout", "-q", "autoresearch/try")
    kit.git("merge", "-q", "--no-commit", "--no-ff", "other")
    failed(kit.research("settle", run), "merge is in progress")


def test_a_branch_checked_out_elsewhere(kit: Kit):
    kit.measure()
    _, run = measured(kit, "worse", 1.1)
    kit.git("checkout", "-q", "main")
    kit.git("worktree", "add", "-q", str(kit.root.parent / "there"), "autoresearch/try")
    failed(kit.research("settle", run), "checked out in")


def test_branches_of_others_are_not_moved(kit: Kit):
    kit.git("checkout", "-q", "main")
    kit.measure()
    _, run = measured(kit, "worse", 1.1)
    base = kit.git("rev-parse", "--short=7", "HEAD~1").strip()
    failed(kit.research("settle", run), "main is not an autoresearch/* branch and is not moved")
    failed(kit.research("settle", run), f"type: git checkout -b autoresearch/main {base}")
    kit.git("branch", "autoresearch/main")
    failed(kit.research("settle", run), f"git checkout -b autoresearch/main-2 {base}")


def test_a_person_overrules(kit: Kit):
    kit.measure()
    base = kit.head()
    worse, run = measured(kit, "worse", 1.1)
    assert kit.json("settle", run)["tip"] == base
    done = kit.json("decide", run, "keep", "--why", "it is simpler")
    assert (done["verdict"], done["rule"], done["tip"], kit.head()) == ("keep", "person", worse, worse)
    assert [row[3] for row in kit.ledger()] == ["keep", "keep"]
    done = kit.json("decide", run, "discard", "--why", "after all")
    assert (done["tip"], kit.head()) == (base, base)
    assert [row[3] for row in kit.ledger()] == ["keep", "discard"]
    assert kit.research("decide", run, "maybe", "--why", "x").code == 2


def test_of_the_children_of_one_parent_the_one_a_person_kept_last_remains(kit: Kit):
    kit.measure()
    base, runs = kit.head(), []
    for number in range(3):
        kit.git("reset", "-q", "--hard", base)
        tip, run = measured(kit, f"change {number}", 1.1 + number / 10)
        runs.append(run)
        assert kit.json("decide", run, "keep", "--why", "simpler")["tip"] == tip
    assert [row[3] for row in kit.ledger()] == ["keep", "discard", "discard", "keep"]
    assert kit.json("decide", runs[2], "discard", "--why", "after all")["tip"] != base
    assert [row[3] for row in kit.ledger()] == ["keep", "discard", "keep", "discard"]


def test_who_discards_the_baseline_is_told_what_follows(kit: Kit):
    run = str(kit.measure().end["run"])
    said = kit.research("decide", run, "discard", "--why", "x").out
    assert "It is the baseline" in said
    assert f"uv run research decide {run} keep" in said


def test_a_commit_names_its_runs(kit: Kit):
    kit.measure()
    worse, run = measured(kit, "worse", 1.1)
    done = kit.json("decide", worse[:7], "keep", "--why", "it is simpler")
    assert (done["run"], done["tip"]) == (run, worse)
    other = str(kit.json("replicate")["run"])
    failed(kit.research("settle", worse[:7]), f"The commit {worse[:7]} has 2 runs.")
    assert kit.json("decide", worse[:7], "discard", "--why", "after all")["run"] == other
    assert [row[3] for row in kit.ledger()] == ["keep", "discard", "discard"]
    failed(kit.research("decide", "abc", "keep", "--why", "x"), "There is no run abc.")


def test_what_a_person_discards_stays_discarded_whatever_was_built_on_it(kit: Kit):
    kit.measure()
    base = kit.head()
    lower, _ = measured(kit, "lower", 0.9)
    kit.research("replicate")
    kit.research("settle")
    above, _ = measured(kit, "lower still", 0.8)
    kit.research("replicate")
    while kit.json("settle")["run"]:
        pass
    assert kit.head() == above
    said = kit.json("decide", lower[:7], "discard", "--why", "ugly")["say"]
    assert f"made from {lower[:7]} and contains it" in said
    step = f"uv run research decide {above[:7]} discard --why 'it contains {lower[:7]}'"
    assert said.endswith(step)
    page = kit.research("report", "--json")
    assert page.code == 0
    assert "which a person discarded" in (kit.root / "results" / "report.html").read_text()
    assert kit.json(*shlex.split(step)[3:])["tip"] == base
    assert [row[3] for row in kit.ledger()] == ["keep", *["discard"] * 4]
    summary = kit.json("summary")
    assert summary["near_misses"] == []
    assert [elite["commit"] for elite in summary["elites"]] == [base]

    kit.git("reset", "-q", "--hard", lower)  # as an experiment that was going on meanwhile
    _, run = measured(kit, "on what was discarded", 0.7)
    kit.research("replicate")
    assert kit.json("settle", run)["tip"] == base
    assert f"it contains {lower[:7]}, which a person discarded" in str(kit.json("settle", run)["why"])
    kit.git("reset", "-q", "--hard", base)
    better, run = measured(kit, "another", 0.85)
    kit.research("replicate")
    assert kit.json("settle", run)["tip"] == better


def test_a_replicate_says_what_to_type_next(kit: Kit):
    kit.measure()
    done = kit.research("replicate")
    end, now = done.out.strip().split("\n")[-2:]
    run = json.loads(end.removeprefix("end "))["run"]
    assert now == f"Now: uv run research settle {run}"
    assert kit.research(*now.split()[4:]).code == 0
    (kit.root / "prepare.py").write_text("changed = 1\n")
    kit.git("commit", "-qam", "exp: what scores, too [emitter=local_tuner]")
    done = kit.research("replicate")
    assert done.code == 1
    assert done.out.strip().split("\n")[-1].startswith("Refused: ")


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_an_interrupted_replicate_has_nothing_to_settle(kit: Kit, number: signal.Signals, name: str):
    kit.commit("base", mode="sleep")
    program = [sys.executable, "-m", "research", "replicate"]
    child = subprocess.Popen(program, cwd=kit.root, env=kit.environment, stdout=subprocess.PIPE)
    while b"step" not in child.stdout.readline():
        pass
    child.send_signal(number)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 1
    assert out.decode().splitlines()[-1] == f"Not a result: it was ended by {name}. Type the same again."


def test_what_has_no_score_can_not_be_kept(kit: Kit):
    kit.measure()
    _, run = measured(kit, "crash", 0.5, "crash")
    failed(kit.research("decide", run, "keep", "--why", "x"), "can't be kept")


def test_the_better_of_two_winners_is_kept(kit: Kit):
    """Both were measured against one parent; the branch goes to the better one, fast-forward or not."""
    kit.measure()
    base = kit.head()
    _, first = measured(kit, "one", 0.98)
    kit.git("reset", "-q", "--hard", base)
    two, second = measured(kit, "two", 0.97)
    assert kit.json("settle", first)["tip"] == two
    assert kit.json("settle", second)["tip"] == two
    kit.git("reset", "-q", "--hard", base)
    _, third = measured(kit, "three", 0.975)
    assert kit.json("settle", third)["tip"] == two == kit.head()
    assert [row[3] for row in kit.ledger()] == ["keep", "discard", "keep", "discard"]


@pytest.mark.parametrize("dirty", [False, True])
def test_replicates(kit: Kit, dirty: bool):
    kit.measure()
    base = kit.head()
    measured(kit, "better", 0.98)
    if dirty:
        (kit.root / "train.py").write_text("not = committed")
    here = kit.json("replicate")
    assert (here["outcome"], here["recorded"]) == ("scored", True)
    there = kit.json("replicate", base[:7])
    assert there["outcome"] == "scored"
    rows = kit.ledger()
    assert [(row[0], row[3]) for row in rows][2:] == [(rows[1][0], "keep"), (base[:7], "discard")]
    assert kit.git("worktree", "list").count("\n") == 0
    exported = kit.research("export").out
    assert '"seed": 43' in exported
    failed(kit.research("replicate", "nowhere"), "no commit")


def test_what_a_person_kept_is_not_undone_by_a_replicate_of_what_was_known_then(kit: Kit):
    kit.measure()
    base = kit.head()
    best, run = measured(kit, "better", 0.95)
    kit.research("settle", run)
    chosen, worse = measured(kit, "as good, and simpler", 0.955)
    assert kit.json("decide", worse, "keep", "--why", "simpler")["tip"] == chosen
    assert "kept by a person: simpler" in str(kit.json("last-review")["text"])
    assert "(kept by a person)" in kit.research("summary").out
    kit.research("replicate", best)
    kit.research("replicate", base)
    while kit.json("settle")["run"]:
        pass
    assert kit.head() == chosen
    better, _ = measured(kit, "far better", 0.9)
    assert kit.json("replicate", better)["outcome"] == "scored"
    while kit.json("settle")["run"]:
        pass
    assert kit.head() == better, "what is new may still take its place"
