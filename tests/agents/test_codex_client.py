"""The real Codex client against a scripted model: what fires, what is refused, what the model gets to see.

Made with codex-cli 0.169.0. One thing was seen here that its documentation does not say: the text of a Stop order
reaches the model with <, > and & as HTML entities, which the orders therefore mention.

With AUTORESEARCH_TRANSCRIPT=docs/history/codex-session.md the three sessions are written there as the model saw them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from research.agents.clients import CLIENTS
from research.agents.clients.base import Trouble
from research.agents.clients.driver import Driver, NoProposal, Proposal, Task, World, launch_process
from tests.support.codexkit import CODED, CODEX, codex_exec, make_codex_kit, needs_codex, trust
from tests.support.labkit import Kit
from tests.support.model_server import (
    Fail,
    Model,
    Patch,
    Poll,
    Say,
    Script,
    Shell,
    Step,
    in_code_mode,
    latest_order,
    model_server,
)
from tests.support.transcript import Names, entries, page

pytestmark = needs_codex
RUN = f"{sys.executable} scripts/run_experiment.py --backend local -- uv run train.py > run.log 2>&1"
"""With this very Python: a version manager's shim puts another uv in front of the stand-in."""
SETTLE = f"{sys.executable} -m research settle"
PATCH = "*** Begin Patch\n*** Update File: prepare.py\n@@\n-import json, sys\n+import json\n*** End Patch\n"
HOOKS, CODE, DRIVER = "A session through the hooks", "A model in code mode", "Three experiments by the driver"

_PAGE = """\
# What a model is shown

Everything that a model got to see from this repository: each context, refusal, review and order, as the model service
received it, wrapped here at 120 columns. Recorded with {version} and a scripted model by

    AUTORESEARCH_TRANSCRIPT=docs/history/codex-session.md uv run pytest tests/agents/test_codex_client.py

The client's own instructions are left out. `RUN-1` and `COMMIT-1` stand for names that differ each time. `train.py` is
a stand-in that takes seconds and scores its one constant, `VAL`; the model plays a script, mistakes included, and types
`python -m research` for `uv run research`. In italics: what it does. What each hook is for: [hooks.md](../hooks.md).
"""


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    """A repository with the hooks."""
    return make_codex_kit(tmp_path)


@pytest.fixture(scope="module")
def book() -> Iterator[dict[str, str]]:
    """The chapters of the transcript, written at the end where that is asked for."""
    chapters: dict[str, str] = {}
    yield chapters
    target = os.environ.get("AUTORESEARCH_TRANSCRIPT")
    if target and set(chapters) == {HOOKS, CODE, DRIVER}:
        version = subprocess.run([str(CODEX), "--version"], capture_output=True, text=True, check=True).stdout.strip()
        parts = [_PAGE.format(version=version), *(f"## {name}\n\n{chapters[name]}\n" for name in (HOOKS, CODE, DRIVER))]
        Path(target).write_text("\n".join(parts))


def chapter(model: Model, kit: Kit) -> str:
    """What a model saw, with nothing of this machine in it."""
    paths = {str(kit.root): "REPO", str(kit.home): "HOME", sys.executable: "python"}
    text = page(entries(model.requests), Names(paths, kit.git("rev-list", "--all", "--reflog").split()))
    assert str(kit.root.parent) not in text
    assert str(Path.home()) not in text
    return text


def edit(number: float, emitter: str = "free") -> str:
    """A shell edit of train.py with its commit."""
    message = f"exp: VAL to {number} [emitter={emitter}]"
    return f"sed -i 's/^VAL = .*/VAL = {number}/' train.py && git commit -qm '{message}' -- train.py"


def as_ordered(body: dict[str, Any]) -> Step:
    """Types what the latest order says, to the letter but for the Python that is meant."""
    order = latest_order(body)
    found = re.search(r"(?m)^Type.*?: (\S.*)$", order) or re.search(r"Carry that out in git: `(.*?)`", order)
    assert found, order
    line = re.sub("^uv run research", f"{sys.executable} -m research", found[1])
    return Shell(re.sub("^python ", f"{sys.executable} ", line), 30_000)


def back_and(number: float) -> Script:
    """Goes back to the parent by the order's command, and makes the change there."""

    def step(body: dict[str, Any]) -> Step:
        found = re.search(r"First type `(git reset --keep \w+)`", latest_order(body))
        assert found, latest_order(body)
        return Shell(f"{found[1]} && {edit(number)}")

    return step


def test_a_session_of_three_experiments(kit: Kit, book: dict[str, str]):
    """The baseline, three ideas and a replicate, as ordered; refusals, a run polled late, a compaction, a limit."""
    kit.write("ok", extra="time.sleep(5 * (VAL == 0.99))  # the baseline is slow")
    kit.git("commit", "-qam", "base: slow")
    steps: list[Step | Script] = [
        Shell("uv run train.py > run.log 2>&1"), Shell("sed -i s/300/600/ prepare.py"), Patch(PATCH),
        Shell(RUN, 1000), Say("The baseline is running."), Poll(), Say("The baseline is measured."),
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
        done = codex_exec(kit, "Go autonomous: start the loop for 5 runs.", *options)
        assert done.returncode == 0, done.stderr
        seen, text = model.seen(), chapter(model, kit)
    book[HOOKS] = f"{text}\n\n*The model ends its turn, and Stop lets it: its five runs are made.*"
    assert text.count("### PreToolUse refuses") == 3
    assert (kit.root / "prepare.py").read_text() == prepare
    assert "fixed benchmark" in text
    assert "is now on" in text  # the prompt
    assert "session startup" in text
    assert "still in progress" in text  # the run that was left
    assert text.count("has finished") == len(kit.ledger()) == 5  # each review once
    assert text.count("### Stop") == 8
    assert "--seed 43" in text  # three ideas come before a second seed
    after = text[text.index("begins a new one") :]
    assert "session compact" in after
    assert "autoresearch/try" in after
    assert (kit.root / "program.md").read_text().splitlines()[0] in seen
    assert kit.json("autonomy", "status")["enabled"] is False  # its five runs are made
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


def _unguarded() -> list[str]:
    """The option without which Codex runs nothing on a machine that lets it make no sandbox."""
    done = subprocess.run([str(CODEX), "sandbox", "true"], capture_output=True, check=False)
    return ["--dangerously-bypass-approvals-and-sandbox"] if done.returncode else []


def driver(kit: Kit, waits: list[float] | None = None) -> Driver:
    """The real driver with the real client."""
    environment = {**kit.environment, "AUTORESEARCH_CODEX": str(CODEX)}
    noted = [] if waits is None else waits
    return Driver(CLIENTS["codex"], kit.root, environment, World(launch_process, noted.append), _unguarded())


@pytest.mark.skipif(CODEX is not None and bool(_unguarded()), reason="Codex can make no sandbox on this machine")
def test_a_night_of_three_experiments(kit: Kit, book: dict[str, str]):
    """The night measures its baseline; then Codex, in its sandbox, is asked for three commits."""
    steps: list[Step] = []
    for number in (0.98, 1.01, 0.97):
        steps += [Shell(edit(number)), Say("I changed the value.")]
    with model_server(steps) as model:
        trust(kit, model.url)
        kit.environment["AUTORESEARCH_CODEX"] = str(CODEX)
        told = kit.json("night", "--agent", "codex", "--max-runs", "4")
        text = book[DRIVER] = chapter(model, kit)
    assert told["runs"] == 4
    assert [row[1] for row in kit.ledger()] == ["0.990000", "0.980000", "1.010000", "0.970000"]
    assert text.count("Carry out this one idea") == 3
    assert "Autoresearch hooks are active" not in text
    assert kit.git("status", "--porcelain") == ""


def test_the_drivers_agent_can_not_train_and_limits_are_named(kit: Kit):
    before = kit.head()
    with model_server([Shell("uv run train.py"), Shell(edit(0.5)), Say("changed it")]) as model:
        trust(kit, model.url)
        found = driver(kit).propose(Task(before, "Try another value.", "local_tuner"))
        assert "driver measures your commit" in model.seen()
    assert isinstance(found, Proposal)
    assert found.parent == before == kit.head()
    waits: list[float] = []
    with model_server([Fail(429, "rate limit reached")] * 40) as model:
        trust(kit, model.url)
        with pytest.raises(NoProposal) as failed:
            driver(kit, waits).propose(Task(before, "x", "local_tuner"), attempts=2)
    assert failed.value.trouble is Trouble.rate_limit
    assert waits == [30.0]
