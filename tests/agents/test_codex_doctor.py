"""Doctor's lines about hooks and about Codex: by what the client lists, scripted and as the installed one does."""

from __future__ import annotations

import sys

import pytest

from research.agents.clients import doctor
from research.agents.clients.codex import ask_codex, check_hooks
from research.core.check import Check
from tests.support import codexkit
from tests.support.labkit import Kit

NAMES = ("sessionStart", "userPromptSubmit", "preToolUse", "postToolUse", "stop")


@pytest.fixture
def kit(kit: Kit) -> Kit:
    """A repository with the hooks, and a codex that is only a name."""
    codex = kit.root.parent / "bin" / "codex"
    codex.write_text("#!/bin/sh\necho codex-cli 0.169.0\n")
    codex.chmod(0o755)
    kit.environment.pop("AUTORESEARCH_CODEX", None)
    return kit


def listed(trust: str = "trusted", **change: object) -> list[dict[str, object]]:
    """Five hooks as Codex lists them, the last one changed."""
    hook = {"command": "sh -c '... .codex/hooks/hook.sh stop'".replace(" .codex", " /.codex"), "enabled": True}
    hooks: list[dict[str, object]] = [{**hook, "eventName": name, "trustStatus": trust} for name in NAMES]
    hooks[-1] |= change
    return hooks


@pytest.mark.parametrize(
    ("answer", "say", "fix"),
    [
        (None, "did not say", "install"),
        ([], "neither .codex nor program.md", "trust the folder"),
        (listed("untrusted"), "stop untrusted", "Trust all"),
        (listed(trustStatus="modified"), "stop modified", "Trust all"),
        (listed(enabled=False), "stop switched off", "enabled = false"),
        (listed()[:4], "4 of five", "git restore"),
    ],
)
def test_what_keeps_codex_from_running_the_hooks_is_named_with_its_cure(
    answer: list[dict[str, object]] | None, say: str, fix: str
):
    line = check_hooks(answer)
    assert not line.ok
    assert say in line.say
    assert fix in line.fix
    assert check_hooks(listed()).ok


def lines(kit: Kit) -> dict[str, Check]:
    """Doctor's lines by name."""
    found = doctor.check_hooks(kit.root, kit.environment) + doctor.check_clients(kit.root, kit.environment)
    return {check.name: check for check in found}


def test_lost_files_and_a_missing_codex_are_said(kit: Kit):
    kit.environment["PATH"] = "/nowhere"
    found = lines(kit)
    assert found["codex"].ok
    assert found["hook files"].ok
    assert "no Python" in found["hook python"].say
    (kit.root / ".codex/hooks/hook.sh").unlink()
    assert "hook.sh" in lines(kit)["hook files"].say
    (kit.root / ".codex/hooks.json").write_text("{")
    assert not lines(kit)["hook files"].ok


def test_the_python_that_hooks_start_with_is_looked_at(kit: Kit):
    kit.environment["PATH"] = str(kit.root.parent / "bin")
    python = kit.root.parent / "bin" / "python3"
    python.write_text("#!/bin/sh\necho 3.8\n")
    python.chmod(0o755)
    assert "is 3.8" in lines(kit)["hook python"].say
    own = kit.root / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.symlink_to(sys.executable)
    assert lines(kit)["hook python"].ok


def test_the_last_line_of_the_hooks_log_is_shown(kit: Kit):
    assert "hooks.log" not in lines(kit)
    (kit.root / "results/discovery").mkdir(parents=True)
    (kit.root / "results/discovery/hooks.log").write_text("one\ntwo\n")
    assert lines(kit)["hooks.log"].say == "last line: two"


@codexkit.needs_codex
def test_the_installed_codex_says_what_will_run(kit: Kit):
    kit.environment["AUTORESEARCH_CODEX"] = str(codexkit.CODEX)
    kit.environment["CODEX_HOME"] = str(kit.home / "codex")
    (kit.home / "codex").mkdir()
    assert "trust the folder" in lines(kit)["codex hooks"].fix
    codexkit.trust(kit, "http://127.0.0.1:9/v1")
    answer = ask_codex(str(codexkit.CODEX), kit.root, kit.environment)
    assert len(answer) == 5
    assert lines(kit)["codex hooks"].ok
    config = kit.home / "codex" / "config.toml"
    text = config.read_text()
    config.write_text(text + "\n[features]\nhooks = false\n")
    assert "hooks = false" in lines(kit)["codex hooks"].say
    config.write_text(text.replace('stop:0:0"]\n', 'stop:0:0"]\nenabled = false\n'))
    assert "stop switched off" in lines(kit)["codex hooks"].say
