"""Doctor: every check has a name, a word and, where something is wrong, a command; it changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from research.core.check import Check
from research.report import doctor
from tests.support import inprocess
from tests.support.labkit import Kit


def by_name(checks: list[Check]) -> dict[str, Check]:
    """The checks by their names."""
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


def look(root: Path, environment: Mapping[str, str], **more: Any) -> dict[str, Check]:
    """The checks on a machine without a GPU, by their names."""
    return by_name(doctor.examine(root, environment, **{"ask": lambda _: None, "driver": lambda: None, **more}))


def test_everything_is_looked_at(kit: Kit):
    found = look(kit.root, kit.environment)
    for name in ("python", "uv", "torch", "gpu", "memory", "disk", "data", "tokenizer", "git", "memory.db", "modal"):
        assert found[name].say, name
    assert all(check.fix for check in found.values() if not check.ok)
    assert found["data"].ok  # the pocket profile makes its own
    assert found["git"].ok
    assert found["memory.db"].say == "nothing recorded yet"
    assert not (kit.root / "results").exists()


def test_a_client_that_says_anything_breaks_no_other_line(kit: Kit, tmp_path: Path):
    for name in ("codex", "claude"):
        (tmp_path / name).write_bytes(b"#!/bin/sh\nprintf '\\377\\376 2.0\\n{'\n")
        (tmp_path / name).chmod(0o755)
    environment = {**kit.environment, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    found = look(kit.root, environment, clients=True)
    assert found["git"].ok
    assert found["codex"].say.startswith("2.0")
    assert found["claude"].say.startswith("2.0")


def test_what_is_wrong_names_a_command(kit: Kit):
    environment = {**kit.environment, "AUTORESEARCH_PROFILE": "official"}
    (kit.root / "train.py").write_text("x = 1\n")
    found = look(kit.root, environment)
    assert not found["data"].ok
    assert found["data"].fix == "uv run prepare.py"
    assert not found["tokenizer"].ok
    assert not found["git"].ok
    assert "train.py" in found["git"].say
    text = doctor.in_words(list(found.values()))
    assert "type: uv run prepare.py" in text
    assert "MEND  data" in text


@pytest.mark.parametrize("name", ["PROFILE", "SEED", "TIME_BUDGET"])
def test_a_variable_that_no_run_can_use_is_to_be_unset(kit: Kit, name: str):
    found = look(kit.root, {**kit.environment, f"AUTORESEARCH_{name}": "odd"})["environment"]
    assert (found.ok, found.fix) == (False, f"unset AUTORESEARCH_{name}")


def test_a_gpu_that_torch_does_not_see(kit: Kit):
    def ask(arguments: tuple[str, ...]) -> str:
        if "driver_version" in arguments[0]:
            return "470.1\n"
        return "0, GPU-1, NVIDIA H100, 10\n"

    found = look(kit.root, kit.environment, ask=ask, driver=lambda: (11, 4))
    assert not found["gpu"].ok
    assert "driver 470.1" in found["gpu"].say
    found = look(kit.root, kit.environment, ask=ask, driver=lambda: (99, 0))
    assert found["gpu"].ok
    assert "a CUDA device is here" in found["torch"].say
    assert "rows" not in found["gpu"].say


def test_a_small_card(kit: Kit):
    def ask(arguments: tuple[str, ...]) -> str:
        return "580.1\n" if "driver_version" in arguments[0] else "0, GPU-1, RTX 3060, 5, 12288, 8.6\n"

    environment = {name: value for name, value in kit.environment.items() if name != "AUTORESEARCH_PROFILE"}
    found = look(kit.root, environment, ask=ask, driver=lambda: (99, 0))
    assert found["gpu"].ok
    assert found["gpu"].say.endswith("below 40 GB a forward takes fewer rows, and a run may take 25 minutes")
    assert found["data"].say.startswith("official: ")


@pytest.mark.parametrize(
    ("card", "why"),
    [("Tesla T4, 5, 15360, 7.5", "Tesla T4 has no bf16"), ("RTX 3050, 5, 8192, 8.6", "RTX 3050 has 8.0 GiB of memory")],
)
def test_a_card_that_can_not_run_the_official_profile(kit: Kit, card: str, why: str):
    def ask(arguments: tuple[str, ...]) -> str:
        return "580.1\n" if "driver_version" in arguments[0] else f"0, GPU-1, {card}\n"

    found = look(kit.root, kit.environment, ask=ask, driver=lambda: (99, 0))
    assert found["gpu"].ok
    assert why in found["gpu"].say
    assert found["gpu"].say.endswith(": runs use the pocket profile")
    assert found["data"].say.startswith("pocket: ")
    official = {**kit.environment, "AUTORESEARCH_PROFILE": "official"}
    found = look(kit.root, official, ask=ask, driver=lambda: (99, 0))
    assert not found["gpu"].ok
    assert found["gpu"].fix.startswith("unset AUTORESEARCH_PROFILE")


@pytest.mark.parametrize("content", [b"not a database" * 100, b""])
def test_a_damaged_memory(kit: Kit, content: bytes):
    memory = kit.root / "results" / "discovery" / "memory.db"
    memory.parent.mkdir(parents=True)
    memory.write_bytes(content)
    found = look(kit.root, kit.environment)
    assert not found["memory.db"].ok
    assert "research record" in found["memory.db"].fix


def test_the_token_is_seen_and_never_read(kit: Kit, tmp_path: Path):
    config = tmp_path / "modal.toml"
    config.write_text('token_secret = "hush"\n')
    config.chmod(0)
    found = look(kit.root, {**kit.environment, "MODAL_CONFIG_PATH": str(config)})
    assert found["modal"].ok
    assert "hush" not in str(found)


def test_outside_a_repository(tmp_path: Path):
    found = look(tmp_path, dict(os.environ))
    assert not found["git"].ok
    assert "git init" not in found["git"].say  # which is in its fix


def test_without_uv_and_git(kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What mends it must be there: an environment that uv made has no pip, and without git there is no git init."""
    monkeypatch.setenv("PATH", str(tmp_path))
    found = look(kit.root, kit.environment)
    assert not found["uv"].ok
    assert "pip" not in found["uv"].fix
    assert not found["git"].ok
    assert "git is not installed" in found["git"].say
    assert "cd " not in found["git"].fix


@pytest.mark.parametrize(("does", "say"), [("", "uv"), ("echo uv 0.13", "uv 0.13"), ("exit 1", "does not start")])
def test_uv_is_there_where_it_starts(does: str, say: str, kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    uv = tmp_path / "uv"
    uv.write_text(f"#!/bin/sh\n{does}\n")
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    found = look(kit.root, kit.environment)["uv"]
    assert (found.ok, found.say.endswith(say)) == (does != "exit 1", True)


def test_the_verb(kit: Kit):
    told = kit.json("doctor")
    assert told["schema"] == "autoresearch.doctor/1"
    checks = told["checks"]
    assert isinstance(checks, list)
    assert {"name", "ok", "say", "fix"} == set(checks[0])
    assert "codex" not in {check["name"] for check in checks}
    shown = kit.research("doctor")
    assert shown.code == 0
    assert "uv run research doctor --clients" in shown.out


def test_the_verb_asks_the_coding_agents_on_request(kit: Kit):
    told = kit.json("doctor", "--clients")
    assert isinstance(told["checks"], list)
    names = [check["name"] for check in told["checks"]]
    assert "codex" in names
    assert "clients" not in names


def test_what_is_optional_is_offered_and_what_is_wrong_is_to_be_typed():
    wrong, absent = Check("uv", False, "not on PATH", "get uv"), Check("codex", True, "not installed", "npm install")
    lines = doctor.in_words([wrong, absent]).splitlines()
    assert [lines[1].strip(), lines[3].strip()] == ["type: get uv", "if you want it: npm install"]


def test_where_nothing_can_be_recorded(kit: Kit):
    (kit.root / "results").write_text("in the way\n")
    found = look(kit.root, kit.environment)
    assert not found["disk"].ok
    assert "results is no folder" in found["disk"].say


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a disk needs root")
def test_what_to_type_about_a_disk_that_is_read_only_shows_it(kit: Kit):
    place = kit.root / "results" / "runs"
    place.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        found = look(kit.root, kit.environment)["disk"]
        shown = subprocess.run(["/bin/bash", "-c", found.fix], capture_output=True, text=True).stdout
    finally:
        subprocess.run(["umount", str(place)], check=False)
    assert not found.ok
    assert f"tmpfs on {place} type tmpfs (ro" in shown


def test_what_to_type_in_a_repository_without_a_commit_works_where_git_knows_no_author(kit: Kit, tmp_path: Path):
    root = tmp_path / "new"
    root.mkdir()
    (root / "train.py").write_text("x = 1\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "EMAIL": "", "HOME": str(tmp_path)}
    subprocess.run(["git", "init", "-q", str(root)], check=True, env=environment)
    subprocess.run(["git", "-C", str(root), "config", "user.useConfigOnly", "true"], check=True, env=environment)
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - set(environment):
            patch.delenv(name)
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        fix = look(root, environment)["git"].fix
    assert subprocess.run(["/bin/bash", "-c", fix], cwd=root, env=environment, capture_output=True).returncode == 0


def test_a_home_that_can_not_be_used_names_another(kit: Kit, tmp_path: Path):
    (tmp_path / "file").touch()
    found = look(kit.root, {**kit.environment, "AUTORESEARCH_HOME": str(tmp_path / "file")})
    for name in ("disk", "data", "tokenizer"):
        assert found[name].fix.startswith("export AUTORESEARCH_HOME="), name


def test_a_missing_author_and_the_switch_are_told(kit: Kit):
    kit.measure()
    found = look(kit.root, kit.environment)
    assert found["author"].say == "git knows who commits"
    assert found["autonomy"].say == "the loop is off (never turned on)"
    assert kit.research("autonomy", "on", "--runs", "5").code == 0
    environment = {name: value for name, value in kit.environment.items() if not name.startswith("GIT_")}
    done = inprocess.research(kit.root, {**environment, "GIT_CONFIG_GLOBAL": "/dev/null"}, "doctor", "--json")
    lines = {check["name"]: check for check in json.loads(done.out)["checks"]}
    assert "the loop is on, 5 runs, 24 hours" in lines["autonomy"]["say"]
    assert lines["autonomy"]["fix"] == "uv run research autonomy off"
    assert "git knows no author" in lines["author"]["say"]
    assert "git config user.name" in lines["author"]["fix"]
