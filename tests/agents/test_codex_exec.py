"""The codex exec driver, with a launcher that plays what Codex might do in its work tree."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from research.agents.clients.codex.driver import (
    CodexDriver,
    CodexFailed,
    Ended,
    Proposal,
    Task,
    Trouble,
    World,
    launch_process,
    prompt_of,
    tokens_of,
)
from tests.support.labkit import Kit, make_kit

Play = Callable[[Path, Kit], Ended]
FINE = Ended(0, ('{"type": "turn.completed", "usage": {"input_tokens": 900, "output_tokens": 100}}',), "")


def git(place: Path, kit: Kit, *words: str) -> None:
    """Git as Codex would call it, in its work tree."""
    subprocess.run(["git", *words], cwd=place, env=kit.environment, check=True, capture_output=True)


def commit(place: Path, kit: Kit, subject: str = "exp: idea [emitter=simplifier]", number: float = 0.5) -> None:
    """Edits train.py and commits."""
    text = (place / "train.py").read_text()
    (place / "train.py").write_text(text + f"\nIDEA = {number}\n")
    git(place, kit, "commit", "-qam", subject)


def good(place: Path, kit: Kit) -> Ended:
    """What is asked for."""
    commit(place, kit)
    return FINE


def nothing(place: Path, kit: Kit) -> Ended:
    """An edit that is not committed."""
    (place / "train.py").write_text("x = 1\n")
    return FINE


def two(place: Path, kit: Kit) -> Ended:
    """Two commits."""
    commit(place, kit)
    commit(place, kit, number=0.6)
    return FINE


def other(place: Path, kit: Kit) -> Ended:
    """Another file too."""
    (place / "prepare.py").write_text("x = 1\n")
    commit(place, kit)
    return FINE


def unnamed(place: Path, kit: Kit) -> Ended:
    """No exp: subject."""
    commit(place, kit, "improve things")
    return FINE


def comment(place: Path, kit: Kit) -> Ended:
    """A change that changes nothing."""
    (place / "train.py").write_text((place / "train.py").read_text() + "\n# a comment\n")
    git(place, kit, "commit", "-qam", "exp: comment [emitter=simplifier]")
    return FINE


def broken(place: Path, kit: Kit) -> Ended:
    """A text that does not parse."""
    (place / "train.py").write_text("def (\n")
    git(place, kit, "commit", "-qam", "exp: broken [emitter=simplifier]")
    return FINE


def ended(
    code: int | None, event: Mapping[str, object] | None = None, stderr: str = "", killed: Trouble | None = None
) -> Play:
    """An end without a commit."""
    lines = (json.dumps(event),) if event else ()
    return lambda place, kit: Ended(code, lines, stderr, killed)


LIMIT = ended(1, {"type": "turn.failed", "error": {"message": "You've hit your usage limit."}})
LOGIN = ended(1, {"type": "error", "message": "401 Unauthorized"})
REFUSAL = ended(0, {"type": "item.completed", "item": {"type": "agent_message", "text": "I can't help with that."}})


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    """A fresh repository."""
    return make_kit(tmp_path)


class Codex:
    """A launcher that plays one scene after the other."""

    def __init__(self, kit: Kit, *scenes: Play) -> None:
        self.kit, self.scenes = kit, list(scenes)
        self.prompts: list[str] = []
        self.commands: list[list[str]] = []
        self.waits: list[float] = []

    def __call__(
        self, command: Sequence[str], cwd: Path, stdin: str, environment: Mapping[str, str], limit_s: float,
        stop: Callable[[], bool],
    ) -> Ended:  # fmt: skip
        assert environment["AUTORESEARCH_DRIVEN"] == "1"
        self.prompts.append(stdin)
        self.commands.append(list(command))
        return self.scenes.pop(0)(cwd, self.kit)


def propose(kit: Kit, *scenes: Play, attempts: int = 4) -> tuple[Proposal, Codex]:
    """Asks the driver."""
    tools = kit.root.parent / "bin"
    (tools / "codex").write_text("#!/bin/sh\n")
    (tools / "codex").chmod(0o755)
    codex = Codex(kit, *scenes)
    driver = CodexDriver(kit.root, kit.environment, World(codex, codex.waits.append))
    return driver.propose(Task(kit.head(), "Facts. Try something.", "simplifier"), attempts), codex


def test_a_commit_is_a_proposal_and_nothing_is_left_behind(kit: Kit):
    before = kit.head()
    found, codex = propose(kit, good)
    assert found == Proposal(found.commit, "exp: idea [emitter=simplifier]", before, 1000)
    assert kit.git("diff", "--name-only", before, found.commit) == "train.py"
    assert kit.head() == before
    assert kit.git("worktree", "list").count("\n") == 0
    assert "Facts. Try something." in codex.prompts[0]
    assert "Do not run train.py" in codex.prompts[0]
    command = " ".join(codex.commands[0])
    assert "-s workspace-write" in command
    roots = command.split("writable_roots=")[1].split("]")[0]
    assert roots.endswith(f', "{kit.root}/.git"')
    assert roots.startswith(f'["{kit.root}/.git/worktrees/codex-')  # Codex guards this one apart from the other


@pytest.mark.parametrize(
    ("scene", "trouble"),
    [(nothing, Trouble.no_commit), (two, Trouble.two_commits), (other, Trouble.other_files),
     (unnamed, Trouble.subject), (comment, Trouble.same_code), (broken, Trouble.unreadable),
     (LIMIT, Trouble.rate_limit), (REFUSAL, Trouble.refusal), (ended(101, None, "panicked"), Trouble.crash),
     (ended(None, killed=Trouble.timeout), Trouble.timeout), (ended(None, killed=Trouble.tokens), Trouble.tokens)],
)  # fmt: skip
def test_failures_are_named_and_retried(kit: Kit, scene: Play, trouble: Trouble):
    with pytest.raises(CodexFailed) as failed:
        propose(kit, scene, scene, attempts=2)
    assert (failed.value.trouble, failed.value.attempts) == (trouble, 2)
    found, codex = propose(kit, scene, good)
    assert found.subject.startswith("exp:")
    assert (trouble.value in codex.prompts[1]) == (not codex.waits)


STOPPED = ended(None, killed=Trouble.stopped)


@pytest.mark.parametrize(("scene", "trouble"), [(LOGIN, Trouble.login), (STOPPED, Trouble.stopped)])
def test_what_would_only_repeat_is_not_retried(kit: Kit, scene: Play, trouble: Trouble):
    with pytest.raises(CodexFailed) as failed:
        propose(kit, scene, good)
    assert (failed.value.trouble, failed.value.attempts) == (trouble, 1)


def test_waits_double_and_have_an_end(kit: Kit):
    _, codex = propose(kit, *[LIMIT] * 8, good, attempts=9)
    assert codex.waits[:3] == [30.0, 60.0, 120.0]
    assert max(codex.waits) == 1800.0


def test_a_right_commit_counts_however_codex_ended(kit: Kit):
    def late(place: Path, kit: Kit) -> Ended:
        commit(place, kit)
        return Ended(None, (), "", Trouble.timeout)

    assert propose(kit, late)[0].subject.startswith("exp:")


def test_without_codex_there_is_a_clear_word(kit: Kit):
    kit.environment["PATH"] = "/nowhere"
    with pytest.raises(CodexFailed, match="npm install") as failed:
        CodexDriver(kit.root, kit.environment).propose(Task("HEAD", "x", "simplifier"))
    assert failed.value.trouble is Trouble.missing


def test_the_launcher_reads_all_and_ends_groups(tmp_path: Path):
    path = {"PATH": "/bin:/usr/bin"}
    done = launch_process(["sh", "-c", "cat; echo err >&2; exit 3"], tmp_path, "in\n", path, 20, lambda: False)
    assert done == Ended(3, ("in",), "err", None)
    done = launch_process(["sh", "-c", "sleep 600"], tmp_path, "", path, 0.3, lambda: False)
    assert done.killed is Trouble.timeout
    done = launch_process(["sh", "-c", "sleep 600"], tmp_path, "", path, 60, lambda: True)
    assert done.killed is Trouble.stopped


def test_prompts_are_short_and_tokens_are_counted():
    assert len(prompt_of(Task("x", "", "simplifier")).split()) < 120
    assert tokens_of((*FINE.lines, "noise", *FINE.lines)) == 2000
