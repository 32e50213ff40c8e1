"""The command policy: a table of what agents type, patches and edits."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.agents.policy.check import FILE_FIELD, check_command, check_tool
from research.agents.policy.protected import PolicyScope
from tests.agents.policy_table import ALLOWED, REFUSED, RIGHT, RUN

ROOT = Path("/home/someone/autoresearch-evo")
HOME = "/home/someone"


def where_in(root: Path, branch: str = "autoresearch/try", guarded: bool = True, driven: bool = False) -> PolicyScope:
    """Return the surroundings of a command."""
    return PolicyScope(str(root), branch, guarded, driven, f"{HOME}/.cache/autoresearch", RUN, "patience")


def judge(command: str, root: Path = ROOT, **options: object) -> str | None:
    """Return what the policy answers."""
    environment = {"HOME": HOME, "PATH": os.environ["PATH"]}
    return check_command(command, str(root), where_in(root, **options), environment)


@pytest.mark.parametrize("command", ALLOWED)
def test_harmless_commands_pass(command: str):
    assert judge(command) is None


@pytest.mark.parametrize(("command", "word"), REFUSED)
def test_the_rest_is_refused_with_what_to_do_instead(command: str, word: str):
    reason = judge(command)
    assert reason is not None
    assert word in reason
    assert 40 < len(reason) < 500


@pytest.mark.parametrize(
    "command", ["sed -i s/a/b/ research/lab/lab.py", "uv run ruff format .", "sed -i 's/a/b/' prepare.py",
                "git checkout HEAD~1 -- .", "uv run research decide R1 keep --why x", "uv sync --extra hopper"],
)  # fmt: skip
def test_the_harness_can_be_worked_on_where_no_experiments_run(command: str):
    assert judge(command, branch="main", guarded=False) is None
    assert judge(command, branch="main", guarded=True) is not None


@pytest.mark.parametrize(
    "command", ["rm -rf results", "echo x >> results.tsv", "git push", "uv run train.py",
                "git reset --hard HEAD~1", "rm -rf ~", "sqlite3 results/discovery/memory.db .dump"],
)  # fmt: skip
def test_other_rules_hold_on_every_branch(command: str):
    assert judge(command, branch="main", guarded=False) is not None


def test_reset_follows_a_checkout_on_the_same_line():
    assert judge("git reset --hard HEAD", branch="main") is not None
    assert judge("git checkout -q -b autoresearch/new && git reset --hard HEAD", branch="main") is None
    assert judge("git checkout main && git reset --hard HEAD~1") is not None


@pytest.mark.parametrize("data", ["/tmp/benchmark", str(ROOT / "cache")])
def test_the_data_folder_is_guarded_wherever_it_is(data: str):
    for guarded in (True, False):
        where = replace(where_in(ROOT, guarded=guarded), data=data)
        for command in (f"rm -rf {data}/tokenizer", f"echo x > {data}/data/shard"):
            reason = check_command(command, str(ROOT), where, {"HOME": HOME})
            assert (reason is not None and "data folder" in reason) == guarded, command


def test_an_empty_tmpdir_opens_no_folder_to_deletion():
    for place, is_allowed in (("", False), ("/scratch/", True)):
        environment = {"HOME": HOME, "TMPDIR": place}
        assert (check_command("rm -rf /scratch/x", str(ROOT), where_in(ROOT), environment) is None) == is_allowed


def test_a_driven_agent_neither_trains_nor_settles():
    for command in (RIGHT, RUN, "uv run train.py", "uv run research settle", "uv run research night --hours 1"):
        assert "driver" in str(judge(command, driven=True)).lower()
    for command in ("git commit -am 'exp: x [emitter=simplifier]'", "git reset --hard HEAD"):  # its tree is its own
        assert judge(command, branch="", driven=True) is None


def test_a_process_of_this_checkout_may_be_ended_and_another_not(tmp_path: Path):
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as own, subprocess.Popen(["sleep", "60"], cwd="/") as other:
        assert judge(f"kill -9 {own.pid}", tmp_path) is None
        assert judge(f"kill {own.pid}", tmp_path.parent) is None
        assert "processes" in str(judge(f"kill {other.pid}", tmp_path))
        own.kill()
        other.kill()
    assert judge(f"kill -TERM {own.pid}", tmp_path) is None  # it is gone


def test_a_folder_that_is_spelled_through_a_link_is_the_same_folder(tmp_path: Path):
    (tmp_path / "lab").mkdir()
    (tmp_path / "link").symlink_to("lab")
    where = where_in(tmp_path / "lab")
    assert check_command("rm run.log", str(tmp_path / "link"), where, {"HOME": str(tmp_path)}) is None
    assert check_command("rm prepare.py", str(tmp_path / "link"), where, {}) is not None


@pytest.mark.parametrize(
    ("patch", "ok"),
    [
        ("*** Begin Patch\n*** Update File: train.py\n@@\n-a\n+b\n*** End Patch\n", True),
        ("*** Begin Patch\n*** Add File: notes.md\n+prepare.py\n*** End Patch\n", True),
        ("*** Begin Patch\n*** Update File: train.py\n@@\n+# *** Update File: prepare.py\n*** End Patch\n", True),
        ("*** Begin Patch\n*** Update File: prepare.py\n@@\n-a\n+b\n*** End Patch\n", False),
        ("*** Begin Patch\n*** Update File: ./research/../prepare.py\n@@\n*** End Patch\n", False),
        ("*** Begin Patch\n*** Add File: .codex/hooks/x.py\n+1\n*** End Patch\n", False),
        ("*** Begin Patch\n*** Delete File: results.tsv\n*** End Patch\n", False),
        ("*** Begin Patch\n*** Update File: train.py\n*** Move to: research/x.py\n@@\n*** End Patch\n", False),
    ],
)
def test_patches_are_judged_by_their_headers(patch: str, ok: bool):
    assert (check_tool("apply_patch", patch, str(ROOT), where_in(ROOT)) is None) == ok


@pytest.mark.parametrize("tool", FILE_FIELD)
def test_edits_and_reads_are_judged_by_the_file_that_they_name(tool: str):
    """What is fixed may be read, what holds audit scores may be neither read nor written, and the rest is free."""
    is_reading = tool in ("Read", "Grep", "NotebookRead")
    for path in ("prepare.py", str(ROOT / "research/lab/lab.py"), ".claude/settings.json", "results/runs/x/note.ipynb"):
        assert (check_tool(tool, path, str(ROOT), where_in(ROOT)) is None) == is_reading
    for path in ("results/runs/x/score.json", str(ROOT / "results/discovery/memory.db")):
        word = "audit" if is_reading else "memory"
        assert word in str(check_tool(tool, path, str(ROOT), where_in(ROOT)))
    for path in (
        "train.py",
        str(ROOT / "notes.ipynb"),
        "/tmp/prepare.py",
        "docs/research.md",
        *[str(ROOT)] * is_reading,
    ):
        assert check_tool(tool, path, str(ROOT), where_in(ROOT)) is None


def test_a_linked_work_tree_guards_the_main_one_too(tmp_path: Path):
    """A night's agent works in one below the repository, whose records and fixed files it could reach."""
    linked = tmp_path / "worktrees" / "client-1"
    linked.mkdir(parents=True)
    (linked / ".git").write_text(f"gitdir: {tmp_path}/.git/worktrees/client-1\n")
    where = PolicyScope(str(linked), "", True, True)
    for command in (
        f"rm -rf {tmp_path}/results",
        "echo > ../../prepare.py",
        "cat ../../results/runs/x/score.json",
        f"rm -rf {tmp_path}",
        "rm -rf ../../.git",
        "rm prepare.py",
    ):
        assert check_command(command, str(linked), where, {}) is not None, command
    for command in ("echo > train.py", "cat ../../results/runs/x/run.log", "cat ../../prepare.py"):
        assert check_command(command, str(linked), where, {}) is None, command
    assert "audit" in str(check_tool("Read", f"{tmp_path}/results/report.html", str(linked), where))


UNFINISHED = ["'", '"', "$(", "cat <<EOF", "`", "((", "case x in", "${", "a |", "\\", "<", "x=(", ")))"]


@pytest.mark.parametrize("text", UNFINISHED)
def test_unfinished_lines_are_read_without_harm(text: str):
    assert judge(text) is None
    assert judge(f"rm prepare.py; {text}") is not None


PIECES = (
    "rm|prepare.py|git|checkout|--|HEAD~1|>|$(|)|{|}|'|\"|\\|\n|*|[|python|-c|open('prepare.py','w')|<<E|E|kill|uv|run|find|"
    "train.py|env|-C|=|~|$HOME|cd|-exec|-name|-|\0|\ue000|\ud800|é|bash|uvx|-m|sed|-i|../..|results/x/score.json|restore|"
    "-s|2>&1|&|nvidia-smi|autonomy|research|apply_patch|dd|of=|;|ruff|format|add|-f"
)

LINES = st.one_of(st.lists(st.sampled_from([*PIECES.split("|"), "|"]), max_size=25).map(" ".join), st.text(max_size=80))


@settings(max_examples=300)
@given(LINES, st.booleans())
def test_no_line_makes_the_policy_fail_or_take_long(line: str, driven: bool):
    """Ten milliseconds of processor time, since a hook runs before every command; at the third try at the latest."""
    for _ in range(3):
        started = time.process_time()
        judge(line, driven=driven)
        check_tool("apply_patch", line, str(ROOT), where_in(ROOT))
        if time.process_time() - started < 0.010:
            return
    pytest.fail("it takes more than 10 ms")


LONG = [
    "rm " + "a* " * 3000, "a;" * 3000, "$(" * 3000, "bash -c " * 300, "cat <<A\n" * 2000, "'\"" * 5000,
    "python - <<'E'\n" + "p='prepare.py';open(p)\n" * 3000 + "E",
    "python - <<'E'\n" + "open( prepare.py\n" * 5000 + "E",
]  # fmt: skip


@pytest.mark.parametrize("line", LONG, ids=range(len(LONG)))
def test_very_long_lines_are_given_up_in_time(line: str):
    started = time.process_time()
    judge(line)
    assert time.process_time() - started < 0.1
    assert judge(f"rm prepare.py; {line}") is not None
