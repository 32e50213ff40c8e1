"""Writes doctor's lines about Claude Code: whether it is installed and logged in, and whether it will run the hooks.

Claude Code has no command that lists its hooks, so its settings files are read. Nothing is changed.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from research.agents.clients.base import Client
from research.agents.clients.doctor import EVENTS, version_said
from research.core.check import Check
from research.core.files import read_json

MEASURED_WITH = "2.1.332"
"""The Claude Code whose hooks were measured."""
_ASK_S = 10.0
"""Longest wait for its answer: it takes under a second."""
_MOST_BYTES = 268_435_456
"""Largest file of its own that is read: it keeps every project's history there."""


def checks(client: Client, root: Path, environment: Mapping[str, str]) -> list[Check]:
    """Return the lines about Claude Code.

    Args:
        client: Claude Code.
        root: The checkout.
        environment: Variables; CLAUDE_CONFIG_DIR, HOME and PATH count.
    """
    claude = client.program(environment)
    if claude is None:
        say = "not installed; only its hooks and night --agent claude need it"
        return [Check("claude", True, say, client.install)]
    version = version_said(claude, environment).split(" ")[0]
    if not version:
        return [Check("claude", False, f"{claude} does not start", client.install)]
    other = "" if version == MEASURED_WITH else f" (the hooks were measured with {MEASURED_WITH})"
    return [Check("claude", True, f"{version}{other}"), _login(claude, environment), _hooks(root, environment)]


def _login(claude: str, environment: Mapping[str, str]) -> Check:
    """Ask it whether it is logged in."""
    try:
        done = subprocess.run(
            [claude, "auth", "status", "--json"], capture_output=True, text=True, timeout=_ASK_S,
            env=dict(environment), stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        answer = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return Check("claude login", False, "it did not say whether it is logged in", "claude auth status")
    if isinstance(answer, dict) and answer.get("loggedIn"):
        return Check("claude login", True, f"logged in ({answer.get('authMethod')})")
    return Check("claude login", False, "not logged in", "claude auth login")


def _hooks(root: Path, environment: Mapping[str, str]) -> Check:
    """Say whether it will run our hooks, by the settings that it reads here."""
    name = "claude hooks"
    mine = (read_json(root / ".claude" / "settings.json") or {}).get("hooks")
    missing = [event for event in EVENTS if event not in (mine if isinstance(mine, dict) else {})]
    if missing:
        say = f".claude/settings.json does not name {', '.join(missing)}"
        return Check(name, False, say, "git restore .claude")
    home = Path(environment.get("CLAUDE_CONFIG_DIR") or Path(environment.get("HOME") or "/") / ".claude")
    for path in (home / "settings.json", root / ".claude" / "settings.json", root / ".claude" / "settings.local.json"):
        if (read_json(path) or {}).get("disableAllHooks"):
            return Check(name, False, f"{path} turns all hooks off", f"take disableAllHooks out of {path}")
    where = home.parent if "CLAUDE_CONFIG_DIR" not in environment else home
    projects = (read_json(where / ".claude.json", _MOST_BYTES) or {}).get("projects")
    project = projects.get(str(root)) if isinstance(projects, dict) else None
    if not (isinstance(project, dict) and project.get("hasTrustDialogAccepted")):
        say = "this folder is not trusted yet; claude asks when it is first started here"
        return Check(name, True, say, "start `claude` here once and trust the folder")
    return Check(name, True, "five, in a trusted folder: they will run")
