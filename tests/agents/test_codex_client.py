"""The real Codex client against a scripted model: what fires, what is refused, what the model gets to see.

Made with codex-cli 0.169.0. One thing was seen here that its documentation does not say: the text of a Stop order
reaches the model with <, > and & as HTML entities, which the orders therefore mention.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from research.agents.codex_exec import CodexDriver, CodexFailed, Proposal, Task, Trouble, World, launch_process
from tests.support.codexkit import CODEX, codex_exec, make_codex_kit, needs_codex, trust
from tests.support.labkit import Kit
from tests.support.model_server import Fail, Patch, Poll, Say, Shell, model_server

pytestmark = needs_codex
RUN = f"{sys.executable} scripts/run_experiment.py --backend local -- uv run train.py > run.log 2>&1"
"""With this very Python: a version manager's shim puts another uv in front of the stand-in."""


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    """A repository with the hooks."""
    return make_codex_kit(tmp_path)


def edit(number: float) -> str:
    """A shell edit of train.py with its commit."""
    return f"sed -i 's/^VAL = .*/VAL = {number}/' train.py && git commit -qam 'exp: {number} [emitter=local_tuner]'"


def test_a_session_of_experiments_with_refusals(kit: Kit):
    patch = "*** Begin Patch\n*** Update File: prepare.py\n@@\n-import json, sys\n+import json\n*** End Patch\n"
    steps = [
        Shell("uv run train.py > run.log 2>&1"), Shell("sed -i s/a/b/ prepare.py"), Patch(patch),
        Shell(RUN), Say("the baseline is measured"),
        Shell(edit(0.90)), Shell(RUN), Say("one is measured"),
        Shell(edit(1.50)), Shell(RUN), Say("two is measured"),
    ]  # fmt: skip
    prepare = (kit.root / "prepare.py").read_text()
    with model_server([*steps, *[Say("that is all")] * 8]) as model:
        trust(kit, model.url)
        done = codex_exec(kit, "Go autonomous: start the loop.")
        assert done.returncode == 0, done.stderr
        seen = model.seen()
    assert seen.count("Command blocked by PreToolUse hook") >= 3
    assert "fixed benchmark" in seen
    assert (kit.root / "prepare.py").read_text() == prepare
    assert len(kit.ledger()) == 3
    assert "is now on" in seen  # the prompt
    assert "session startup" in seen
    developers = [text for text in model.texts("developer") if "has finished" in text]
    assert len(developers) == 3  # each review once
    orders = [text for text in model.texts("user") if "hook_prompt" in text]
    assert len(orders) >= 3
    assert kit.json("autonomy", "status")["enabled"] is False  # the breaker ended it
    assert not (kit.root / "results/discovery/hooks.log").exists()


def test_a_long_run_is_waited_for_and_shown_at_the_poll(kit: Kit):
    kit.write("ok", extra="import time; time.sleep(4)")
    kit.git("commit", "-qam", "base: slow")
    with model_server([Shell(RUN, 1000), Say("it is running"), Poll(), Say("done")]) as model:
        trust(kit, model.url)
        kit.research("autonomy", "on")
        assert codex_exec(kit, "Measure the baseline.").returncode == 0
        seen = model.seen()
    assert "still in progress" in seen
    assert "has finished" in seen
    assert len(kit.ledger()) == 1


def test_the_summary_comes_back_after_a_compaction(kit: Kit):
    with model_server([Shell("echo one", tokens=20_000), Say("a summary of it all"), Say("done")]) as model:
        trust(kit, model.url)
        assert codex_exec(kit, "hello", "-c", "model_auto_compact_token_limit=10000").returncode == 0
        after = "\n".join(model.texts("developer"))
    assert "session compact" in after
    assert "autoresearch/try" in after


def test_untrusted_hooks_do_not_run_and_the_bypass_does(kit: Kit):
    for options, refused in (((), False), (("--dangerously-bypass-hook-trust",), True)):
        with model_server([Shell("git push --dry-run nowhere"), Say("done")]) as model:
            trust(kit, model.url)
            config = kit.home / "codex" / "config.toml"
            config.write_text(config.read_text().replace("sha256:", "sha256:0"))
            codex_exec(kit, "Push.", *options)
            assert ("blocked by PreToolUse" in model.seen()) == refused


def driver(kit: Kit, waits: list[float] | None = None) -> CodexDriver:
    """The real driver with the real client."""
    environment = {**kit.environment, "AUTORESEARCH_CODEX": str(CODEX)}
    options = ["--dangerously-bypass-approvals-and-sandbox"] if _no_sandbox() else []
    noted = [] if waits is None else waits
    return CodexDriver(kit.root, environment, World(launch_process, noted.append), options)


def _no_sandbox() -> bool:
    """Whether this machine lets Codex make no sandbox."""
    done = subprocess.run(
        [str(CODEX), "sandbox", "linux", "true"], capture_output=True, check=False, env=dict(os.environ)
    )
    return done.returncode != 0


def test_the_driver_gets_three_proposals(kit: Kit):
    before, found = kit.head(), []
    for number in (0.5, 0.6, 0.7):
        with model_server([Shell(edit(number)), Say("changed it")]) as model:
            trust(kit, model.url)
            found.append(driver(kit).propose(Task(before, "Try another value.", "local_tuner")))
            assert "Carry out this one idea" in model.seen()
            assert "Autoresearch hooks are active" not in model.seen()
    assert all(isinstance(item, Proposal) and item.parent == before for item in found)
    assert len({item.commit for item in found}) == 3
    assert kit.head() == before


def test_the_drivers_agent_can_not_train_and_limits_are_named(kit: Kit):
    with model_server([Shell("uv run train.py"), Shell(edit(0.5)), Say("changed it")]) as model:
        trust(kit, model.url)
        driver(kit).propose(Task(kit.head(), "Try another value.", "local_tuner"))
        assert "driver measures your commit" in model.seen()
    waits: list[float] = []
    with model_server([Fail(429, "rate limit reached")] * 40) as model:
        trust(kit, model.url)
        with pytest.raises(CodexFailed) as failed:
            driver(kit, waits).propose(Task(kit.head(), "x", "local_tuner"), attempts=2)
    assert failed.value.trouble is Trouble.rate_limit
    assert waits == [30.0]
