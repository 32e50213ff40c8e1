"""Writes doctor's lines about hooks and clients: the hooks' files, their Python, their log, and each client."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from research.agents.clients import CLIENTS
from research.core.check import Check
from research.core.paths import LabPaths

OLDEST_PYTHON = (3, 10)
"""As pyproject.toml says."""
_EVENTS = ("SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop")
_FILES = (".codex/hooks/hook.sh", "research/agents/hooks/__main__.py")
_START_S = 10.0
"""Longest that an interpreter may take to say its version: a version manager's shim takes half a second."""


def check_hooks(root: Path, environment: Mapping[str, str]) -> list[Check]:
    """Return the lines about the hooks' files, their Python and their log."""
    return [_files(root), _python(root, environment), *_log(root)]


def check_clients(root: Path, environment: Mapping[str, str]) -> list[Check]:
    """Ask every client about itself and its hooks, which takes seconds."""
    return [check for client in CLIENTS.values() for check in client.checks(root, environment)]


def _files(root: Path) -> Check:
    """Check that the hooks' own files are there and whole."""
    try:
        hooks = json.loads((root / ".codex" / "hooks.json").read_text())["hooks"]
    except (OSError, ValueError, KeyError, TypeError):
        return Check("hook files", False, ".codex/hooks.json is missing or no JSON", "git restore .codex")
    missing = [event for event in _EVENTS if event not in hooks]
    missing += [name for name in _FILES if not (root / name).is_file()]
    if missing:
        return Check("hook files", False, f"missing: {', '.join(missing)}", "git restore .codex research")
    return Check("hook files", True, "five hooks, all files there")


def _python(root: Path, environment: Mapping[str, str]) -> Check:
    """Check the Python that hooks start with: the project's own, else python3."""
    own = root / ".venv" / "bin" / "python"
    python = str(own) if os.access(own, os.X_OK) else shutil.which("python3", path=environment.get("PATH"))
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [python or "python3", "-I", "-c", code], capture_output=True, text=True, timeout=_START_S,
            env=dict(environment), check=False,
        )  # fmt: skip
        version = done.stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        version = ""
    if not version:
        return Check("hook python", False, "hooks find no Python that starts", "uv sync")
    if tuple(int(part) for part in version.split(".")) < OLDEST_PYTHON:
        return Check("hook python", False, f"{python} is {version}; hooks need 3.10 and do nothing", "uv sync")
    return Check("hook python", True, f"{version} at {python}")


def _log(root: Path) -> list[Check]:
    """Show what hooks logged last; a healthy lab has no such log."""
    path = LabPaths(root).discovery / "hooks.log"
    try:
        lines = path.read_text("utf-8", "replace").strip().splitlines()
    except OSError:
        return []
    return [Check("hooks.log", True, f"last line: {lines[-1][:120]}", f"tail -n 40 {path}")] if lines else []
