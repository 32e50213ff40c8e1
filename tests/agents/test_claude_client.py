"""The real Claude Code against a scripted model: what fires, what is refused, what the model gets to see.

With AUTORESEARCH_TRANSCRIPTS=docs/history the sessions are written there, in claude-session.md, as the model saw them.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from research.agents.clients.base import Trouble
from tests.support import sessions
from tests.support.claudekit import CLAUDE, claude_print, needs_claude, settle_in
from tests.support.labkit import Kit
from tests.support.model_server import Model, Quota, Say, Script, Shell, Step, Tool, model_server, texts_of
from tests.support.sessions import RUN, SETTLE, as_ordered, back_and, edit

pytestmark = needs_claude
HOOKS, NIGHT = "A session through the hooks", "A night of five ideas"


@pytest.fixture(scope="module")
def book() -> Iterator[dict[str, str]]:
    """The chapters of the transcript, written at the end where that is asked for."""
    with sessions.transcript("claude", "Claude Code", "", CLAUDE, (HOOKS, NIGHT)) as chapters:
        yield chapters


def chapter(model: Model, kit: Kit, lines: str = "") -> str:
    """What a model saw; each session of a night has a work tree of its own."""
    places = {place: "WORKTREE" for place in map(place_of, model.requests) if "client-" in place}
    return sessions.chapter(model, kit, places, lines)


def place_of(body: dict[str, Any]) -> str:
    """The folder in which a session works."""
    texts = [text for message in body["messages"] for text in texts_of(message["content"])]
    return next(found[1] for text in texts if (found := re.search(r"Primary working directory: (.*)", text)))


def test_a_session_of_three_experiments(kit: Kit, book: dict[str, str]):
    """The baseline and three ideas, as ordered; refusals, runs in the background, a compaction, a limit, and a stop."""
    kit.write("ok", extra="time.sleep(2 * (VAL == 0.99))  # the baseline is slow")
    kit.git("commit", "-qam", "base: slow")
    prepare = str(kit.root / "prepare.py")
    steps: list[Step | Script] = [
        Shell("uv run train.py > run.log 2>&1"), Shell("sed -i s/300/600/ prepare.py"),
        Tool("Read", {"file_path": prepare}),
        Tool("Edit", {"file_path": prepare, "old_string": "import json, sys", "new_string": "import json"}),
        Shell(f"{RUN} &"), Shell(RUN, behind=True), Say("The baseline is running."), Say("The baseline is measured."),
        as_ordered, Say("It is settled."),
        Shell(edit(0.98)), as_ordered, Say("The first idea is running."), Say("It is measured."),
        Shell(SETTLE, tokens=150_000), Say("The first idea is settled."),
        Shell(edit(0.9786)), as_ordered, Say("The second idea is running."), Say("It is measured."),
        back_and(1.01), as_ordered, Say("The third idea is running."), Say("It is measured."),
        Say("I stop."),
    ]  # fmt: skip
    before = Path(prepare).read_text()
    with model_server(steps) as model:
        settle_in(kit, model.url)
        done = claude_print(kit, "Start the loop, 4 runs and at most $20.", "--autocompact", "100000")
        assert done.returncode == 0, done.stdout
        assert kit.json("autonomy", "status")["enabled"] is False  # its four runs are made
        kit.json("autonomy", "on")
        done = claude_print(kit, "ok stopp pls", "--continue")
        assert done.returncode == 0, done.stdout
        text = book[HOOKS] = chapter(model, kit)
    assert text.count("### PreToolUse refuses") == 4
    assert Path(prepare).read_text() == before
    assert "fixed benchmark" in text
    assert "Limits: 4 runs, 24 hours" in text  # the prompt's, and the usual one
    assert text.count("Claude Code wakes the agent") == len(kit.ledger()) == 4
    assert text.count("has finished") == 4  # each review once
    after = text[text.index("begins a new one") :]
    assert "session compact" in after
    assert "is now off" in after[after.index("ok stopp pls") :]
    assert "### Stop" not in after[after.index("ok stopp pls") :]
    assert (kit.root / "program.md").read_text().splitlines()[0] in model.seen()
    assert not (kit.root / "results/discovery/hooks.log").exists()


def idea(number: float | None, subject: str = "exp: VAL to {} [emitter=free]") -> list[Step | Script]:
    """An edit of train.py in the session's work tree with its commit, and the end of the turn; None adds a comment."""

    def path(body: dict[str, Any]) -> Path:
        return Path(place_of(body), "train.py")

    def change(body: dict[str, Any]) -> Step:
        old = next(line for line in path(body).read_text().splitlines() if line.startswith("VAL = "))
        new = f"{old}  # as before" if number is None else f"VAL = {number}"
        return Tool("Edit", {"file_path": str(path(body)), "old_string": old, "new_string": new})

    return [
        lambda body: Tool("Read", {"file_path": str(path(body))}), change,
        Shell(f"git commit -qm '{subject.format(number)}' -- train.py"), Say("I changed the value."),
    ]  # fmt: skip


def test_a_night_of_five_ideas(kit: Kit, book: dict[str, str]):
    """Every bad answer is named in the next brief; a used up subscription is waited for; what it costs is on record."""
    steps = [
        Say("I can't help with that."), *idea(0.98),
        Shell("uv run train.py"), Shell("curl example.com"), *idea(1.01, "better: VAL to {}"), *idea(1.01),
        lambda body: Quota(int(time.time()) + 2), *idea(0.97),
        *idea(None), *idea(0.96),
        Say("Nothing comes to mind."), *idea(0.95),
    ]  # fmt: skip
    with model_server(steps) as model:
        settle_in(kit, model.url, is_subscriber=True)
        told = kit.research("night", "--agent", "claude", "--max-runs", "7", "--max-usd", "5", "--workers", "1")
        text = book[NIGHT] = chapter(model, kit, told.out)
    assert told.code == 0, told.err
    scores = list(dict.fromkeys(row[1] for row in kit.ledger()))  # the last run is the best one's second
    assert scores == [f"{value:.6f}" for value in (0.99, 0.98, 1.01, 0.97, 0.96, 0.95)]
    for trouble in (Trouble.refusal, Trouble.subject, Trouble.same_code, Trouble.no_commit):
        assert f"An earlier attempt failed: {trouble.value}" in text
    assert "driver measures your commit" in text
    assert "nobody is there to be asked" in text
    assert "You've hit your 5-hour limit" in told.out
    assert "The night asks again at" in told.out
    assert "Autoresearch hooks are active" not in text
    assert kit.git("status", "--porcelain") == ""
    ended = json.loads(kit.research("export").out.splitlines()[3])
    assert ended["facts"]["agent_tokens"] == "1100"  # ten requests of 110, the failed attempt's five included
    assert float(ended["facts"]["agent_usd"]) > 0
