"""Doctor's lines about Codex: by the user's configuration, and by asking the installed client."""

from __future__ import annotations

from pathlib import Path

import pytest

from research.agents.clients.codex.doctor import ask_codex, checks, trusted_hash
from research.core.check import Check
from tests.support import codexkit
from tests.support.labkit import Kit


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    """A repository with the hooks, and a codex that is only a name."""
    kit = codexkit.make_codex_kit(tmp_path)
    codex = kit.root.parent / "bin" / "codex"
    codex.write_text("#!/bin/sh\necho codex-cli 0.169.0\n")
    codex.chmod(0o755)
    kit.environment.pop("AUTORESEARCH_CODEX", None)
    return kit


def lines(kit: Kit) -> dict[str, Check]:
    """The lines by name, Codex not asked."""
    return {check.name: check for check in checks(kit.root, kit.environment, lambda *_: None)}


def test_without_trust_every_step_is_named(kit: Kit):
    found = lines(kit)
    assert found["codex"].ok
    assert found["hook files"].ok
    assert not found["codex project"].ok
    assert "untrusted" in found["codex hooks"].say
    assert found["codex hooks"].fix


def test_trust_change_and_switch_are_told_apart(kit: Kit):
    codexkit.trust(kit, "http://127.0.0.1:9/v1")
    assert all(check.ok for check in lines(kit).values())
    config = kit.home / "codex" / "config.toml"
    text = config.read_text()
    config.write_text(text.replace('stop:0:0"]\n', 'stop:0:0"]\nenabled = false\n'))
    assert "Stop off" in lines(kit)["codex hooks"].say
    config.write_text(text)
    hooks = kit.root / ".codex" / "hooks.json"
    hooks.write_text(hooks.read_text().replace('"timeout": 15', '"timeout": 16'))
    assert "PreToolUse modified" in lines(kit)["codex hooks"].say
    hooks.write_text("{")
    assert not lines(kit)["hook files"].ok


def test_a_lost_script_and_a_missing_codex_are_said(kit: Kit):
    (kit.root / ".codex/hooks/stop.py").unlink()
    assert "stop" in lines(kit)["hook files"].say
    kit.environment["PATH"] = "/nowhere"
    assert lines(kit)["codex"].ok


def test_both_makers_of_hashes_agree():
    group = {"matcher": "Bash", "hooks": [{"type": "command", "command": "x", "timeout": 5}]}
    assert trusted_hash("pre_tool_use", group) == codexkit.trusted_hash("pre_tool_use", group)


@codexkit.needs_codex
def test_the_installed_codex_says_what_will_run(kit: Kit):
    codexkit.trust(kit, "http://127.0.0.1:9/v1")
    environment = {**kit.environment, "AUTORESEARCH_CODEX": str(codexkit.CODEX)}
    listed = ask_codex(str(codexkit.CODEX), kit.root, environment)
    assert listed is not None
    assert len(listed) == 5
    found = {check.name: check for check in checks(kit.root, environment)}
    assert found["codex hooks"].ok, found["codex hooks"]
    assert "Codex says" in found["codex hooks"].say
