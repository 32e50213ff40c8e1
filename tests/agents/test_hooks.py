"""The five hooks in a real repository with real runs, fed payloads.

Where the process is what is tested they run as Codex runs them, in a shell; elsewhere inside the test's own process.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from research.agents import autonomy
from research.core.records import RUN_SEED, Plan
from tests.support.codexkit import (
    AT,
    EVENT_MODULES,
    EVENTS,
    after_tool,
    answer,
    answer_to,
    command_of,
    context_of,
    denial_of,
    feed,
    hook,
    memory,
    order,
    order_in,
    payload_of,
    plan_instead,
    refusal,
    with_baseline,
)
from tests.support.labkit import AUDIT, CHECKOUT, Kit, wait_for

RUN = "python scripts/run_experiment.py --backend local -- uv run train.py > run.log 2>&1"
OLD_PYTHONS = [str(p) for p in Path.home().glob(".pyenv/versions/3.[6789].*/bin/python3")]


def turn_on(kit: Kit, *options: str) -> None:
    """Turns autonomy on."""
    assert kit.research("autonomy", "on", *options).code == 0


def log(kit: Kit) -> str:
    """hooks.log."""
    path = kit.root / "results" / "discovery" / "hooks.log"
    return path.read_text() if path.exists() else ""


def test_a_loop_begins_as_codex_starts_the_hooks(kit: Kit):
    stop = {"stop_hook_active": True, "last_assistant_message": "done"}
    assert hook(kit, "Stop", **stop) is None
    told = hook(kit, "UserPromptSubmit", prompt="Go autonomous. Never stop, do not pause to ask me.")
    assert "now on" in context_of(told)
    text = order_in(hook(kit, "Stop", **stop))
    assert "no baseline" in text
    assert RUN in text
    assert log(kit) == ""


def test_a_loser_that_was_reset_away_is_never_ordered_again(kit: Kit):
    with_baseline(kit)
    best = kit.commit("exp: good [emitter=simplifier]", val=0.90)
    name = kit.measure().end["run"]
    kit.research("decide", str(name), "keep", "--why", "test")
    kit.commit("exp: bad [emitter=contrarian]", val=1.5)
    kit.measure()
    kit.git("reset", "-q", "--hard", best)
    order(kit)  # tells of the run
    texts = [order(kit) for _ in range(3)]
    assert not any("not measured" in text for text in texts)
    assert len(set(texts)) == 1  # and nothing is drawn anew


def a_plan(kind: str, parent: str | None, **details: str) -> Plan:
    """A plan on the branch."""
    return Plan(f"p{kind}{parent}{details}", AT, None, None, parent, kind, "why", details=details)


def test_a_plan_with_its_brief_is_ordered_and_bounded(kit: Kit):
    with_baseline(kit)
    plan_instead(kit, a_plan("experiment", None, brief="Facts first. " + "word " * 3000))
    text = order(kit)
    assert "Facts first." in text
    assert len(text.split()) * 1.4 < 1200
    assert RUN in text  # the brief is what is cut
    assert text.endswith("Do not ask for confirmation.")


def test_an_order_stays_short_beside_a_review(kit: Kit):
    measured_change(kit, "exp: worse [emitter=contrarian]", 1.5)
    kit.research("settle")
    plan_instead(kit, a_plan("experiment", None, brief="long " * 3000))
    text = order(kit)
    assert "has finished" in text
    assert "long long" in text
    assert RUN in text
    assert len(text) < 4_000


def test_no_hook_loads_numpy_where_nothing_is_new(kit: Kit):
    """It alone would take longer than all else that a hook does."""
    with_baseline(kit)
    answer(kit, "SessionStart", source="startup")  # which shows the review
    program = [sys.executable, "-X", "importtime", "-I", "research/agents/hooks/__main__.py"]
    for event, name in EVENT_MODULES.items():
        typed = {"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_response": "", "source": "compact"}
        text = payload_of(kit, event, None, {**typed, "prompt": "Look at it.", "last_assistant_message": event})
        done = subprocess.run([*program, name], cwd=kit.root, input=text, capture_output=True, env=kit.environment)
        loaded = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}
        assert "research.agents.hooks.entry" in loaded
        assert "numpy" not in loaded, event
    assert log(kit) == ""


def test_an_order_names_the_seed_of_an_idea_where_it_is_not_the_usual_one(kit: Kit):
    with_baseline(kit)
    plan_instead(kit, a_plan("experiment", kit.head(), **{RUN_SEED: "43"}))
    launch = RUN.replace("--backend local", "--backend local --seed 43")
    assert launch in order(kit)
    assert launch in kit.research("next").out
    assert launch in context_of(answer(kit, "UserPromptSubmit", prompt="Have a look at the last run."))
    plan_instead(kit, a_plan("experiment", kit.head(), **{RUN_SEED: "42"}))
    assert RUN in order(kit)


def test_an_idea_starts_from_its_parent_where_head_is_an_undecided_change(kit: Kit):
    """Ideas come before replicates, so HEAD may be a change that is not decided: the next one is not made on top."""
    base = kit.head()
    with_baseline(kit)
    assert "git reset" not in order(kit)
    change = kit.commit("exp: close [emitter=free]", val=0.9886)
    kit.measure()
    assert "REPLICATE" in str(kit.json("last-review")["text"])
    text = order(kit)
    assert f"First type `git reset --keep {base[:7]}`" in text
    assert refusal(kit, f"git reset --keep {base[:7]}") == ""
    kit.git("reset", "--keep", base[:7])
    assert change in kit.git("for-each-ref", "--format=%(objectname)", "refs/research/runs").split()
    assert "git reset" not in order(kit)
    kit.git("commit", "-q", "--allow-empty", "-m", "infra: not measured, so in no record")
    assert "git reset" not in order(kit)


def measured_change(kit: Kit, subject: str, val: float) -> tuple[str, str]:
    """Turns the loop on and measures a baseline and a change; returns the commits of both."""
    base = kit.head()
    with_baseline(kit)
    change = kit.commit(subject, val=val)
    kit.measure()
    return base, change


def test_a_launch_that_would_not_count_is_refused_with_the_amendment_and_talk_of_it_is_not(kit: Kit):
    with_baseline(kit)
    kit.commit("another width", val=0.98)
    told = refusal(kit, f"cd . && {RUN}")
    assert "its run would not count" in told
    for command in (f"grep -n {shlex.quote(RUN)} program.md", f"git commit -qam 'exp: x' && {RUN}", f"echo '{RUN}'"):
        assert refusal(kit, command) == "", command
    subprocess.run(["sh", "-c", told.split("`")[1]], cwd=kit.root, env=kit.environment, check=True)
    assert refusal(kit, RUN) == ""


def test_who_chooses_the_idea_leaves_a_discarded_change_first(kit: Kit):
    """Without a plan too, what was discarded and committed again by hand is taken back first."""
    base, change = measured_change(kit, "exp: worse [emitter=free]", 1.5)
    kit.research("settle")
    assert kit.head() == base
    plan_instead(kit)
    assert "git reset" not in order(kit)
    kit.git("cherry-pick", change)
    kit.git("commit", "-q", "--amend", "-m", "exp: worse again [emitter=free]")
    text = order(kit)
    assert "is the same program as run" in text
    assert f"Take it back: `git reset --keep {base[:7]}`" in text
    kit.git("reset", "--keep", base[:7])
    assert "git reset" not in order(kit)


def test_an_undecided_change_has_the_best_so_far_measured_first_where_that_is_planned(kit: Kit):
    """The plan knows which of the two needs a run, and on which seed; the order is its, not the verdict's."""
    base, change = measured_change(kit, "exp: far better", 0.5)
    assert kit.json("last-review")["text"].count("INVESTIGATE") == 1
    for parent, seed in ((base, 43), (change, 43)):
        plan_instead(kit, a_plan("replicate", parent, **{RUN_SEED: str(seed)}))
        assert f"uv run research replicate {parent[:7]} --seed {seed} > run.log 2>&1" in order(kit)


def test_reviews_are_shown_once_by_whichever_hook_comes_first(kit: Kit):
    kit.measure()
    answers = [
        context_of(answer(kit, event, **payload))
        for event, payload in (
            ("PreToolUse", {"tool_name": "Bash", "tool_input": {"command": "ls"}}),
            ("PostToolUse", {"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_response": ""}),
            ("UserPromptSubmit", {"prompt": "hello"}),
            ("SessionStart", {"source": "resume"}),
        )
    ]
    shown = [number for number, text in enumerate(answers) if "has finished" in text]
    assert shown == [0]


def test_a_verdict_is_said_to_the_person_too(kit: Kit):
    name = kit.measure().end["run"]
    told = answer(kit, "PostToolUse", tool_name="Bash", tool_input={"command": "ls"}, tool_response="") or {}
    assert str(told["systemMessage"]).startswith(f"Autoresearch: Run {name} has finished (scored, val_bpb 0.990000)")
    assert "is recorded: keep" in str(told["systemMessage"])
    assert "\n" not in str(told["systemMessage"])


def test_every_runs_own_review_is_shown_where_several_have_finished(kit: Kit):
    runs = [str(kit.measure().end["run"])]
    for val in (1.5, 1.6, 1.7, 1.8):
        kit.commit(f"exp: {val} [emitter=free]", val=val)
        runs.append(str(kit.measure().end["run"]))
    text = after_tool(kit)
    assert [name for name in runs if f"Run {name} has finished" in text] == runs[-3:]
    assert "2 more runs have finished: uv run research summary" in text
    assert text.count("Next: ") == 0
    assert after_tool(kit) == ""


def test_a_review_is_shown_once_to_hooks_that_run_at_once(kit: Kit):
    kit.measure()
    children = [
        subprocess.Popen(["/bin/bash", "-c", command_of(kit, "PostToolUse")], cwd=kit.root, env=kit.environment,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(6)
    ]  # fmt: skip
    outputs = [child.communicate(b'{"tool_name": "Bash"}')[0] for child in children]
    assert sum(b"has finished" in output for output in outputs) == 1


@pytest.mark.parametrize("recorded", [True, False], ids=["with a memory", "without"])
def test_changed_fixed_files_are_named_once_with_the_command_that_restores_them(kit: Kit, recorded: bool):
    if recorded:
        turn_on(kit)
    kit.write(val=0.5)
    (kit.root / "new.txt").touch()
    assert after_tool(kit) == ""
    kit.git("stash", "-qu")
    (kit.root / "prepare.py").write_text("x = 1\n")
    text = after_tool(kit)
    assert "prepare.py" in text
    assert after_tool(kit) == ""  # once
    (kit.root / "research" / "__init__.py").write_text("x = 1\n")
    text = after_tool(kit)
    assert "research/__init__.py" in text
    command = text[text.index("git restore") :].split("\n")[0].rstrip(".")
    subprocess.run(["/bin/bash", "-c", command], cwd=kit.root, env=kit.environment, check=True)
    assert kit.git("status", "--porcelain") == ""
    assert after_tool(kit) == ""
    (kit.root / "prepare.py").write_text("x = 1\n")
    assert "prepare.py" in after_tool(kit)  # again, since they were restored in between
    kit.git("checkout", "-q", "main")
    if recorded:
        answer(kit, "UserPromptSubmit", prompt="stop")
    assert after_tool(kit) == ""


def test_a_run_shows_its_own_review_where_its_verdict_changes_an_earlier_one_too(kit: Kit):
    first, second = kit.measure().end["run"], None
    after_tool(kit)
    kit.commit("exp: other [emitter=simplifier]", val=0.98)
    second = kit.measure().end["run"]
    with memory(kit) as store:
        verdict = store.verdict(str(first))
        store.add_verdict(replace(verdict, decision="discard", text=verdict.text + "\nLater: discard."))
    assert f"Run {second} has finished" in after_tool(kit)
    assert after_tool(kit) == ""


def test_a_refused_launch_is_named_in_the_next_order(kit: Kit):
    turn_on(kit)
    (kit.root / "prepare.py").write_text("x = 1\n")
    refused = kit.measure()
    assert refused.code == 3
    (kit.root / "run.log").write_text(refused.out + refused.err)
    with memory(kit) as store:
        (event,) = store.events("refused")
    assert event.data["why"] == refused.end["why"]
    assert "The last launch was refused" in order(kit)
    assert "prepare.py differs from HEAD" in order(kit)


def test_a_run_in_progress_is_waited_for_and_is_no_crash(kit: Kit):
    turn_on(kit, "--runs", "1")
    kit.write("sleep")
    kit.git("commit", "-qam", "base: sleeps")
    child = kit.start()
    wait_for(lambda: (kit.root / "results/runs").is_dir() and any((kit.root / "results/runs").glob("*/run.log")))
    try:
        text = order(kit)
        assert "still in progress" in text  # beyond the limit too
        began = context_of(answer(kit, "SessionStart", source="compact"))
        assert "is in progress: start nothing else" in began
        assert "without a result" not in began
        assert "yield_time_ms 300000" in text
        assert after_tool(kit) == ""
    finally:
        child.terminate()
        child.communicate()
    assert "still in progress" not in order(kit)


def test_hooks_leave_other_branches_alone(kit: Kit):
    turn_on(kit)
    assert order(kit) != ""
    kit.git("checkout", "-q", "main")
    assert order(kit) == ""
    edit = "sed -i s/a/b/ research/lab/lab.py"
    assert refusal(kit, edit) != ""  # autonomy is on
    answer(kit, "UserPromptSubmit", prompt="stop")
    assert refusal(kit, edit) == ""
    kit.git("checkout", "-q", "autoresearch/try")
    assert refusal(kit, edit) != ""
    kit.git("checkout", "-q", "--detach")
    turn_on(kit)
    assert order(kit) == ""


def test_the_loop_ends_when_nothing_moves_and_continue_resumes_it(kit: Kit):
    """Claude Code lets eight Stop hooks in a row make it go on; then it would end the turn, and the switch stay on."""
    turn_on(kit)
    texts = [order(kit) for _ in range(10)]
    assert all("baseline" in text for text in texts[:8])
    assert "No run and no verdict in 8 continuations." in texts[8]
    assert texts[9] == ""
    assert kit.json("autonomy", "status")["enabled"] is False
    assert "now on" in context_of(answer(kit, "UserPromptSubmit", prompt="continue"))
    assert "baseline" in order(kit)


def test_limits_let_go_with_a_reason(kit: Kit):
    turn_on(kit, "--runs", "1")
    kit.measure()
    assert "limit of 1 run is" in order(kit)
    assert order(kit) == ""
    state = autonomy.Autonomy(enabled=True, hours=2.0, usd=5.0)
    assert "2 hours" in autonomy.reached_limit(state, 7200.0, 0, 0.0)
    assert "$5" in autonomy.reached_limit(state, 0.0, 0, 5.1)


def test_what_only_a_person_can_bring_is_told_once(kit: Kit):
    turn_on(kit)
    kit.environment["AUTORESEARCH_PROFILE"] = "official"
    assert "tell them in one sentence. Type: uv run prepare.py" in order(kit)
    assert order(kit) == ""
    path = kit.environment["PATH"]
    kit.environment["PATH"] = os.pathsep.join(p for p in path.split(os.pathsep) if not Path(p, "uv").exists())
    assert "uv, which starts every run, is not installed. Only a person can mend that" in order(kit)
    assert order(kit) == ""
    kit.environment["PATH"] = path
    assert "tell them in one sentence. Type: uv run prepare.py" in order(kit)


def test_the_backend_is_this_labs(kit: Kit):
    turn_on(kit)
    kit.environment |= {"AUTORESEARCH_BACKEND": "modal", "AUTORESEARCH_GPU": "A100"}
    assert "--backend modal --gpu A100 -- uv run train.py" in order(kit)
    for gpu in ("L40S:2", "B200+", "H100!", "RTX-PRO-6000"):
        kit.environment["AUTORESEARCH_GPU"] = gpu
        assert f"--backend modal --gpu {gpu} -- uv run train.py" in order(kit)
    kit.environment["AUTORESEARCH_BACKEND"] = "x; rm -rf /"
    assert "--backend local --" in order(kit)


def test_session_start_says_where_things_stand(kit: Kit):
    kit.measure()
    for source in ("startup", "compact", "clear"):
        text = context_of(answer(kit, "SessionStart", source=source))
        assert f"session {source}" in text
        assert "autoresearch/try" in text
        assert AUDIT not in text
    assert AUDIT not in context_of(answer(kit, "UserPromptSubmit", prompt="hi"))


ODD = ["", "{", "[]", "null", '{"tool_input": 3}', '{"tool_name": "Bash", "cwd": 5}', "\xff"]


@pytest.mark.parametrize("event", EVENTS)
def test_odd_payloads_do_no_harm(kit: Kit, event: str):
    for text in ODD:
        printed = answer_to(kit, event, text.encode("latin-1"))
        assert printed == b"" or isinstance(json.loads(printed), dict)


def test_a_stop_that_can_not_be_noted_is_not_lost_in_silence(kit: Kit):
    turn_on(kit)
    with sqlite3.connect(kit.root / "results/discovery/memory.db", isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        text = context_of(answer(kit, "UserPromptSubmit", prompt="stop"))
        writer.execute("ROLLBACK")
    assert "could not be turned" in text
    assert "research autonomy" in text


def test_runs_by_hand_that_can_not_be_recorded_keep_no_hook_from_its_work(kit: Kit):
    turn_on(kit)
    kit.measure()
    folder = kit.root / "results" / "runs" / "hand-20260101T000000Z-1"
    folder.mkdir()
    shutil.copy(next((kit.root / "results" / "runs").glob("*/score.json")), folder)
    (kit.root / "research/lab/lab.py").write_text("def (")
    assert hook(kit, "Stop") is not None
    hook(kit, "UserPromptSubmit", prompt="stop")
    with memory(kit) as store:
        assert not autonomy.load(store).enabled
    assert "were not recorded: SyntaxError" in log(kit)


@pytest.mark.parametrize("end", [[], ["--runs", "1"]], ids=["goes on", "has come to its limit"])
def test_a_switch_turned_off_while_stop_looks_around_stays_off(kit: Kit, end: list[str]):
    turn_on(kit, *end)
    kit.measure()
    mark, git = kit.home / "asked", Path(kit.environment["PATH"].split(":")[0]) / "git"
    git.write_text(
        f"#!/bin/sh\nif mkdir {mark} 2> /dev/null; then\n"
        f"    PYTHONPATH={CHECKOUT} {sys.executable} -m research autonomy off > /dev/null\n"
        f'fi\nexec {shutil.which("git")} "$@"\n'
    )
    git.chmod(0o755)
    assert order(kit) == ""
    assert mark.exists()
    told = kit.json("autonomy", "status")
    assert (told["enabled"], told["reason"], told["ended_by_itself"]) == (False, "research autonomy off", False)
    assert log(kit) == ""


def test_changed_fixed_files_are_named_where_the_memory_is_damaged_too(kit: Kit):
    _break_store(kit)
    (kit.root / "prepare.py").write_text("changed = 1\n")
    for _ in range(2):
        assert "git restore --staged --worktree -- prepare.py" in context_of(answer(kit, "PostToolUse"))


def test_a_memory_that_can_not_be_read_is_not_taken_for_an_empty_one(kit: Kit):
    _break_store(kit)
    assert answer(kit, "SessionStart", source="startup") is None
    assert answer(kit, "UserPromptSubmit", prompt="hello") is None
    assert log(kit).count("the memory can't be read") == 2


OTHERS = [
    {"tool_name": "exec_command", "tool_input": {"cmd": "git push"}},
    {"tool_name": "shell", "tool_input": {"command": ["bash", "-lc", "git push"]}},
    {"tool_name": "Bash", "tool_input": "git push", "cwd": None, "new": {"field": 1}},
    {"tool_name": "apply_patch", "tool_input": {"input": "*** Begin Patch\n*** Update File: prepare.py\n"}},
    {"tool_name": "Edit", "tool_input": {"file_path": "prepare.py", "old_string": "a", "new_string": "b"}},
    {"tool_name": "Write", "tool_input": {"file_path": "research/lab/lab.py", "content": "x"}},
    {"tool_name": "MultiEdit", "tool_input": {"file_path": ".codex/hooks.json", "edits": []}},
    {"tool_name": "NotebookEdit", "tool_input": {"notebook_path": "results/runs/x/a.ipynb", "new_source": ""}},
    {"tool_name": "Read", "tool_input": {"file_path": "results/runs/x/score.json"}},
]


@pytest.mark.parametrize("payload", OTHERS)
def test_payloads_of_other_versions_and_clients_are_read_too(kit: Kit, payload: dict[str, object]):
    assert denial_of(answer(kit, "PreToolUse", **payload)) != ""


def _break_store(kit: Kit) -> None:
    (kit.root / "results/discovery").mkdir(parents=True, exist_ok=True)
    (kit.root / "results/discovery/memory.db").write_bytes(b"garbage" * 1000)


def _break_package(kit: Kit) -> None:
    (kit.root / "research/agents/hooks/entry.py").write_text("def (")


def _remove_scripts(kit: Kit) -> None:
    shutil.rmtree(kit.root / ".codex/hooks", ignore_errors=True)


def _no_python(kit: Kit) -> None:
    tools = kit.root.parent / "few"
    if not tools.exists():
        tools.mkdir()
        for name in ("sh", "bash", "date", "mkdir", "git"):
            (tools / name).symlink_to(str(shutil.which(name)))
    kit.environment["PATH"] = str(tools)


@pytest.mark.parametrize("harm", [_break_store, _break_package, _remove_scripts, _no_python])
def test_no_harm_to_the_lab_stops_the_agent(kit: Kit, harm):
    payload = json.dumps({"tool_name": "Bash", "tool_input": {"command": "ls"}, "prompt": "go autonomous"})
    for event in EVENTS:
        harm(kit)
        printed = feed(kit, event, payload.encode())
        assert printed == b"" or isinstance(json.loads(printed), dict)
        if harm in (_break_package, _no_python):
            assert printed == b""
        if harm is not _remove_scripts:
            assert log(kit) != ""
            (kit.root / "results/discovery/hooks.log").unlink()


def test_hooks_work_from_a_subfolder(kit: Kit):
    place = kit.root / "docs" / "deep"
    place.mkdir(parents=True)
    reason = denial_of(hook(kit, "PreToolUse", place, tool_name="Bash", tool_input={"command": "rm ../../prepare.py"}))
    assert "benchmark" in reason


@pytest.mark.parametrize("python", OLD_PYTHONS, ids=lambda path: path.split("/")[-3])
def test_an_old_python_is_logged_and_said_once(kit: Kit, python: str):
    tools = kit.root.parent / "old"
    tools.mkdir()
    (tools / "python3").symlink_to(python)
    kit.environment["PATH"] = f"{tools}:{kit.environment['PATH']}"
    assert "need 3.10" in context_of(hook(kit, "SessionStart", source="startup"))
    assert [hook(kit, event, prompt="stop") for event in EVENTS[1:]] == [None] * 4
    assert log(kit).count("need 3.10") == 5


def test_hooks_start_with_the_projects_own_python(kit: Kit):
    python = kit.root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\ntouch {kit.home}/started\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    assert context_of(hook(kit, "SessionStart", source="startup")) != ""
    assert (kit.home / "started").exists()


def test_no_hook_loads_more_than_the_standard_library(kit: Kit):
    turn_on(kit)
    kit.measure()
    code = (
        "import io, sys; sys.path.insert(0, sys.argv[1]); from research.agents.hooks.entry import run\n"
        f"for name in {[*EVENT_MODULES.values()]}:\n"
        '    text = b\'{"tool_name": "Bash", "tool_input": {"command": "ls"}, "prompt": "stop"}\'\n'
        "    sys.stdin = io.TextIOWrapper(io.BytesIO(text)); run(name, sys.argv[1], sys.exit)\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} - set(sys.stdlib_module_names) - {'research'}))"
    )
    command = [sys.executable, "-SE", "-c", code, str(kit.root)]
    done = subprocess.run(command, capture_output=True, text=True, env=kit.environment, check=True)
    assert "has finished" in done.stdout
    assert done.stdout.splitlines()[-1] in ("['__main__']", "[]")
