"""Writes doctor's lines about Codex: whether it is installed, and whether it will run the five hooks.

The installed Codex is asked itself (``codex app-server``, hooks/list). Nothing is changed.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from research.agents.clients.base import Client
from research.agents.clients.doctor import version_said
from research.core.check import Check

MEASURED_WITH = "0.171.0"
"""The Codex whose hooks were measured."""
_ASK_S = 10.0
"""Longest wait for Codex's answer: it takes under a second."""
_HOOKS = 5
_REVIEW = "start `codex` here, send a message and choose: Trust all and continue"
_TRUST = "start `codex` here, send a message and trust the folder"
_SWITCH_ON = "take `enabled = false` out of its [hooks.state] table in ~/.codex/config.toml"

Ask = Callable[[str, Path, Mapping[str, str]], "list[dict[str, Any]] | None"]


def ask_codex(codex: str, root: Path, environment: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """Return the hooks as the installed Codex lists them; None where it does not answer."""
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
            guard = threading.Timer(_ASK_S, child.kill)
            guard.start()
            try:
                return _talk(child, "".join(json.dumps(line) + "\n" for line in lines))
            finally:
                guard.cancel()
                child.kill()
    except OSError:
        return None


def _talk(child: subprocess.Popen[str], text: str) -> list[dict[str, Any]] | None:
    """Send lines and read answers up to the one that lists the hooks; the server ends with its stdin, so that stays."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(text)
    child.stdin.flush()
    for line in child.stdout:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and value.get("id") == 2:
            return list(_hooks_in(value.get("result")))
    return None


def _hooks_in(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object that looks like a hook, wherever the answer holds it."""
    if isinstance(value, dict) and "trustStatus" in value:
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _hooks_in(item)


def checks(client: Client, root: Path, environment: Mapping[str, str], ask: Ask = ask_codex) -> list[Check]:
    """Return the lines about Codex.

    Args:
        client: Codex.
        root: The checkout.
        environment: Variables; CODEX_HOME and PATH count.
        ask: Asks the installed Codex for its list of hooks.
    """
    codex = client.program(environment)
    if codex is None:
        return [Check("codex", True, "not installed; only hooks and night --agent codex need it", client.install)]
    version = version_said(codex, environment).split(" ")[-1]
    if not version:
        return [Check("codex", False, f"{codex} does not start", client.install)]
    other = "" if version == MEASURED_WITH else f" (the hooks were measured with {MEASURED_WITH})"
    return [Check("codex", True, f"{version}{other}"), _hooks_check(ask(codex, root, environment))]


def _hooks_check(listed: list[dict[str, Any]] | None) -> Check:
    """Say what Codex will do with our hooks, as it lists them."""
    name = "codex hooks"
    if listed is None:
        return Check(name, False, "Codex did not say which hooks it trusts", "npm install -g @openai/codex@latest")
    ours = [hook for hook in listed if "/.codex/hooks/" in str(hook.get("command", ""))]
    if not ours:
        say = "Codex reads neither .codex nor program.md here, or its hooks are off (hooks = false under [features])"
        return Check(name, False, say, _TRUST)
    off = [str(hook.get("eventName")) for hook in ours if not hook.get("enabled", True)]
    if off:
        return Check(name, False, f"{', '.join(off)} switched off", _SWITCH_ON)
    bad = [f"{hook.get('eventName')} {status}" for hook in ours if (status := hook.get("trustStatus")) != "trusted"]
    if bad:
        return Check(name, False, f"{', '.join(bad)}: codex exec skips them silently", _REVIEW)
    if len(ours) < _HOOKS:
        return Check(name, False, f"Codex knows {len(ours)} of five hooks", "git restore .codex")
    return Check(name, True, "all five trusted; Codex says that they will run")
