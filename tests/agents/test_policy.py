"""The command policy, by a table of command lines in a repository that looks like a real one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from research.agents.policy.check import check_command, check_patch
from research.agents.policy.protected import Where
from tests.agents.policy_table import ALLOWED, REFUSED, RIGHT, RUN

RUN_NAME = "20260101-000000-abcdef0-1234"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every protected part, a link to one, and a home."""
    top = tmp_path_factory.mktemp("place")
    root = top / "autoresearch-evo"
    folders = (
        "research/verdict",
        "research/lab",
        "scripts",
        ".codex/hooks",
        "docs",
        f"results/runs/{RUN_NAME}",
        "results/discovery",
    )
    for folder in folders:
        (root / folder).mkdir(parents=True)
    for name in (
        "train.py", "prepare.py", "results.tsv", "pyproject.toml", "program.md", "research/lab/lab.py",
        "scripts/run_experiment.py", ".codex/hooks.json", "results/discovery/memory.db",
        f"results/runs/{RUN_NAME}/score.json", f"results/runs/{RUN_NAME}/finish.json",
    ):  # fmt: skip
        (root / name).write_text("x\n")
    (root / "link.py").symlink_to("prepare.py")
    (top / "home/.cache/autoresearch").mkdir(parents=True)
    return root


def where_in(root: Path, branch: str = "autoresearch/try", guarded: bool = True, driven: bool = False) -> Where:
    """The surroundings of a command."""
    data = str(root.parent / "home/.cache/autoresearch")
    return Where(str(root), branch, guarded, driven, data, "--backend local")


def judge(command: str, root: Path, **options: object) -> str | None:
    """What the policy says."""
    environment = {"HOME": str(root.parent / "home"), "PATH": os.environ["PATH"]}
    return check_command(command, str(root), where_in(root, **options), environment)  # type: ignore[arg-type]


@pytest.mark.parametrize("command", ALLOWED)
def test_harmless_commands_pass(command: str, repository: Path):
    assert judge(command, repository) is None


@pytest.mark.parametrize(("command", "word"), REFUSED)
def test_the_rest_is_refused_with_what_to_do_instead(command: str, word: str, repository: Path):
    reason = judge(command, repository)
    assert reason is not None
    assert word in reason
    assert 40 < len(reason) < 500


def test_the_table_is_large_enough_and_has_no_doubles():
    commands = [*ALLOWED, *(command for command, _ in REFUSED)]
    assert len(commands) == len(set(commands)) >= 200


HARNESS_WORK = [
    "sed -i s/a/b/ research/lab/lab.py",
    "uv run ruff format .",
    "git checkout -- research/",
    "sed -i 's/a/b/' prepare.py",
    "git restore .",
]


@pytest.mark.parametrize("command", HARNESS_WORK)
def test_the_harness_can_be_worked_on_where_no_experiments_run(command: str, repository: Path):
    assert judge(command, repository, branch="main", guarded=False) is None
    assert judge(command, repository, branch="main", guarded=True) is not None


@pytest.mark.parametrize(
    "command", ["rm -rf results", "echo x >> results.tsv", "git push", "pip install x", "uv run train.py",
                "git reset --hard HEAD~1", "rm -rf ~", "sqlite3 results/discovery/memory.db .dump"],
)  # fmt: skip
def test_other_rules_hold_on_every_branch(command: str, repository: Path):
    assert judge(command, repository, branch="main", guarded=False) is not None


def test_reset_follows_a_checkout_on_the_same_line(repository: Path):
    assert judge("git reset --hard HEAD", repository, branch="main") is not None
    assert judge("git checkout -q -b autoresearch/new && git reset --hard HEAD", repository, branch="main") is None
    assert judge("git checkout main && git reset --hard HEAD~1", repository) is not None


def test_a_driven_agent_neither_trains_nor_settles(repository: Path):
    for command in (RIGHT, RUN, "uv run train.py", "uv run research settle", "uv run research night --hours 1"):
        assert "driver" in str(judge(command, repository, driven=True)).lower()
    assert judge("git commit -am 'exp: x [emitter=simplifier]'", repository, driven=True) is None


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
        ("*** Begin Patch\n*** Update File: link.py\n@@\n*** End Patch\n", False),
    ],
)
def test_patches_are_judged_by_their_headers(patch: str, ok: bool, repository: Path):
    assert (check_patch(patch, str(repository), where_in(repository)) is None) == ok


def test_a_linked_work_tree_guards_the_main_one_too(repository: Path, tmp_path: Path):
    linked = repository / "worktrees" / "one"
    linked.mkdir(parents=True, exist_ok=True)
    (linked / ".git").write_text(f"gitdir: {repository}/.git/worktrees/one\n")
    where = Where(str(linked), "", True, True)
    assert check_command(f"rm -rf {repository}/results", str(linked), where, {}) is not None
    assert check_command("echo > ../../prepare.py", str(linked), where, {}) is not None
    assert check_command("echo > train.py", str(linked), where, {}) is None


UNFINISHED = ["'", '"', "$(", "cat <<EOF", "`", "((", "case x in", "${", "a |", "\\", "<", "x=(", ")))"]


@pytest.mark.parametrize("text", UNFINISHED)
def test_unfinished_lines_are_read_without_harm(text: str, repository: Path):
    assert judge(text, repository) is None
    assert judge(f"rm prepare.py; {text}", repository) is not None


ENDLESS = [
    "rm " + "{a,b}" * 40, "a=xx;" + "a=$a$a;" * 40 + "ls $a", "f() { f; f; f; }; f", "f() { g; g; }; g() { f; f; }; f",
    "ls " + "$(echo " * 11 + "x" + ")" * 11, "$(" * 3000, "bash -c " * 300,
]  # fmt: skip


@pytest.mark.parametrize("text", ENDLESS)
def test_lines_that_would_never_end_are_given_up(text: str, repository: Path):
    judge(text, repository)
    assert judge(f"rm prepare.py; {text}", repository) is not None
