"""Makes doctor's checks of hooks and clients: the hooks' files, their Python, their log, and each client."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from research.agents.clients import CLIENTS
from research.agents.clients.base import EVENTS, Client
from research.core.check import Check
from research.core.contract import CLIENT_SETTINGS
from research.core.files import read_json
from research.core.interpreter import OLDEST, START_S, version_of
from research.core.paths import LabPaths


def check_hooks(root: Path, environment: Mapping[str, str]) -> list[Check]:
    """Return the checks of the hooks' files, their Python and their log."""
    return [_files(root), _python(root, environment), *_log(root)]


def check_clients(root: Path, environment: Mapping[str, str]) -> list[Check]:
    """Return the checks of every client and its hooks, which take seconds."""
    return [check for client in CLIENTS.values() for check in check_client(client, root, environment)]


def check_client(client: Client, root: Path, environment: Mapping[str, str]) -> list[Check]:
    """Return the checks of one client: its version, then its login and hooks."""
    name, program = client.name, client.program(environment)
    if program is None:
        say = f"not installed; only its hooks and night --agent {name} need it"
        return [Check(name, True, say, client.install)]
    version = next((word for word in version_said(program, environment).split() if word[0].isdigit()), "")
    if not version:
        return [Check(name, False, f"{program} does not start", client.install)]
    other = "" if version == client.measured_with else f" (the hooks were measured with {client.measured_with})"
    return [Check(name, True, f"{version}{other}"), *client.checks(program, root, environment)]


def version_said(program: str, environment: Mapping[str, str]) -> str:
    """Return the version that a program prints, its name where it prints nothing, "" where it does not start."""
    try:
        said = subprocess.check_output(
            [program, "--version"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, errors="replace",
            timeout=START_S, env=dict(environment),
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.strip() or os.path.basename(program)


def _files(root: Path) -> Check:
    """Check that the hooks' own files are there, and that the settings of each client name all five."""
    fix = f"git restore {' '.join(CLIENT_SETTINGS)} research/agents/hooks"
    for name in (client.settings for client in CLIENTS.values()):
        hooks = (read_json(root / name) or {}).get("hooks")
        if missing := [event for event in EVENTS if event not in (hooks if isinstance(hooks, dict) else {})]:
            return Check("hook files", False, f"{name} does not name {', '.join(missing)}", fix)
    for name in (".codex/hooks/hook.sh", "research/agents/hooks/__main__.py"):
        if not (root / name).is_file():
            return Check("hook files", False, f"missing: {name}", fix)
    return Check("hook files", True, "five hooks, all files there")


def _python(root: Path, environment: Mapping[str, str]) -> Check:
    """Check the Python that hooks start with: the project's own, or else python3."""
    own = root / ".venv" / "bin" / "python"
    found = str(own) if os.access(own, os.X_OK) else shutil.which("python3", path=environment.get("PATH"))
    version = version_of(found, environment) if found else ()
    dotted = ".".join(map(str, version))
    if not version:
        return Check("hook python", False, "hooks find no Python that starts", "uv sync")
    if version < OLDEST:
        return Check("hook python", False, f"{found} is {dotted}; hooks need 3.10 and do nothing", "uv sync")
    return Check("hook python", True, f"{dotted} at {found}")


def _log(root: Path) -> list[Check]:
    """Return a check with the last line of the hooks' log, nothing where there is no log, as in a healthy lab."""
    path = LabPaths(root).discovery / "hooks.log"
    try:
        lines = path.read_text("utf-8", "replace").strip().splitlines()
    except OSError:
        return []
    see_more = f"tail -n 40 {path}   # with those before it"
    return [Check("hooks.log", True, f"last line: {lines[-1][:120]}", see_more)] if lines else []
