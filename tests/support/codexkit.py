"""A lab with this checkout's hooks in it, and the real Codex client where it is installed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from research.agents.clients.base import EVENTS
from research.agents.clients.codex import CODEX as CLIENT
from research.agents.hooks.entry import run as run_hook
from research.core.contract import CLIENT_SETTINGS
from research.core.paths import LabPaths
from research.core.records import Plan
from research.store.db import Store
from research.store.open import open_store
from tests.support import inprocess
from tests.support.labkit import CHECKOUT, TRAIN, Kit, commit_base, make_kit
from tests.support.templates import commit_all, git, template

CODEX = os.environ.get("AUTORESEARCH_CODEX") or shutil.which("codex")
needs_codex = pytest.mark.skipif(
    CODEX is None,
    reason=f"codex is not installed: npm install @openai/codex@{CLIENT.measured_with}, then set AUTORESEARCH_CODEX",
)
AT = "2026-01-01T00:00:00Z"
EVENT_MODULES = {event: re.sub(r"\B(?=[A-Z])", "_", event).lower() for event in EVENTS}
"""The module of each event's hook: session_start and so on."""


def make_codex_kit(folder: Path) -> Kit:
    """A repository on autoresearch/try with the harness of this checkout."""
    kit = make_kit(folder)
    shutil.rmtree(kit.root)
    shutil.copytree(template(_commit_harness, TRAIN), kit.root, symlinks=True)
    kit.git("update-index", "-q", "--refresh")  # else each call of git would look into every file that was copied
    path = kit.environment["PATH"]
    (kit.home / ".profile").write_text(f'export PATH="{path}"\n')  # tools get a login shell's PATH
    return kit


def _commit_harness(root: Path, train: str) -> None:
    """Make a kit's repository with the harness of this checkout, compiled as it would be after the first hooks."""
    commit_base(root, train)
    for part in (*CLIENT_SETTINGS, "research", "scripts"):
        shutil.copytree(CHECKOUT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("program.md", "AGENTS.md", "CLAUDE.md"):
        shutil.copy(CHECKOUT / name, root, follow_symlinks=False)
    git(root, "checkout", "-q", "main")
    commit_all(root, "harness")
    git(root, "checkout", "-q", "-B", "autoresearch/try")
    git(root, "gc", "-q")  # one file to copy for each test, not hundreds
    rooms = [
        str(root / "research" / name) for name in ("__init__.py", "agents", "code", "core", "lab", "runs", "store")
    ]
    subprocess.run([sys.executable, "-I", "-m", "compileall", "-q", *rooms], check=True)


def command_of(kit: Kit, event: str) -> str:
    """The line of shell that Codex runs for an event."""
    groups = json.loads((kit.root / ".codex" / "hooks.json").read_text())["hooks"][event]
    return str(groups[0]["hooks"][0]["command"])


def feed(kit: Kit, event: str, text: bytes, cwd: Path | None = None) -> bytes:
    """Feeds a hook any bytes, as Codex does: in a process of a shell; returns what it prints."""
    done = subprocess.run(
        ["/bin/bash", "-c", command_of(kit, event)], cwd=cwd or kit.root, input=text, capture_output=True,
        env=kit.environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    return done.stdout


def payload_of(kit: Kit, event: str, cwd: Path | None, payload: dict[str, object]) -> bytes:
    """What Codex sends, with the fields that every event has."""
    whole = {"session_id": "s", "cwd": str(cwd or kit.root), "hook_event_name": event, "model": "gpt-5.5", **payload}
    return json.dumps(whole).encode()


def hook(kit: Kit, event: str, cwd: Path | None = None, **payload: object) -> dict[str, object] | None:
    """Runs a hook as Codex does; returns its object, None where it prints nothing."""
    return _object(feed(kit, event, payload_of(kit, event, cwd, payload), cwd))


def answer(kit: Kit, event: str, **payload: object) -> dict[str, object] | None:
    """What a hook answers, asked inside this process, which takes a tenth of the time."""
    return _object(answer_to(kit, event, payload_of(kit, event, None, payload)))


def answer_to(kit: Kit, event: str, text: bytes) -> bytes:
    """What a hook prints to any bytes, asked inside this process; what goes wrong is logged as its start does."""

    def call() -> int:
        try:
            run_hook(EVENT_MODULES[event], str(kit.root), note)
        except Exception:
            note(traceback.format_exc())
        return 0

    def note(line: str) -> None:
        path = LabPaths(kit.root).discovery / "hooks.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(f"2026-01-01T00:00:00Z {EVENT_MODULES[event]}: {line.rstrip()}\n")

    return inprocess.printed(call, kit.root, kit.environment, text).out.encode()


def _object(printed: bytes) -> dict[str, object] | None:
    value = json.loads(printed) if printed.strip() else None
    assert value is None or isinstance(value, dict)
    return value


def order(kit: Kit, **payload: object) -> str:
    """Return what Stop says: the next order, or why the loop has ended; "" where it lets the turn end."""
    return order_in(answer(kit, "Stop", **payload))


def order_in(said: dict[str, object] | None) -> str:
    """The order in an answer of Stop."""
    assert said is None or set(said) in ({"decision", "reason"}, {"systemMessage"})
    return "".join(str(text) for name, text in (said or {}).items() if name != "decision")


def after_tool(kit: Kit) -> str:
    """Return what PostToolUse says."""
    return context_of(answer(kit, "PostToolUse", tool_name="Bash", tool_input={"command": "ls"}, tool_response=""))


def refusal(kit: Kit, command: str, **payload: object) -> str:
    """Why a command is refused, "" where it is not."""
    return denial_of(answer(kit, "PreToolUse", tool_name="Bash", tool_input={"command": command}, **payload))


def with_baseline(kit: Kit) -> None:
    """Measures the baseline, settles it, and turns the loop on."""
    assert kit.measure().code == 0
    assert kit.research("settle").code == 0
    assert kit.research("autonomy", "on").code == 0


def memory(kit: Kit) -> Store:
    """The lab's memory."""
    return open_store(LabPaths(kit.root), AT, print)


def plan_instead(kit: Kit, *plans: Plan) -> None:
    """Puts plans in the place of those that are pending."""
    with memory(kit) as store:
        store.drop_plans(AT)
        for plan in plans:
            store.add_plan(plan)


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
        name = EVENT_MODULES[event]
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
