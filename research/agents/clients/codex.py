"""Describes Codex: its tools, how its agent waits, and how ``codex exec`` is started for one idea and read.

For doctor the installed Codex is asked itself (``codex app-server``, hooks/list). Nothing is changed.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from research.agents.clients.base import EVENTS, Client, Usage, count_in, events_in
from research.core.check import Check

_ASK_S = 10.0
"""Longest wait for Codex's answer: it takes under a second."""
_RESET = re.compile(r"try again at (?:(?P<day>\w{3} \d{1,2})\w{2}, (?P<year>\d{4}) )?(?P<time>\d{1,2}:\d\d [AP]M)")
"""The words that name the time when a limit is lifted, by the clock of this machine."""


class Codex(Client):
    """The client Codex."""

    name = "codex"
    variable = "AUTORESEARCH_CODEX"
    settings = ".codex/hooks.json"
    hook_variable = ""
    install = "npm install -g @openai/codex && codex login"
    measured_with = "0.171.0"
    shell_tools = frozenset({"Bash", "shell", "exec_command"})
    edit_tools = frozenset({"apply_patch"})
    launching = ", in the foreground"
    waiting = "Do not end your turn: poll its session with an empty write_stdin (yield_time_ms 300000) until it exits."
    rejoining = f"{waiting} If the session is lost, wait with `sleep 300` and look at `tail -n 3 run.log`."
    advice = "(Where a sign is shown as an HTML entity, type the sign.)"

    def command(self, program: str, place: Path, writable: Sequence[Path]) -> list[str]:
        """Return the command line of a session that may write the work tree and the git folders, and asks nobody."""
        roots = json.dumps([str(folder) for folder in writable])
        return [
            program, "exec", "--json", "--skip-git-repo-check", "-C", str(place), "-s", "workspace-write",
            "-c", f"sandbox_workspace_write.writable_roots={roots}", "-c", 'approval_policy="never"', "-",
        ]  # fmt: skip

    def usage(self, lines: Sequence[str]) -> Usage:
        """Return the usage of the completed turns; one that failed or was killed reports none."""
        used = [event.get("usage") for event in events_in(lines) if event.get("type") == "turn.completed"]
        return Usage(sum(count_in(usage, ("input_tokens", "output_tokens")) for usage in used))

    def words_in(self, events: Sequence[Mapping[str, Any]]) -> tuple[list[str], bool]:
        errors = [event for event in events if event.get("type") in ("error", "turn.failed")]
        if errors:
            return [str(event.get("message") or _message(event.get("error"))) for event in errors], True
        return [str(event["item"].get("text", "")) for event in events if isinstance(event.get("item"), dict)], False

    def limit_end(self, events: Sequence[Mapping[str, Any]], text: str, now: datetime) -> datetime | None:
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

    def checks(self, program: str, root: Path, environment: Mapping[str, str]) -> list[Check]:
        return [check_hooks(ask_codex(program, root, environment))]


def _message(error: object) -> object:
    return error.get("message") if isinstance(error, dict) else error


def ask_codex(program: str, root: Path, environment: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """Return the hooks as the installed Codex lists them; None where it does not answer."""
    lines: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": {"clientInfo": {"name": "doctor", "version": "1"}}},
        {"method": "initialized"},
        {"id": 2, "method": "hooks/list", "params": {"cwds": [str(root)]}},
    ]
    try:
        with subprocess.Popen(
            [program, "app-server"], cwd=root, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, errors="replace",
        ) as child:  # fmt: skip
            guard = threading.Timer(_ASK_S, child.kill)
            guard.start()
            try:
                assert child.stdin is not None
                assert child.stdout is not None
                child.stdin.write("".join(json.dumps(line) + "\n" for line in lines))
                child.stdin.flush()  # the server would end with its stdin, so that stays open
                answers = (event for line in child.stdout for event in events_in([line]) if event.get("id") == 2)
                answer = next(answers, None)
                return None if answer is None else list(_hooks_in(answer.get("result")))
            finally:
                guard.cancel()
                child.kill()
    except OSError:
        return None


def _hooks_in(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object that looks like a hook, wherever the answer holds it."""
    if isinstance(value, dict) and "trustStatus" in value:
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _hooks_in(item)


def check_hooks(listed: list[dict[str, Any]] | None) -> Check:
    """Check, by Codex's own list, whether it will run our hooks."""
    ours = [hook for hook in listed or () if "/.codex/hooks/" in str(hook.get("command", ""))]
    off = [str(hook.get("eventName")) for hook in ours if not hook.get("enabled", True)]
    bad = [f"{hook.get('eventName')} {status}" for hook in ours if (status := hook.get("trustStatus")) != "trusted"]
    say, fix = "", ""
    if listed is None:
        say, fix = "Codex did not say which hooks it trusts", "npm install -g @openai/codex@latest"
    elif not ours:
        say = "Codex reads neither .codex nor program.md here, or its hooks are off (hooks = false under [features])"
        fix = "start `codex` here, send a message and trust the folder"
    elif off:
        say = f"{', '.join(off)} switched off"
        fix = "take `enabled = false` out of its [hooks.state] table in ~/.codex/config.toml"
    elif bad:
        say = f"{', '.join(bad)}: codex exec skips them silently"
        fix = "start `codex` here, send a message and choose: Trust all and continue"
    elif len(ours) < len(EVENTS):
        say, fix = f"Codex knows {len(ours)} of five hooks", "git restore .codex"
    return Check("codex hooks", not say, say or "all five trusted; Codex says that they will run", fix)


CODEX: Client = Codex()
