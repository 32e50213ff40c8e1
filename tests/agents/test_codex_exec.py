"""The driver of a coding client, with a launcher that plays what codex exec might do in its work tree."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from research.agents.clients.base import SessionEnd, Trouble, Usage
from research.agents.clients.codex import CODEX
from research.agents.clients.driver import ClientEditor, GiveUp, Launch, launch_process, prompt_of
from research.agents.night.editors import NoCandidate, ProposedCommit
from research.core.errors import ConfigurationError
from research.core.paths import LabPaths
from research.lab.lab import Lab
from tests.support.labkit import Kit, make_kit, wait_for

Play = Callable[[Path, Mapping[str, str]], SessionEnd]
FINE = SessionEnd(0, ('{"type": "turn.completed", "usage": {"input_tokens": 900, "output_tokens": 100}}',), "")


IDEA = "exp: idea [emitter=simplifier]"


def commits(*made: tuple[str, dict[str, str]]) -> Play:
    """A session that adds text to some files and commits them under a subject, once or more."""

    def play(place: Path, environment: Mapping[str, str]) -> SessionEnd:
        for subject, added in made:
            for name, text in added.items():
                (place / name).write_text((place / name).read_text() + text)
            subprocess.run(["git", "commit", "-qam", subject], cwd=place, env=dict(environment), check=True)
        return FINE

    return play


GOOD = commits((IDEA, {"train.py": "\nIDEA = 0.5\n"}))
TWO = commits((IDEA, {"train.py": "\nIDEA = 0.5\n"}), (IDEA, {"train.py": "\nIDEA = 0.6\n"}))
OTHER = commits((IDEA, {"train.py": "\nIDEA = 0.5\n", "prepare.py": "x = 1\n"}))
UNNAMED = commits(("improve things", {"train.py": "\nIDEA = 0.5\n"}))
COMMENT = commits((IDEA, {"train.py": "\n# a comment\n"}))
BROKEN = commits((IDEA, {"train.py": "def (\n"}))


def nothing(place: Path, environment: Mapping[str, str]) -> SessionEnd:
    """An edit that is not committed."""
    (place / "train.py").write_text("x = 1\n")
    return FINE


def ended(
    code: int | None, event: Mapping[str, object] | None = None, stderr: str = "", killed: Trouble | None = None
) -> Play:
    """An end without a commit."""
    lines = (json.dumps(event),) if event else ()
    return lambda place, environment: SessionEnd(code, lines, stderr, killed)


LIMIT = ended(1, {"type": "turn.failed", "error": {"message": "You've hit your usage limit."}})
LOGIN = ended(1, {"type": "error", "message": "401 Unauthorized"})
STOPPED = ended(None, killed=Trouble.stopped)
CRASH = ended(101, None, "Reading\npanicked")
REFUSAL = ended(0, {"type": "item.completed", "item": {"type": "agent_message", "text": "I can't help with that."}})


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    """A fresh repository."""
    return make_kit(tmp_path)


class Codex:
    """A launcher that plays one scene after the other."""

    def __init__(self, *scenes: Play) -> None:
        self.scenes = list(scenes)
        self.prompts: list[str] = []
        self.commands: list[list[str]] = []

    def __call__(
        self, command: Sequence[str], place: Path, prompt: str, environment: Mapping[str, str], give_up: GiveUp
    ) -> SessionEnd:
        assert environment["AUTORESEARCH_DRIVEN"] == "1"
        self.prompts.append(prompt)
        self.commands.append(list(command))
        return self.scenes.pop(0)(place, environment)


def editor(kit: Kit, launch: Launch) -> ClientEditor:
    """The editor with a codex that is only a name."""
    program = kit.root.parent / "bin" / "codex"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return ClientEditor(CODEX, Lab(LabPaths(kit.root), environment=kit.environment), launch)


def propose(kit: Kit, *scenes: Play) -> tuple[ProposedCommit, Codex]:
    """Asks the driver."""
    codex = Codex(*scenes)
    found = editor(kit, codex).propose(kit.head(), "Facts. Try something.", "simplifier", lambda: False)
    return found, codex


def test_a_commit_is_a_proposal_and_nothing_is_left_behind(kit: Kit):
    before = kit.head()
    found, codex = propose(kit, GOOD)
    assert found == ProposedCommit(found.commit, "exp: idea [emitter=simplifier]", Usage(1000))
    assert kit.git("rev-parse", f"{found.commit}^").strip() == before
    assert kit.git("diff", "--name-only", before, found.commit) == "train.py"
    assert kit.head() == before
    assert kit.git("worktree", "list").count("\n") == 0
    assert "Facts. Try something." in codex.prompts[0]
    assert "Do not run train.py" in codex.prompts[0]
    command = " ".join(codex.commands[0])
    assert "-s workspace-write" in command
    roots = command.split("writable_roots=")[1].split("]")[0]
    assert roots.endswith(f', "{kit.root}/.git"')
    assert roots.startswith(f'["{kit.root}/.git/worktrees/client-')  # Codex guards this one apart from the other


@pytest.mark.parametrize(
    ("scene", "trouble"),
    [(nothing, Trouble.no_commit), (TWO, Trouble.two_commits), (OTHER, Trouble.other_files),
     (UNNAMED, Trouble.subject), (COMMENT, Trouble.same_code), (BROKEN, Trouble.unreadable),
     (REFUSAL, Trouble.refusal),
     (ended(None, killed=Trouble.timeout), Trouble.timeout), (ended(None, killed=Trouble.tokens), Trouble.tokens)],
)  # fmt: skip
def test_failures_are_named_and_retried(kit: Kit, scene: Play, trouble: Trouble):
    with pytest.raises(NoCandidate) as failed:
        propose(kit, *[scene] * 4)
    assert str(failed.value).startswith(f"codex: {trouble.value}")
    assert str(failed.value).endswith("(4 attempts)")
    found, codex = propose(kit, scene, GOOD)
    assert found.subject.startswith("exp:")
    assert trouble.value in codex.prompts[1]


@pytest.mark.parametrize(
    ("scene", "trouble"),
    [(LOGIN, Trouble.login), (STOPPED, Trouble.stopped), (LIMIT, Trouble.limit), (CRASH, Trouble.crash)],
)
def test_what_would_only_repeat_is_not_retried(kit: Kit, scene: Play, trouble: Trouble):
    with pytest.raises(NoCandidate) as failed:
        propose(kit, scene, GOOD)
    assert str(failed.value).startswith(f"codex: {trouble.value}")
    assert str(failed.value).endswith("(1 attempt)")


def test_failed_attempts_are_paid_for_too(kit: Kit):
    found, _ = propose(kit, nothing, GOOD)
    assert found.usage == Usage(2000)
    with pytest.raises(NoCandidate) as failed:
        propose(kit, nothing, LOGIN)
    assert failed.value.usage == Usage(1000)


@pytest.mark.parametrize(
    ("said", "ends"),
    [
        ("try again at 2:05 PM.", "2026-11-30 14:05"),
        ("try again at 9:15 AM.", "2026-12-01 09:15"),
        ("try again at 12:59 PM.", "2026-11-30 12:59"),  # lifted a minute ago
        ("try again at Dec 3rd, 2026 1:11 PM.", "2026-12-03 13:11"),
        ("try again later.", None),
    ],
)
def test_the_end_of_a_limit_is_read_from_its_message(said: str, ends: str | None):
    now = datetime(2026, 11, 30, 13, 0).astimezone()
    message = f"You\N{RIGHT SINGLE QUOTATION MARK}ve hit your usage limit. Upgrade, or {said}"
    end = SessionEnd(1, (json.dumps({"type": "turn.failed", "error": {"message": message}}),), "Reading stdin...")
    failed = CODEX.failure(end, now)
    assert (failed.trouble, failed.detail) == (Trouble.limit, message)
    assert failed.limit_ends == (datetime.strptime(ends, "%Y-%m-%d %H:%M").astimezone() if ends else None)


@pytest.mark.parametrize(
    ("stderr", "trouble"),
    [
        ("thread 'main' panicked at core/src/exec.rs:503:9", Trouble.crash),
        ('File "tool.py", line 429, in main', Trouble.crash),
        ("unexpected status 502 Bad Gateway", Trouble.service),
        ('{"status":503}', Trouble.service),
        ("HTTP 429", Trouble.limit),
        ("error: 403 Forbidden", Trouble.login),
    ],
)
def test_the_number_of_a_line_is_no_status(stderr: str, trouble: Trouble):
    """A service is waited for without end, a program that crashes is not."""
    failed = CODEX.failure(SessionEnd(101, (), stderr), datetime.now().astimezone())
    assert failed is not None
    assert failed.trouble is trouble


def test_what_the_agent_says_of_its_idea_is_no_trouble_of_the_service():
    said = {"type": "item.completed", "item": {"type": "agent_message", "text": "I connect the layers by a skip."}}
    failed = CODEX.failure(SessionEnd(101, (json.dumps(said),), "panicked"), datetime.now().astimezone())
    assert failed is not None
    assert failed.trouble is Trouble.crash


def test_a_right_commit_counts_however_codex_ended(kit: Kit):
    def late(place: Path, environment: Mapping[str, str]) -> SessionEnd:
        GOOD(place, environment)
        return SessionEnd(None, (), "", Trouble.timeout)

    assert propose(kit, late)[0].subject.startswith("exp:")


def test_without_codex_there_is_a_clear_word(kit: Kit):
    codex, head = editor(kit, launch_process), kit.head()
    (kit.root.parent / "bin" / "codex").unlink()
    kit.environment["PATH"] = str(kit.root.parent / "bin")
    with pytest.raises(ConfigurationError, match="not installed") as missing:
        ClientEditor(CODEX, Lab(LabPaths(kit.root), environment=kit.environment))
    assert "npm install" in str(missing.value.next)
    codex._lab.environment["PATH"] = kit.environment["PATH"]
    with pytest.raises(NoCandidate, match="npm install") as failed:
        codex.propose(head, "x", "simplifier", lambda: False)
    assert failed.value.kind == "editor"


def test_the_launcher_reads_all_and_ends_groups(tmp_path: Path):
    def launch(script: str, give_up: GiveUp) -> SessionEnd:
        return launch_process(["sh", "-c", script], tmp_path, "in\n", {"PATH": "/bin:/usr/bin"}, give_up)

    assert launch("cat; echo err >&2; exit 3", lambda lines: None) == SessionEnd(3, ("in",), "err", None)
    done = launch("cat; sleep 600", lambda lines: Trouble.tokens if lines else None)
    assert done == SessionEnd(None, ("in",), "", Trouble.tokens)


@pytest.mark.parametrize("end", ["exit 0", "sleep 600"])
def test_nothing_that_a_session_started_outlives_it(tmp_path: Path, end: str):
    script = f"(trap '' TERM; echo started; exec sleep 600) & echo $! > pid; while [ ! -s pid ]; do :; done; {end}"
    environment = {"PATH": "/bin:/usr/bin"}
    launch_process(["sh", "-c", script], tmp_path, "", environment, lambda lines: Trouble.stopped if lines else None)
    wait_for(lambda: not Path("/proc", (tmp_path / "pid").read_text().strip(), "exe").exists())


def test_a_session_is_given_up_for_its_time_its_tokens_and_the_nights_end(kit: Kit):
    asked: list[Trouble | None] = []

    def launch(
        command: Sequence[str], place: Path, prompt: str, environment: Mapping[str, str], give_up: GiveUp
    ) -> SessionEnd:
        asked.append(give_up(FINE.lines))
        asked.append(give_up([FINE.lines[0].replace("900", "9000000")]))
        return SessionEnd(None, (), "", Trouble.stopped)

    for is_asked_to_stop in (False, True):
        with pytest.raises(NoCandidate):
            editor(kit, launch).propose(kit.head(), "x", "simplifier", lambda: is_asked_to_stop)  # noqa: B023
    assert asked == [None, Trouble.tokens, Trouble.stopped, Trouble.stopped]


def test_without_a_git_identity_the_driver_lends_one(kit: Kit, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for role in ("AUTHOR", "COMMITTER"):
        del kit.environment[f"GIT_{role}_NAME"], kit.environment[f"GIT_{role}_EMAIL"]
    found, _ = propose(kit, GOOD)
    assert kit.git("show", "-s", "--format=%an", found.commit) == "autoresearch"


def test_prompts_are_short_and_tokens_are_counted():
    assert len(prompt_of("", "simplifier").split()) < 120
    assert CODEX.usage((*FINE.lines, "noise", *FINE.lines)) == Usage(2000)
