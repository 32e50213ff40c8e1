"""What doctor says of Codex: installed, project trusted, each hook trusted, modified or off, and what mends it.

The installed Codex is asked itself (``codex app-server``, hooks/list) where that is possible; without it, its
configuration is read and the hashes are made as Codex makes them. Nothing is changed.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from research.agents.clients.codex.driver import find_codex
from research.core.check import Check

MEASURED_WITH = "0.169.0"
"""The Codex whose hooks were measured."""
_ASK_S = 10.0
"""Longest wait for Codex's answer: it takes under a second."""
_NAMES = {
    "SessionStart": "session_start", "UserPromptSubmit": "user_prompt_submit", "PreToolUse": "pre_tool_use",
    "PostToolUse": "post_tool_use", "Stop": "stop",
}  # fmt: skip
_REVIEW = "start `codex` here once and choose: Trust all and continue"

Asked = Callable[[str, Path, Mapping[str, str]], "list[dict[str, Any]] | None"]


def checks(root: Path, environment: Mapping[str, str], ask: Asked | None = None) -> list[Check]:
    """The lines about Codex.

    Args:
        root: The checkout.
        environment: Variables; CODEX_HOME and PATH count.
        ask: Asks the installed Codex for its list of hooks.
    """
    codex = find_codex(environment)
    if codex is None:
        say = "not installed; only hooks and night --agent codex need it"
        return [Check("codex", True, say, "npm install -g @openai/codex"), _files(root)]
    config = _config(environment)
    found = [_version(codex, environment), _files(root), _project(root, config)]
    listed = (ask or ask_codex)(codex, root, environment)
    return [*found, _asked(listed) if listed else _read(root, config)]


def _version(codex: str, environment: Mapping[str, str]) -> Check:
    try:
        done = subprocess.run(
            [codex, "--version"], capture_output=True, text=True, timeout=_ASK_S, env=dict(environment), check=False
        )
        version = done.stdout.strip().split(" ")[-1] if done.returncode == 0 else ""
    except (OSError, subprocess.TimeoutExpired):
        version = ""
    if not version:
        return Check("codex", False, f"{codex} does not start", "npm install -g @openai/codex")
    other = "" if version == MEASURED_WITH else f" (the hooks were measured with {MEASURED_WITH})"
    return Check("codex", True, f"{version}{other}")


def _files(root: Path) -> Check:
    """Whether the hooks' own files are there and whole."""
    try:
        hooks = json.loads((root / ".codex" / "hooks.json").read_text())["hooks"]
    except (OSError, ValueError, KeyError, TypeError):
        return Check("hook files", False, ".codex/hooks.json is missing or no JSON", "git restore .codex")
    missing = [event for event in _NAMES if event not in hooks]
    folder = root / ".codex" / "hooks"
    missing += [name for name in (*_NAMES.values(), "_hook") if not (folder / f"{name}.py").is_file()]
    if missing:
        return Check("hook files", False, f"missing: {', '.join(missing)}", "git restore .codex")
    return Check("hook files", True, "five hooks, all files there")


def _config(environment: Mapping[str, str]) -> str:
    home = Path(environment.get("CODEX_HOME") or Path(environment.get("HOME") or "~").expanduser() / ".codex")
    try:
        return (home / "config.toml").read_text("utf-8", "replace")
    except OSError:
        return ""


def _table(config: str, header: str) -> dict[str, str]:
    """The plain values of one table; enough TOML for what Codex writes, on every Python that we run on."""
    found, inside = {}, False
    for line in config.splitlines():
        line = line.strip()
        if line.startswith("["):
            inside = line.replace(" ", "") == header.replace(" ", "")
        elif inside and (match := re.match(r'([\w-]+)\s*=\s*"?([^"#]*)"?', line)):
            found[match[1]] = match[2].strip()
    return found


def _project(root: Path, config: str) -> Check:
    level = _table(config, f'[projects."{root}"]').get("trust_level")
    if level == "trusted":
        return Check("codex project", True, "trusted: .codex and program.md are read")
    say = "not trusted: Codex reads neither .codex nor program.md here" if level is None else f"marked {level}"
    return Check("codex project", False, say, "start `codex` here once and trust the folder")


def _asked(listed: list[dict[str, Any]]) -> Check:
    """What Codex itself says."""
    ours = [hook for hook in listed if "/.codex/hooks/" in str(hook.get("command", ""))]
    states = {str(hook.get("eventName")): _state(hook) for hook in ours}
    if len(states) < len(_NAMES):
        say = f"Codex knows {len(states)} of five hooks ({', '.join(sorted(states)) or 'none'})"
        return Check("codex hooks", False, say, _REVIEW)
    bad = [f"{event} {state}" for event, state in states.items() if state != "trusted"]
    if bad:
        return Check("codex hooks", False, f"{', '.join(bad)}: codex exec skips them silently", _REVIEW)
    return Check("codex hooks", True, "all five trusted; Codex says that they will run")


def _state(hook: Mapping[str, Any]) -> str:
    return str(hook.get("trustStatus")) if hook.get("enabled", True) else "off"


def _read(root: Path, config: str) -> Check:
    """What the user's configuration says, where Codex can't be asked."""
    path = root / ".codex" / "hooks.json"
    bad = []
    try:
        hooks = json.loads(path.read_text())["hooks"]
        for event, name in _NAMES.items():
            state = _table(config, f'[hooks.state."{path}:{name}:0:0"]')
            if state.get("enabled") == "false":
                bad.append(f"{event} off")
            elif "trusted_hash" not in state:
                bad.append(f"{event} untrusted")
            elif state["trusted_hash"] != trusted_hash(name, hooks[event][0]):
                bad.append(f"{event} modified")
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return Check("codex hooks", False, ".codex/hooks.json can't be read", "git restore .codex")
    if bad:
        return Check("codex hooks", False, f"{', '.join(bad)}: codex exec skips them silently", _REVIEW)
    return Check("codex hooks", True, "all five trusted, by their hashes")


def trusted_hash(event: str, group: Mapping[str, Any]) -> str:
    """The hash by which Codex knows a hook again.

    Args:
        event: Its name in snake case.
        group: Its group in hooks.json, of one handler.
    """
    value: dict[str, Any] = {"event_name": event, "hooks": [{"async": False, "timeout": 600, **group["hooks"][0]}]}
    if "matcher" in group and event not in ("user_prompt_submit", "stop"):
        value["matcher"] = group["matcher"]
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def ask_codex(codex: str, root: Path, environment: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """The hooks as the installed Codex lists them; None where it does not answer."""
    lines: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": {"clientInfo": {"name": "doctor", "version": "1"}}},
        {"method": "initialized"},
        {"id": 2, "method": "hooks/list", "params": {"cwds": [str(root)]}},
    ]
    try:
        with subprocess.Popen(
            [codex, "app-server"], cwd=root, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        ) as child:  # fmt: skip
            return _talk(child, lines)
    except OSError:
        return None


def _talk(child: subprocess.Popen[str], lines: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    import threading

    assert child.stdin is not None
    assert child.stdout is not None
    guard = threading.Timer(_ASK_S, child.kill)
    guard.start()
    try:
        child.stdin.write("".join(json.dumps(line) + "\n" for line in lines))
        child.stdin.flush()
        for line in child.stdout:
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict) and value.get("id") == 2:
                return _hooks_in(value.get("result"))
    except OSError:
        return None
    finally:
        guard.cancel()
        child.kill()
    return None


def _hooks_in(value: Any) -> list[dict[str, Any]]:
    """Every object that looks like a hook, wherever the answer holds it."""
    if isinstance(value, dict):
        if "trustStatus" in value:
            return [value]
        return [hook for item in value.values() for hook in _hooks_in(item)]
    return [hook for item in value for hook in _hooks_in(item)] if isinstance(value, list) else []
