"""The real Codex client against a scripted model: what fires, what is refused, what the model gets to see.

One thing was seen here that its documentation does not say: the text of a Stop order reaches the model with <, > and &
as HTML entities, which the orders therefore mention.

With AUTORESEARCH_TRANSCRIPTS=docs/history the sessions are written there, in codex-session.md, as the model saw them.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from research.agents.clients.base import Trouble
from research.agents.clients.codex import Codex
from research.agents.clients.driver import ClientEditor
from research.agents.night.editors import NoCandidate
from research.core.paths import LabPaths
from research.lab.lab import Lab
from tests.support import sessions
from tests.support.codexkit import CODED, CODEX, codex_exec, needs_codex, trust
from tests.support.labkit import Kit, wait_for
from tests.support.model_server import Fail, Patch, Poll, Quota, Say, Script, Shell, Step, in_code_mode, model_server
from tests.support.sessions import RUN, SETTLE, as_ordered, back_and, chapter, edit

pytestmark = needs_codex
PATCH = "*** Begin Patch\n*** Update File: prepare.py\n@@\n-import json, sys\n+import json\n*** End Patch\n"
_WAITING = """
if VAL == 0.99:
    pathlib.Path({begun!r}).touch()
    while not pathlib.Path({end!r}).exists():
        time.sleep(0.05)
"""
HOOKS, CODE, NIGHT = "A session through the hooks", "A model in code mode", "A night of five ideas"


@pytest.fixture(scope="module")
def book() -> Iterator[dict[str, str]]:
    """The chapters of the transcript, written at the end where that is asked for."""
    with sessions.transcript("codex", "Codex", "and polls", CODEX, (HOOKS, CODE, NIGHT)) as chapters:
        yield chapters


def test_a_session_of_three_experiments(kit: Kit, book: dict[str, str]):
    """The baseline, three ideas and a replicate, as ordered; refusals, a run polled late, a compaction, a limit."""
    begun, end = kit.home / "begun", kit.home / "end"  # the baseline says when it begins, and is told when to end
    kit.write("ok", extra=_WAITING.format(begun=str(begun), end=str(end)))
    kit.git("commit", "-qam", "base: slow")

    def leave(_: dict[str, Any]) -> Say:
        """End the turn once the run is going on."""
        wait_for(begun.exists, 60)
        return Say("The baseline is running.")

    def poll(_: dict[str, Any]) -> Poll:
        """Wait for the run, which may end now."""
        end.touch()
        return Poll()

    steps: list[Step | Script] = [
        Shell("uv run train.py > run.log 2>&1"), Shell("sed -i s/300/600/ prepare.py"), Patch(PATCH),
        Shell(RUN, 1000), leave, poll, Say("The baseline is measured."),
        as_ordered, Say("It is settled."),
        Shell(edit(0.98)), as_ordered, Say("The first idea is measured."),
        Shell(SETTLE, tokens=20_000), Say("A summary of it all."), Say("The first idea is settled."),
        Shell(edit(0.9786)), as_ordered, Say("The second idea is measured."),
        back_and(1.01), as_ordered, Say("The third idea is measured."), as_ordered, Say("It is settled."),
        as_ordered, Say("A second seed is measured."),
    ]  # fmt: skip
    prepare = (kit.root / "prepare.py").read_text()
    with model_server([*steps, *[Say("That is all.")] * 8]) as model:
        trust(kit, model.url)
        options = ("-c", "model_auto_compact_token_limit=10000")
        done = codex_exec(kit, "Start the loop, 5 runs and at most $20.", *options)
        assert done.returncode == 0, done.stderr
        assert kit.json("autonomy", "status")["enabled"] is False  # its five runs are made
        kit.json("autonomy", "on")
        model.steps[:] = [Say("I stop.")]
        done = codex_exec(kit, "ok stopp pls", "resume", "--last")
        assert done.returncode == 0, done.stderr
        seen, text = model.seen(), chapter(model, kit)
    book[HOOKS] = text
    assert text.count("### PreToolUse refuses") == 3
    assert (kit.root / "prepare.py").read_text() == prepare
    assert "fixed benchmark" in text
    assert "Limits: 5 runs, 24 hours" in text  # the prompt's, and the usual one
    assert "session startup" in text
    assert "still in progress" in text  # the run that was left
    assert text.count("has finished") == len(kit.ledger()) == 5  # each review once
    assert text.count("### Stop") == 8
    assert "--seed 43" in text  # three ideas come before a second seed
    after = text[text.index("begins a new one") :]
    assert "session compact" in after
    assert "autoresearch/try" in after
    assert (kit.root / "program.md").read_text().splitlines()[0] in seen
    assert "is now off" in after[after.index("ok stopp pls") :]
    assert not (kit.root / "results/discovery/hooks.log").exists()


def test_a_model_in_code_mode(kit: Kit, book: dict[str, str]):
    """Newer models call tools from a script: a refusal ends the script, a review comes beside its output."""
    steps = [Shell("sed -i s/300/600/ prepare.py"), Patch(PATCH), Shell(RUN, 30_000), Say("The baseline is measured.")]
    prepare = (kit.root / "prepare.py").read_text()
    with model_server(steps) as model:
        trust(kit, model.url, CODED)
        done = codex_exec(kit, "Measure the baseline.")
        assert done.returncode == 0, done.stderr
        assert in_code_mode(model.requests[0])
        text = book[CODE] = chapter(model, kit)
    assert text.count("### PreToolUse refuses") == 2
    assert (kit.root / "prepare.py").read_text() == prepare
    assert text.count("has finished") == len(kit.ledger()) == 1


def test_untrusted_hooks_do_not_run_and_the_bypass_does(kit: Kit):
    for options, refused in (((), False), (("--dangerously-bypass-hook-trust",), True)):
        with model_server([Shell("git push nowhere"), Say("done")]) as model:
            trust(kit, model.url)
            config = kit.home / "codex" / "config.toml"
            config.write_text(config.read_text().replace("sha256:", "sha256:0"))
            codex_exec(kit, "Push.", *options)
            assert ("blocked by PreToolUse" in model.seen()) == refused


def _can_make_no_sandbox() -> bool:
    """Whether Codex runs nothing on this machine without an option."""
    return subprocess.run([str(CODEX), "sandbox", "true"], capture_output=True, check=False).returncode != 0


class Unguarded(Codex):
    """The real client, without its sandbox where that can't be made."""

    def command(self, program: str, place: Path, writable: Sequence[Path]) -> list[str]:
        """See Client."""
        *words, dash = super().command(program, place, writable)
        return [*words, *["--dangerously-bypass-approvals-and-sandbox"] * _can_make_no_sandbox(), dash]


@pytest.mark.skipif(CODEX is not None and _can_make_no_sandbox(), reason="Codex can make no sandbox on this machine")
def test_a_night_of_five_ideas(kit: Kit, book: dict[str, str]):
    """The night measures its baseline; then Codex, in its sandbox, is asked for commits, and for better ones."""
    steps: list[Step] = [
        Say("I can't help with that."), Shell(edit(0.98)), Say("I changed the value."),
        Shell("uv run train.py"), Shell(edit(1.01).replace("exp:", "better:")), Say("I changed the value."),
        Shell(edit(1.01)), Say("I changed the value."),
        Shell("touch other.py; git add other.py; git commit -qm 'exp: other'"), Say("I added a file."),
        Shell(edit(0.97)), Say("I changed the value."),
        Shell("echo '# as before' >>train.py; git commit -qam 'exp: nothing'"), Say("I changed a comment."),
        Shell(edit(0.96)), Say("I changed the value."),
        Say("Nothing comes to mind."), Shell(edit(0.95)), Say("I changed the value."),
    ]  # fmt: skip
    with model_server(steps) as model:
        trust(kit, model.url)
        kit.environment["AUTORESEARCH_CODEX"] = str(CODEX)
        told = kit.research("night", "--agent", "codex", "--max-runs", "7", "--workers", "1")
        text = book[NIGHT] = chapter(model, kit, lines=told.out)
    assert told.code == 0, told.err
    scores = list(dict.fromkeys(row[1] for row in kit.ledger()))  # the last run is the best one's second
    assert scores == [f"{value:.6f}" for value in (0.99, 0.98, 1.01, 0.97, 0.96, 0.95)]
    for trouble in (Trouble.refusal, Trouble.subject, Trouble.other_files, Trouble.same_code, Trouble.no_commit):
        assert f"An earlier attempt failed: {trouble.value}" in text
    assert "driver measures your commit" in text
    assert "Autoresearch hooks are active" not in text
    assert kit.git("status", "--porcelain") == ""


def test_limits_are_named_with_their_end(kit: Kit):
    until = int(time.time()) + 7200
    for step, trouble in ((Quota(until), Trouble.limit), (Fail(503, "overloaded"), Trouble.service)):
        with model_server([step] * 10) as model:
            trust(kit, model.url)
            environment = {**kit.environment, "AUTORESEARCH_CODEX": str(CODEX)}
            editor = ClientEditor(Unguarded(), Lab(LabPaths(kit.root), environment=environment))
            with pytest.raises(NoCandidate) as failed:
                editor.propose(kit.head(), "x", "local_tuner", lambda: False)
        assert str(failed.value).startswith(f"codex: {trouble.value}")
        ends = failed.value.until
        assert (ends is not None and abs(ends.timestamp() - until) <= 60) == (trouble is Trouble.limit)
