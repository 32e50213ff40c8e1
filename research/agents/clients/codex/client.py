"""Describes Codex: its tools' names, how its agent waits, how ``codex exec`` is asked for one idea and understood."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from research.agents.clients.base import Client, Failed, SessionEnd, Trouble, Usage, count_in, events_in
from research.core.check import Check

ENV_CODEX = "AUTORESEARCH_CODEX"
"""The codex program, where it is not on PATH."""
_TEXT_KEYS = ("command", "cmd", "input", "patch")
"""Names of what is typed or patched; versions of Codex differ."""
_LIMIT = re.compile(r"rate.?limit|usage limit|quota|too many requests|\b429\b", re.I)
_SERVICE = re.compile(r"overloaded|high demand|stream disconnected|error sending request|timed? ?out|\b5\d\d\b", re.I)
_RESET = re.compile(r"try again at (?:(?P<day>\w{3} \d{1,2})\w{2}, (?P<year>\d{4}) )?(?P<time>\d{1,2}:\d\d [AP]M)")
"""When a limit is lifted, by the clock of this machine."""
_LOGIN = re.compile(r"\b401\b|not logged in|unauthorized|login|api key", re.I)
_REFUSED = re.compile(r"\bI (?:can(?:'|no)t|won't|am unable to|'m unable to)\b|cannot help with|policy", re.I)


class Codex:
    """See Client."""

    name = "codex"
    install = "npm install -g @openai/codex && codex login"
    shell_tools = frozenset({"Bash", "shell", "exec_command"})
    edit_tools = frozenset({"apply_patch"})
    launching = ", in the foreground"
    waiting = "Do not end your turn: poll its session with an empty write_stdin (yield_time_ms 300000) until it exits."
    rejoining = f"{waiting} If the session is lost, wait with `sleep 60` and look at `tail -n 3 run.log`."
    advice = "(Where a sign is shown as an HTML entity, type the sign.)"
    max_blocks: int | None = None
    names_usd = False

    def tool_text(self, tool_input: object) -> str | None:
        """See Client."""
        if isinstance(tool_input, dict):
            tool_input = next((tool_input[key] for key in _TEXT_KEYS if tool_input.get(key)), None)
        if isinstance(tool_input, list):
            return shlex.join(str(word) for word in tool_input)
        return tool_input if isinstance(tool_input, str) else None

    def typed(self, prompt: str) -> str:
        """See Client."""
        return prompt

    def background(self, payload: Mapping[str, Any]) -> tuple[str, ...]:
        """See Client. Nothing wakes its agent."""
        return ()

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

    def usage(self, lines: Sequence[str]) -> Usage:
        """See Client. A turn that failed or was killed says nothing."""
        used = [event.get("usage") for event in events_in(lines) if event.get("type") == "turn.completed"]
        return Usage(sum(count_in(usage, ("input_tokens", "output_tokens")) for usage in used))

    def failure(self, end: SessionEnd, now: datetime) -> Failed | None:
        """See Client."""
        if end.killed:
            return Failed(end.killed)
        events = list(events_in(end.lines))
        errors = [str(_message(event)) for event in events if event.get("type") in ("error", "turn.failed")]
        if end.code == 0 and not errors:
            texts = [event["item"].get("text", "") for event in events if isinstance(event.get("item"), dict)]
            refused = str(texts[-1]) if texts and _REFUSED.search(str(texts[-1])) else ""
            return Failed(Trouble.refusal, refused) if refused else None
        stderr = [line for line in end.stderr.splitlines() if line.strip()]
        detail = errors[-1] if errors else "".join(stderr[-1:])
        text = f"{' '.join(errors)} {end.stderr[-4000:]}"
        if _LIMIT.search(text):
            return Failed(Trouble.limit, detail, _lifted(text, now))
        if _LOGIN.search(text):
            return Failed(Trouble.login, detail)
        if _SERVICE.search(text):
            return Failed(Trouble.service, detail)
        return Failed(Trouble.crash, detail) if end.code else None

    def checks(self, root: Path, environment: Mapping[str, str]) -> list[Check]:
        """See Client."""
        from research.agents.clients.codex.doctor import checks

        return checks(self, root, environment)


def _message(event: Mapping[str, Any]) -> object:
    """Return the words of an error."""
    error = event.get("error")
    return event.get("message") or (error.get("message") if isinstance(error, dict) else error) or ""


def _lifted(text: str, now: datetime) -> datetime | None:
    """Return when a limit is lifted, None where its message does not say that."""
    found = _RESET.search(text)
    if found is None:
        return None
    here = now.astimezone()
    day = f"{found['day']} {found['year']}" if found["day"] else f"{here:%b %d %Y}"
    try:
        at = datetime.strptime(f"{day} {found['time']}", "%b %d %Y %I:%M %p").replace(tzinfo=here.tzinfo)
    except ValueError:
        return None
    is_today = at > here - timedelta(hours=1)  # a limit that was lifted in this minute is not tomorrow's
    return at if found["day"] or is_today else at + timedelta(days=1)


CODEX: Client = Codex()
