"""Describes Codex: its tools' names, how its agent waits, how ``codex exec`` is asked for one idea and understood."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from research.agents.clients.base import Client, SessionEnd, Trouble
from research.core.check import Check

ENV_CODEX = "AUTORESEARCH_CODEX"
"""The codex program, where it is not on PATH."""
_TEXT_KEYS = ("command", "cmd", "input", "patch")
"""Names of what is typed or patched; versions of Codex differ."""
_LIMIT = re.compile(r"rate.?limit|usage limit|quota|too many requests|\b429\b|overloaded|\b503\b", re.I)
_LOGIN = re.compile(r"\b401\b|not logged in|unauthorized|login|api key", re.I)
_REFUSED = re.compile(r"\bI (?:can(?:'|no)t|won't|am unable to|'m unable to)\b|cannot help with|policy", re.I)


class Codex:
    """See Client."""

    name = "codex"
    install = "npm install -g @openai/codex && codex login"
    shell_tools = frozenset({"Bash", "shell", "exec_command"})
    edit_tools = frozenset({"apply_patch"})
    wait = "an empty write_stdin with yield_time_ms 300000"
    advice = "(Where a sign is shown as an HTML entity, type the sign.)"

    def tool_text(self, tool_input: object) -> str | None:
        """See Client."""
        if isinstance(tool_input, dict):
            tool_input = next((tool_input[key] for key in _TEXT_KEYS if tool_input.get(key)), None)
        if isinstance(tool_input, list):
            return shlex.join(str(word) for word in tool_input)
        return tool_input if isinstance(tool_input, str) else None

    def program(self, environment: Mapping[str, str]) -> str | None:
        """See Client."""
        return shutil.which(environment.get(ENV_CODEX) or "codex", path=environment.get("PATH"))

    def command(self, program: str, place: Path, writable: Sequence[Path], options: Sequence[str]) -> list[str]:
        """See Client. The work tree and the git folders can be written, nothing else; nobody is asked."""
        roots = json.dumps([str(folder) for folder in writable])
        return [
            program, "exec", "--json", "--skip-git-repo-check", "-C", str(place), "-s", "workspace-write",
            "-c", f"sandbox_workspace_write.writable_roots={roots}", "-c", 'approval_policy="never"', *options, "-",
        ]  # fmt: skip

    def tokens(self, lines: Sequence[str]) -> int:
        """See Client."""
        used = [event.get("usage") for event in _events(lines) if event.get("type") == "turn.completed"]
        names = ("input_tokens", "output_tokens")
        return sum(int(usage.get(name) or 0) for usage in used if isinstance(usage, dict) for name in names)

    def trouble(self, end: SessionEnd) -> Trouble | None:
        """See Client."""
        if end.killed:
            return end.killed
        events = list(_events(end.lines))
        errors = " ".join(json.dumps(event) for event in events if event.get("type") in ("error", "turn.failed"))
        if end.code == 0 and not errors:
            texts = [event["item"].get("text", "") for event in events if isinstance(event.get("item"), dict)]
            return Trouble.refusal if texts and _REFUSED.search(str(texts[-1])) else None
        text = f"{errors} {end.stderr[-4000:]}"
        if _LIMIT.search(text):
            return Trouble.rate_limit
        if _LOGIN.search(text):
            return Trouble.login
        return Trouble.crash if end.code else None

    def checks(self, root: Path, environment: Mapping[str, str]) -> list[Check]:
        """See Client."""
        from research.agents.clients.codex.doctor import checks

        return checks(self, root, environment)


def _events(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value


CODEX: Client = Codex()
