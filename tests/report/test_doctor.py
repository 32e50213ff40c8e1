"""Doctor: every check has a name, a word and, where something is wrong, a command; it changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.labkit import Kit, kit

from research.core.check import Check
from research.report import doctor

__all__ = ["kit"]


def by_name(checks: list[Check]) -> dict[str, Check]:
    """The checks by their names."""
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch is asked in a process of its own, which takes seconds; here it answers at once."""
    answer = '["2.13.0", "13.0", null]'
    monkeypatch.setattr(doctor, "_output", lambda command, environment=None: answer if "-c" in command else "uv 1")


def test_everything_is_looked_at(kit: Kit, quick: None):
    found = by_name(doctor.examine(kit.root, kit.environment, ask=lambda _: None))
    for name in ("python", "uv", "torch", "gpu", "memory", "disk", "data", "tokenizer", "git", "memory.db", "modal"):
        assert found[name].say, name
    assert all(check.fix for check in found.values() if not check.ok)
    assert found["data"].ok  # the pocket profile makes its own
    assert found["git"].ok
    assert found["memory.db"].say == "nothing recorded yet"
    assert not (kit.root / "results").exists()


def test_what_is_wrong_names_a_command(kit: Kit, quick: None):
    environment = {**kit.environment, "AUTORESEARCH_PROFILE": "official"}
    (kit.root / "train.py").write_text("x = 1\n")
    found = by_name(doctor.examine(kit.root, environment, ask=lambda _: None))
    assert not found["data"].ok
    assert found["data"].fix == "uv run prepare.py"
    assert not found["tokenizer"].ok
    assert not found["git"].ok
    assert "train.py" in found["git"].say
    text = doctor.in_words(list(found.values()))
    assert "type: uv run prepare.py" in text
    assert "MEND  data" in text


def test_a_gpu_that_torch_does_not_see(kit: Kit, quick: None):
    def ask(arguments: tuple[str, ...]) -> str:
        if "driver_version" in arguments[0]:
            return "470.1, 81559 MiB, 81000 MiB\n"
        return "0, GPU-1, NVIDIA H100, 10\n"

    found = by_name(doctor.examine(kit.root, kit.environment, ask=ask))
    assert not found["gpu"].ok
    assert "driver 470.1" in found["gpu"].say


@pytest.mark.parametrize("content", [b"not a database" * 100, b""])
def test_a_damaged_memory(kit: Kit, quick: None, content: bytes):
    memory = kit.root / "results" / "discovery" / "memory.db"
    memory.parent.mkdir(parents=True)
    memory.write_bytes(content)
    found = by_name(doctor.examine(kit.root, kit.environment, ask=lambda _: None))
    assert not found["memory.db"].ok
    assert "research record" in found["memory.db"].fix


def test_the_token_is_seen_and_never_read(kit: Kit, quick: None, tmp_path: Path):
    config = tmp_path / "modal.toml"
    config.write_text('token_secret = "hush"\n')
    config.chmod(0)
    found = by_name(doctor.examine(kit.root, {**kit.environment, "MODAL_CONFIG_PATH": str(config)}, ask=lambda _: None))
    assert found["modal"].ok
    assert "hush" not in str(found)


def test_outside_a_repository(tmp_path: Path, quick: None):
    found = by_name(doctor.examine(tmp_path, dict(os.environ), ask=lambda _: None))
    assert not found["git"].ok


def test_without_uv_and_git(kit: Kit, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What mends it must be there: an environment that uv made has no pip, and without git there is no git init."""
    monkeypatch.setenv("PATH", str(tmp_path))
    found = by_name(doctor.examine(kit.root, kit.environment, ask=lambda _: None))
    assert not found["uv"].ok
    assert "pip" not in found["uv"].fix
    assert not found["git"].ok
    assert "git is not installed" in found["git"].say
    assert "cd " not in found["git"].fix


def test_the_verb(kit: Kit):
    told = kit.json("doctor")
    assert told["schema"] == "autoresearch.doctor/1"
    checks = told["checks"]
    assert isinstance(checks, list)
    assert {"name", "ok", "say", "fix"} == set(checks[0])
    assert kit.research("doctor").code == 0


def test_where_nothing_can_be_recorded(kit: Kit, quick: None):
    (kit.root / "results").write_text("in the way\n")
    found = by_name(doctor.examine(kit.root, kit.environment, ask=lambda _: None))
    assert not found["disk"].ok
    assert "results is no folder" in found["disk"].say
