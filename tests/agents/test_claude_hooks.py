"""The hooks as Claude Code calls them, its lines in doctor, and how the end of its sessions is read."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from research.agents.clients import CLIENTS
from research.agents.clients.base import FailedAttempt, SessionEnd, Trouble, Usage
from research.agents.clients.doctor import check_client, check_hooks
from research.core.check import Check
from tests.support.codexkit import EVENTS, answer, context_of, order, refusal
from tests.support.labkit import CHECKOUT, Kit

CLAUDE = CLIENTS["claude"]
NOW = datetime(2026, 11, 30, 13, 0, tzinfo=timezone.utc)
RUN = "uv run python scripts/run_experiment.py --backend local -- uv run train.py > run.log 2>&1"


@pytest.fixture
def kit(kit: Kit) -> Kit:
    """A repository with the hooks, seen from Claude Code."""
    kit.environment["CLAUDE_PROJECT_DIR"] = str(kit.root)
    return kit


def test_the_settings_name_the_five_hooks_that_codex_has():
    settings = json.loads((CHECKOUT / ".claude/settings.json").read_text())
    hooks = json.loads((CHECKOUT / ".codex/hooks.json").read_text())["hooks"]
    assert set(settings) == {"hooks"}
    assert list(settings["hooks"]) == list(hooks) == list(EVENTS)
    for event, groups in settings["hooks"].items():
        mine, its = groups[0]["hooks"][0], hooks[event][0]["hooks"][0]
        assert (mine["timeout"], mine["statusMessage"]) == (its["timeout"], its["statusMessage"])
        assert mine["command"].split()[-1] == its["command"].rstrip("'").split()[-1]  # the hook's name


def test_orders_speak_of_its_own_tools(kit: Kit):
    kit.json("autonomy", "on")
    text = order(kit)
    assert "run_in_background" in text
    assert "600000 ms at most" in text
    assert "write_stdin" not in text
    assert "run_in_background" in refusal(kit, f"{RUN} &")


@pytest.mark.parametrize("command", [RUN, "sleep 300", "uv run research replicate abc > run.log 2>&1"])
def test_a_turn_may_end_while_a_run_is_behind_it(kit: Kit, command: str):
    kit.json("autonomy", "on")
    task = {"id": "b1", "type": "shell", "status": "running", "command": command}
    assert order(kit, background_tasks=[task]) == ""
    assert order(kit, background_tasks=[{**task, "status": "completed"}])
    assert order(kit, background_tasks=[{**task, "command": "npm run dev"}])


def test_being_woken_is_no_message_of_a_person(kit: Kit):
    kit.json("autonomy", "on")
    kit.measure()
    end = "<task-notification>\n<status>completed</status>\n<summary>stop the loop</summary>\n</task-notification>"
    context = context_of(answer(kit, "UserPromptSubmit", prompt=end))
    assert "has finished" in context
    assert "hooks are active" not in context
    assert kit.json("autonomy", "status")["enabled"] is True
    assert "now off" in context_of(answer(kit, "UserPromptSubmit", prompt="stop the loop"))


# Sessions for one idea ----------------------------------------------------------------------------------------------


def message(number: int, **usage: int) -> str:
    """A line with a message of the model."""
    return json.dumps({"type": "assistant", "message": {"id": f"m{number}", "usage": usage}})


def test_usage_is_the_results_or_that_of_the_messages_so_far():
    so_far = [message(1, input_tokens=5, output_tokens=2), message(1, input_tokens=5, output_tokens=2), "noise"]
    so_far.append(message(2, input_tokens=1, cache_read_input_tokens=100, cache_creation_input_tokens=10))
    assert CLAUDE.usage(so_far) == Usage(118)
    result = {"type": "result", "total_cost_usd": 0.25, "usage": {"input_tokens": 7, "output_tokens": 3}}
    later = {**result, "total_cost_usd": 0.5}  # its dollars are the session's so far, its tokens its own
    assert CLAUDE.usage([*so_far, json.dumps(result), json.dumps(later)]) == Usage(20, 0.5)


def ended(result: str, status: int | None = None, code: int = 1, *more: object) -> SessionEnd:
    """A session with that result."""
    last = {"type": "result", "is_error": code != 0, "result": result, "api_error_status": status}
    return SessionEnd(code, tuple(json.dumps(event) for event in (*more, last)), "")


@pytest.mark.parametrize(
    ("end", "trouble"),
    [
        (ended("Not logged in · Please run /login"), Trouble.login),
        (ended("API Error: 401 invalid x-api-key", 401), Trouble.login),
        (ended("API Error: Request rejected (429) · slow down", 429), Trouble.limit),
        (ended("Credit balance is too low"), Trouble.limit),
        (ended("API Error: Overloaded", 529), Trouble.service),
        (ended("API Error: Connection dropped (ECONNRESET)."), Trouble.service),
        (ended("I can't help with that.", code=0), Trouble.refusal),
        (SessionEnd(134, (), "Aborted"), Trouble.crash),
        (SessionEnd(None, (), "", Trouble.timeout), Trouble.timeout),
    ],
)
def test_ends_are_named(end: SessionEnd, trouble: Trouble):
    failed = CLAUDE.failure(end, NOW)
    assert (failed.trouble, failed.limit_ends) == (trouble, None)
    assert CLAUDE.failure(ended("I changed the value.", code=0), NOW) is None


def test_a_subscriptions_limit_names_its_end():
    until = {"status": "rejected", "resetsAt": NOW.timestamp() + 60}
    warned = {"type": "rate_limit_event", "rate_limit_info": {**until, "status": "allowed_warning"}}
    end = ended("You've hit your 5-hour limit", 429, 1, {"type": "rate_limit_event", "rate_limit_info": until})
    assert CLAUDE.failure(end, NOW) == FailedAttempt(
        Trouble.limit, "You've hit your 5-hour limit", NOW.replace(minute=1)
    )
    assert CLAUDE.failure(ended("You've hit your limit", 429, 1, warned), NOW) == FailedAttempt(
        Trouble.limit, "You've hit your limit"
    )


# Doctor -------------------------------------------------------------------------------------------------------------


def lines(kit: Kit) -> dict[str, Check]:
    """Doctor's lines about a claude that is only a script."""
    return {check.name: check for check in check_client(CLAUDE, kit.root, kit.environment)}


def test_doctor_says_what_keeps_it_from_working(kit: Kit):
    home = kit.home / ".claude"
    home.mkdir()
    program = kit.root.parent / "bin" / "claude"
    kit.environment |= {"AUTORESEARCH_CLAUDE": str(program), "HOME": str(kit.home)}
    assert "not installed" in lines(kit)["claude"].say
    version, login = f"{CLAUDE.measured_with} (Claude Code)", '{\\"loggedIn\\": false}'
    program.write_text(f'#!/bin/sh\n[ "$1" = auth ] && echo "{login}" || echo "{version}"\n')
    program.chmod(0o755)
    found = lines(kit)
    assert found["claude"].say == CLAUDE.measured_with
    assert found["claude login"].fix == "claude auth login"
    assert "trust the folder" in found["claude hooks"].fix
    trusted = {"projects": {str(kit.root): {"hasTrustDialogAccepted": True}}}
    (kit.home / ".claude.json").write_text(json.dumps(trusted))
    assert "they will run" in lines(kit)["claude hooks"].say
    (home / "settings.json").write_text('{"disableAllHooks": true}')
    assert "disableAllHooks" in lines(kit)["claude hooks"].fix
    (kit.root / ".claude/settings.json").unlink()
    files = check_hooks(kit.root, kit.environment)[0]
    assert "does not name SessionStart" in files.say
    assert ".claude" in files.fix
