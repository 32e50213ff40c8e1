"""A lab with this checkout's hooks in it, and the real Codex client where it is installed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.labkit import CHECKOUT, Kit, make_kit

CODEX = os.environ.get("AUTORESEARCH_CODEX") or shutil.which("codex")
MADE_FOR = "0.169.0"
"""The version that the hooks were measured with; another one may behave differently."""

needs_codex = pytest.mark.skipif(
    CODEX is None, reason="codex is not installed: npm install @openai/codex@0.169.0, then set AUTORESEARCH_CODEX"
)
EVENTS = ("SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop")
_NAMES = {"SessionStart": "session_start", "UserPromptSubmit": "user_prompt_submit", "PreToolUse": "pre_tool_use",
          "PostToolUse": "post_tool_use", "Stop": "stop"}  # fmt: skip


def make_codex_kit(folder: Path) -> Kit:
    """A repository on autoresearch/try with the harness of this checkout."""
    kit = make_kit(folder)
    for part in (".codex", "research", "scripts"):
        shutil.copytree(CHECKOUT / part, kit.root / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "program.md", kit.root)
    path = kit.environment["PATH"]
    (kit.home / ".profile").write_text(f'export PATH="{path}"\n')  # tools get a login shell's PATH
    kit.git("checkout", "-q", "main")
    kit.git("add", "-A")
    kit.git("commit", "-qm", "harness")
    kit.git("checkout", "-q", "-B", "autoresearch/try")
    return kit


def hook(kit: Kit, event: str, cwd: Path | None = None, **payload: object) -> dict[str, object] | None:
    """Runs a hook as Codex does; returns its object, None where it prints nothing."""
    groups = json.loads((kit.root / ".codex" / "hooks.json").read_text())["hooks"][event]
    whole = {"session_id": "s", "cwd": str(cwd or kit.root), "hook_event_name": event, "model": "gpt-5.5", **payload}
    done = subprocess.run(
        ["/bin/bash", "-c", groups[0]["hooks"][0]["command"]],
        cwd=cwd or kit.root, input=json.dumps(whole).encode(), capture_output=True, env=kit.environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    value = json.loads(done.stdout) if done.stdout.strip() else None
    assert value is None or isinstance(value, dict)
    return value


def context_of(answer: dict[str, object] | None) -> str:
    """The additionalContext of an answer, "" without one."""
    part = (answer or {}).get("hookSpecificOutput")
    return str(part.get("additionalContext", "")) if isinstance(part, dict) else ""


def denial_of(answer: dict[str, object] | None) -> str:
    """The reason of a denial, "" without one."""
    part = (answer or {}).get("hookSpecificOutput")
    return str(part.get("permissionDecisionReason", "")) if isinstance(part, dict) else ""


DIRECT, CODED = "gpt-5.5", "gpt-6.1-sol"
"""A model that calls tools itself, and one that calls them from a script (code mode)."""


def trust(kit: Kit, url: str, model: str = DIRECT) -> None:
    """A Codex home that trusts the project and its hooks, and asks the model server."""
    home = kit.home / "codex"
    home.mkdir(exist_ok=True)
    hooks = kit.root / ".codex" / "hooks.json"
    lines = [
        f'model = "{model}"', 'model_provider = "local"', "",
        "[model_providers.local]", 'name = "local"', f'base_url = "{url}"', 'wire_api = "responses"',
        "request_max_retries = 0", "stream_max_retries = 0", "",
        f'[projects."{kit.root}"]', 'trust_level = "trusted"', "",
    ]  # fmt: skip
    for event, groups in json.loads(hooks.read_text())["hooks"].items():
        name = _NAMES[event]
        lines += [f'[hooks.state."{hooks}:{name}:0:0"]', f'trusted_hash = "{trusted_hash(name, groups[0])}"', ""]
    (home / "config.toml").write_text("\n".join(lines))
    kit.environment["CODEX_HOME"] = str(home)


def trusted_hash(event: str, group: dict[str, object]) -> str:
    """The hash by which Codex knows a hook again."""
    handler = dict(group["hooks"][0])  # type: ignore[index]
    handler = {"async": False, "timeout": 600, **handler}
    value: dict[str, object] = {"event_name": event, "hooks": [handler]}
    if "matcher" in group and event not in ("user_prompt_submit", "stop"):
        value["matcher"] = group["matcher"]
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def codex_exec(kit: Kit, prompt: str, *options: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """One codex exec in the repository."""
    assert CODEX is not None
    command = [CODEX, "exec", "--json", "--dangerously-bypass-approvals-and-sandbox", *options, prompt]
    return subprocess.run(
        command, cwd=kit.root, env=kit.environment, capture_output=True, text=True, timeout=timeout,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
