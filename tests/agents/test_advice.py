"""Every message that names a command is followed literally where it is given, and the situation is mended after it.

A case makes a situation and yields the message; what it names is typed, the command policy has to let it pass, and the
rest of the case asserts that nothing is in the way any more.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from research.core.contract import ENV_TIME_BUDGET
from research.core.files import FileLock
from research.core.paths import LabPaths
from research.core.records import RUN_SEED, Plan
from research.store.open import read_store
from tests.support.codexkit import AT, after_tool, answer, context_of, order, plan_instead, refusal, with_baseline
from tests.support.labkit import Kit, wait_for

PROGRAM = r"(?:git|uv run|tail|grep|cd|rm|mkdir) "
COMMANDS = re.compile(rf"`({PROGRAM}[^`]+)`|(?::|^|\n) ?({PROGRAM}.*?)\.?(?=[;,] (?:or|then|which|and) |\n|$|\. [A-Z])")
LAUNCH = re.compile(r"uv run python scripts/run_experiment\.py (.*) -- uv run train\.py > run\.log 2>&1")
VERB = re.compile(r"uv run research (.*?)(?: > run\.log 2>&1)?")


@dataclass(frozen=True)
class Advice:
    """A message, and how it is followed.

    Attributes:
        text: The message.
        pick: A part of the command that is typed, where it names several ways; by default all are.
        edit: What is done before the first commit, where it asks for a change.
        by_agent: Whether an agent follows it, whose commands the policy judges.
    """

    text: str
    pick: str = ""
    edit: Callable[[], object] = lambda: None
    by_agent: bool = True


Case = Callable[[Kit], Iterator[Advice]]
CASES: list[tuple[Case, bool]] = []
"""All cases, and whether the branch of each has a baseline at first, and the loop is on."""


def case(function: Case) -> Case:
    """Adds a case on a branch with a baseline, where the loop is on."""
    CASES.append((function, True))
    return function


def case_without_baseline(function: Case) -> Case:
    """Adds a case on a fresh branch."""
    CASES.append((function, False))
    return function


def commands_in(text: str) -> list[str]:
    """Returns the commands that a message names, in its order."""
    return [one or other for one, other in COMMANDS.findall(text)]


def typed(kit: Kit, line: str) -> int:
    """Types a line; verbs and the runner run inside this process. Returns its exit code."""
    top = f"cd {shlex.quote(str(kit.root))} && "
    if match := LAUNCH.fullmatch(line.removeprefix(top)):
        done = kit.measure(*shlex.split(match[1]))
        (kit.root / "run.log").write_text(done.out + done.err)
        return done.code
    if match := VERB.fullmatch(line):
        return kit.research(*shlex.split(match[1])).code
    command = ["/bin/bash", "-c", line]
    return subprocess.run(command, cwd=kit.root, env=kit.environment, capture_output=True).returncode


def follow(kit: Kit, advice: Advice) -> None:
    """Types what an advice names."""
    lines, is_edited = [line for line in commands_in(advice.text) if advice.pick in line], False
    assert lines, advice.text
    for line in lines:
        if " commit " in line and not is_edited:
            advice.edit()
            is_edited = True
        if advice.by_agent:
            assert refusal(kit, line) == "", line
        assert typed(kit, line) == 0, line


# What is asked of the lab ---------------------------------------------------------------------------------------------


def launched(kit: Kit, *options: str) -> str:
    """Launches train.py; returns what the runner says, run.log written."""
    done = kit.measure(*options)
    (kit.root / "run.log").write_text(done.out + done.err)
    return str(done.end["why"])


def said_by(kit: Kit, *words: str) -> str:
    """Returns what a verb that fails says."""
    done = kit.research(*words)
    assert done.code == 1, done
    return done.err


def is_ready(kit: Kit) -> bool:
    """Whether an idea can be tried: one is launched, and is counted."""
    kit.commit("exp: another idea [emitter=free]", val=0.97, extra="OTHER = 1")
    done = kit.measure()
    return done.code == 0 and done.end["counted"] is True


def outcomes(kit: Kit) -> list[str]:
    """The ledger's states."""
    return [row[3] for row in kit.ledger()]


# Stop's orders --------------------------------------------------------------------------------------------------------


@case_without_baseline
def baseline_order(kit: Kit) -> Iterator[Advice]:
    kit.research("autonomy", "on")
    yield Advice(order(kit))
    assert outcomes(kit) == ["keep"]


@case
def settle_order(kit: Kit) -> Iterator[Advice]:
    kit.commit("exp: worse [emitter=free]", val=1.5)
    kit.measure()
    text = order(kit)
    assert "is judged: discard" in text
    yield Advice(text)
    assert "is judged" not in order(kit)
    assert is_ready(kit)


@case
def plan_order(kit: Kit) -> Iterator[Advice]:
    text = order(kit)
    assert "One idea, train.py only" in text
    yield Advice(text, edit=lambda: kit.write(val=1.5))
    assert len(kit.ledger()) == 2


@case
def plan_order_from_an_undecided_change(kit: Kit) -> Iterator[Advice]:
    kit.commit("exp: close [emitter=free]", val=0.9886)
    kit.measure()
    text = order(kit)
    assert "git reset --keep" in text
    yield Advice(text, edit=lambda: kit.write(val=1.5))
    assert len(kit.ledger()) == 3


@case
def replicate_order(kit: Kit) -> Iterator[Advice]:
    kit.commit("exp: far better [emitter=free]", val=0.5)
    kit.measure()
    kit.research("autonomy", "off")  # drops the plan
    answer(kit, "UserPromptSubmit", prompt="start the loop")
    text = order(kit)
    assert "research replicate" in text
    yield Advice(text)
    assert len(kit.ledger()) == 3


@case
def replicate_order_after_a_refusal(kit: Kit) -> Iterator[Advice]:
    kit.commit("exp: far better [emitter=free]", val=0.5)
    kit.measure()
    kit.research("autonomy", "off")  # drops the plan
    answer(kit, "UserPromptSubmit", prompt="start the loop")
    kit.write(val=0.4)
    assert "train.py differs from HEAD" in launched(kit, "--seed", "43")
    text = order(kit)
    assert "The last launch was refused:\ntrain.py differs from HEAD" in text
    yield Advice(text, pick="research replicate")
    assert len(kit.ledger()) == 3


@case
def experiment_on_an_unmeasured_change(kit: Kit) -> Iterator[Advice]:
    kit.commit("infra: other defaults", val=0.9)
    kit.commit("exp: it's worse [emitter=free]", val=1.5)
    why = launched(kit)
    assert "was not measured" in why
    yield Advice(why)
    assert launched(kit) == ""
    assert kit.research("settle").code == 0
    assert kit.git("show", "-s", "--format=%s") == "harness"


@case
def dirty_order_commit_without_an_author(kit: Kit) -> Iterator[Advice]:
    without_author(kit)
    kit.write(val=0.98)
    yield Advice(order(kit), pick="commit")
    assert "is not measured yet" in order(kit)


@case
def dirty_order_drop(kit: Kit) -> Iterator[Advice]:
    kit.write(val=0.98)
    kit.git("add", "train.py")
    yield Advice(order(kit), pick="git restore")
    assert "not committed" not in order(kit)
    assert is_ready(kit)


@case
def unmeasured_order(kit: Kit) -> Iterator[Advice]:
    kit.commit("exp: worse [emitter=free]", val=1.5)
    yield Advice(order(kit))
    assert outcomes(kit) == ["keep", "discard"]


@case
def unmeasured_order_where_a_verdict_waits(kit: Kit) -> Iterator[Advice]:
    """Settling would drop HEAD, so it is measured first."""
    kit.commit("exp: worse [emitter=free]", val=1.5)
    kit.measure()
    kit.commit("exp: worse still [emitter=free]", val=1.6)
    yield Advice(order(kit))
    assert "is judged: discard" in order(kit)
    assert kit.research("settle").code == 0


@case
def amended_message_order(kit: Kit) -> Iterator[Advice]:
    kit.commit("exp: worse [emitter=free]", val=1.5)
    kit.measure()
    kit.git("commit", "-q", "--amend", "-m", "exp: worse, in other words [emitter=free]")
    text = order(kit)
    assert "is judged: discard" in text
    yield Advice(text)
    assert kit.git("show", "-s", "--format=%s") == "harness"
    assert is_ready(kit)


@case
def same_program_order(kit: Kit) -> Iterator[Advice]:
    kit.write(extra="# a comment alone")
    kit.git("commit", "-qam", "exp: nothing new [emitter=free]")
    text = order(kit)
    assert "is the same program as run" in text
    yield Advice(text)
    assert "is the same program" not in order(kit)
    assert is_ready(kit)


@case
def discarded_change_made_again_order(kit: Kit) -> Iterator[Advice]:
    """The same diff on the same parent is the same program, whatever its commit is called."""
    for words in ("worse", "worse again"):
        kit.commit(f"exp: {words} [emitter=free]", val=1.5)
        kit.measure()
        kit.research("settle")
    text = order(kit)
    assert "is the same program as run" in text
    yield Advice(text)
    assert "One idea, train.py only" in order(kit)
    assert is_ready(kit)


@case
def baseline_of_a_second_branch_order(kit: Kit) -> Iterator[Advice]:
    """Another branch has measured the same train.py; this one has no baseline all the same."""
    kit.git("checkout", "-q", "-b", "autoresearch/second")
    refused = kit.measure()
    assert refused.end["outcome"] == "repeat"
    assert "has no baseline yet: to measure it here, type the same with --again" in str(refused.end["why"])
    text = order(kit)
    assert "a baseline is measured anew (--again)" in text
    yield Advice(text)
    assert kit.json("summary")["baseline"] is not None


@case
def same_program_in_the_summary(kit: Kit) -> Iterator[Advice]:
    kit.write(extra="# a comment alone")
    kit.git("commit", "-qam", "exp: nothing new [emitter=free]")
    (line,) = [line for line in kit.json("summary")["warnings"] if "same program" in line]  # type: ignore[attr-defined]
    assert line in context_of(answer(kit, "SessionStart", source="startup"))
    yield Advice(line)
    assert is_ready(kit)


@case
def uncounted_order(kit: Kit) -> Iterator[Advice]:
    kit.commit("try something's else", val=1.5)
    kit.measure()
    order_text = order(kit)
    assert "did not count" in order_text
    yield Advice(order_text)
    assert outcomes(kit) == ["keep", "discard"]
    assert (
        kit.git("show", "-s", "--format=%s", "refs/research/runs/" + newest(kit))
        == "exp: try something's else [emitter=free]"
    )


def newest(kit: Kit) -> str:
    """The name of the latest run."""
    with read_store(LabPaths(kit.root)) as store:
        return store.runs()[-1].run


@case
def lost_run_order(kit: Kit) -> Iterator[Advice]:
    kit.commit("exp: sleeps [emitter=free]", "sleep")
    child = kit.start()
    wait_for(lambda: sum((folder / "run.log").exists() for folder in kit.folders()) == 2)
    child.kill()
    child.communicate()
    wait_for(lambda: "ended without its runner" in order(kit))
    yield Advice(order(kit))
    assert "is not measured yet" in order(kit)


@case_without_baseline
def missing_data_order(kit: Kit) -> Iterator[Advice]:
    kit.environment["AUTORESEARCH_PROFILE"] = "official"
    make_data_by_prepare(kit)
    kit.research("autonomy", "on")
    yield Advice(order(kit), by_agent=False)
    assert "no baseline yet" in order(kit)


def make_data_by_prepare(kit: Kit) -> None:
    """Lets prepare.py make what looks like the official profile's data."""
    names = ("data/shard_00001.parquet", "data/shard_06541.parquet", "data/shard_06542.parquet")
    lines = (
        "import os",
        "from pathlib import Path",
        f"for name in {(*names, 'tokenizer/tokenizer.json')}:",
        "    place = Path(os.environ['AUTORESEARCH_HOME'], name)",
        "    place.parent.mkdir(parents=True, exist_ok=True)",
        "    place.write_text('x')",
    )
    prepare = kit.root / "prepare.py"
    prepare.write_text("\n".join([*lines, prepare.read_text()]))
    kit.git("commit", "-qam", "infra: makes data")


# Refused launches, as the runner and the next order say them ----------------------------------------------------------


@case
def fixed_file_staged_and_a_new_one(kit: Kit) -> Iterator[Advice]:
    (kit.root / "prepare.py").write_text("x = 1\n")
    (kit.root / "research" / "a new one.py").write_text("x = 1\n")
    kit.git("add", "prepare.py")
    yield Advice(launched(kit))
    assert is_ready(kit)
    kit.git("stash", "pop")
    assert (kit.root / "research" / "a new one.py").exists()


@case
def many_fixed_files_changed(kit: Kit) -> Iterator[Advice]:
    for number in range(9):
        (kit.root / "research" / f"new{number}.py").write_text("x = 1\n")
    yield Advice(launched(kit))
    assert is_ready(kit)


@case
def fixed_file_hidden_from_git(kit: Kit) -> Iterator[Advice]:
    kit.git("update-index", "--assume-unchanged", "prepare.py")
    yield Advice(launched(kit))
    assert is_ready(kit)


@case
def fixed_file_changed_in_the_next_order(kit: Kit) -> Iterator[Advice]:
    kit.commit("exp: worse [emitter=free]", val=1.5)
    (kit.root / "prepare.py").write_text("x = 1\n")
    launched(kit)
    text = order(kit)
    assert "The last launch was refused" in text
    yield Advice(text)
    assert outcomes(kit) == ["keep", "discard"]


@case
def taken_device_in_the_next_order(kit: Kit) -> Iterator[Advice]:
    """The other run has ended by the time that the wait is over."""
    kit.commit("exp: worse [emitter=free]", val=1.5)
    folder = kit.home / "cache" / "locks"
    host = next(folder.iterdir()).stem.rpartition("-")[2]
    locks = [FileLock(folder / f"core-{core}-{host}.lock") for core in os.sched_getaffinity(0)]
    assert all(lock.acquire() for lock in locks)
    assert "The device is taken by" in launched(kit)
    text = order(kit)
    for lock in locks:
        lock.release()
    assert "Wait with `sleep 100` first" in text
    yield Advice(text)
    assert outcomes(kit) == ["keep", "discard"]


@case
def train_changed_commit(kit: Kit) -> Iterator[Advice]:
    kit.write(val=0.98)
    yield Advice(launched(kit), pick="commit")
    assert launched(kit) == ""
    assert len(kit.ledger()) == 2


@case
def train_changed_restore(kit: Kit) -> Iterator[Advice]:
    kit.write(val=0.98)
    kit.git("add", "train.py")
    yield Advice(launched(kit), pick="git restore")
    assert is_ready(kit)


def commit_two(kit: Kit, change: Callable[[], object], subject: str = "exp: it's two [emitter=free]") -> None:
    """Commits train.py and what a change does."""
    kit.write(val=1.5)
    change()
    kit.git("add", "-A")
    kit.git("commit", "-qm", subject)


@case
def other_file_in_the_commit(kit: Kit) -> Iterator[Advice]:
    commit_two(kit, lambda: (kit.root / "prepare.py").write_text("x = 1\n"))
    yield Advice(launched(kit))
    assert launched(kit) == ""
    assert kit.ledger()[-1][4] == "exp: it's two [emitter=free]"


@case
def new_file_in_the_commit_in_the_next_order(kit: Kit) -> Iterator[Advice]:
    commit_two(kit, lambda: (kit.root / "notes of mine.md").write_text("x\n"))
    launched(kit)
    text = order(kit)
    assert "HEAD touches more than train.py: notes of mine.md" in text
    yield Advice(text)
    assert outcomes(kit) == ["keep", "discard"]


@case
def file_deleted_in_the_commit(kit: Kit) -> Iterator[Advice]:
    commit_two(kit, lambda: (kit.root / "pyproject.toml").unlink())
    yield Advice(launched(kit))
    assert launched(kit) == ""


@case
def ledger_in_the_commit(kit: Kit) -> Iterator[Advice]:
    kit.write(val=1.5)
    kit.git("add", "-f", "results.tsv", "train.py")
    kit.git("commit", "-qm", "exp: and the ledger [emitter=free]")
    yield Advice(launched(kit), by_agent=False)
    assert launched(kit) == ""
    assert len(kit.ledger()) == 2


@case
def other_files_alone_in_the_commit(kit: Kit) -> Iterator[Advice]:
    (kit.root / "notes.md").write_text("x\n")
    kit.git("add", "-A")
    kit.git("commit", "-qm", "exp: no change of train.py [emitter=free]")
    yield Advice(launched(kit))
    assert is_ready(kit)


@case
def infrastructure_at_head(kit: Kit) -> Iterator[Advice]:
    (kit.root / "notes.md").write_text("x\n")
    kit.git("add", "-A")
    kit.git("commit", "-qm", "infra: notes")
    yield Advice(launched(kit), edit=lambda: kit.write(val=1.5))
    assert launched(kit) == ""
    assert len(kit.ledger()) == 2


@case
def other_harness(kit: Kit) -> Iterator[Advice]:
    (kit.root / "prepare.py").write_text((kit.root / "prepare.py").read_text() + "# other\n")
    kit.git("commit", "-qam", "infra: another benchmark")
    kit.commit("exp: on top [emitter=free]", val=1.5)
    yield Advice(launched(kit))
    assert launched(kit) == ""
    assert is_ready(kit)


@case
def other_harness_at_head(kit: Kit) -> Iterator[Advice]:
    (kit.root / "prepare.py").write_text((kit.root / "prepare.py").read_text() + "# other\n")
    kit.git("commit", "-qam", "infra: another benchmark")
    yield Advice(launched(kit))
    assert launched(kit, "--again") == ""  # its train.py is the old baseline's
    assert is_ready(kit)


@case
def other_agents_rules(kit: Kit) -> Iterator[Advice]:
    (kit.root / "AGENTS.md").unlink(missing_ok=True)
    (kit.root / "AGENTS.md").write_text("Cheat.\n")
    kit.git("add", "AGENTS.md")
    kit.git("commit", "-qm", "infra: other rules")
    kit.commit("exp: on top [emitter=free]", val=1.5)
    yield Advice(launched(kit))
    assert launched(kit) == ""


@case
def unreadable_program(kit: Kit) -> Iterator[Advice]:
    kit.commit("exp: a slip [emitter=free]", extra="def (")
    yield Advice(launched(kit), edit=lambda: kit.write(val=1.5))
    assert launched(kit) == ""
    assert len(kit.ledger()) == 2


@case
def missing_name(kit: Kit) -> Iterator[Advice]:
    kit.commit("exp: a slip [emitter=free]", extra="from prepare import nothing_like_it")
    yield Advice(launched(kit))
    assert is_ready(kit)


@case_without_baseline
def experiment_under_another_contract(kit: Kit) -> Iterator[Advice]:
    short = f'CONTRACT = "custom3-0123456789ab" if "{ENV_TIME_BUDGET}" in __import__("os").environ else'
    text = (kit.root / "prepare.py").read_text().replace("CONTRACT =", short, 1)
    (kit.root / "prepare.py").write_text(text)
    kit.git("commit", "-qam", "bench: a budget that can be set")
    with_baseline(kit)
    kit.commit("exp: another idea [emitter=free]", val=0.97)
    kit.environment[ENV_TIME_BUDGET] = "3"
    yield Advice(launched(kit))
    assert launched(kit) == ""
    shown = kit.json("summary")
    assert (shown["contract"], shown["runs"]) == ("custom3-0123456789ab", 2)
    assert shown["baseline"]["commit"] == kit.git("rev-parse", "HEAD^")  # type: ignore[index]


def without_author(kit: Kit) -> None:
    """Takes git's author away."""
    for name in [name for name in kit.environment if name.startswith("GIT_")]:
        del kit.environment[name]
    for key in ("user.name", "user.email"):
        subprocess.run(["git", "config", "--unset", key], cwd=kit.root, env=kit.environment, check=False)
    kit.environment["GIT_CONFIG_GLOBAL"] = kit.environment["GIT_CONFIG_SYSTEM"] = "/dev/null"
    kit.git("config", "user.useConfigOnly", "true")


# What the hooks say beside orders -------------------------------------------------------------------------------------


@case_without_baseline
def prompt_before_the_first_run(kit: Kit) -> Iterator[Advice]:
    told = context_of(answer(kit, "UserPromptSubmit", prompt="Have a look at the repository."))
    assert "replicate <" not in told
    yield Advice(told)
    assert outcomes(kit) == ["keep"]


@case_without_baseline
def plan_before_the_first_run(kit: Kit) -> Iterator[Advice]:
    yield Advice(str(kit.json("next")["prompt"]))
    assert outcomes(kit) == ["keep"]


@case
def prompt_that_is_not_understood(kit: Kit) -> Iterator[Advice]:
    told = context_of(answer(kit, "UserPromptSubmit", prompt="I would rather look at it tomorrow."))
    yield Advice(told.split("\n")[0])
    assert kit.json("autonomy", "status")["enabled"] is False
    assert order(kit) == ""


@case_without_baseline
def loop_that_came_to_its_limit(kit: Kit) -> Iterator[Advice]:
    kit.research("autonomy", "on", "--runs", "1")
    kit.measure()
    said = answer(kit, "Stop", stop_hook_active=True, last_assistant_message="done")
    assert 'Say "continue"' in str((said or {})["systemMessage"])
    answer(kit, "UserPromptSubmit", prompt="continue")
    yield Advice(order(kit))
    assert "is judged" not in order(kit)


@case
def fixed_files_changed_after_a_tool(kit: Kit) -> Iterator[Advice]:
    spoil_fixed_files(kit)
    yield Advice(after_tool(kit))
    assert is_ready(kit)


@case
def fixed_files_changed_at_launch(kit: Kit) -> Iterator[Advice]:
    spoil_fixed_files(kit)
    yield Advice(launched(kit))
    assert is_ready(kit)


@case
def fixed_files_changed_at_stop(kit: Kit) -> Iterator[Advice]:
    kit.commit("exp: worse [emitter=free]", val=1.5)
    spoil_fixed_files(kit)
    text = order(kit)
    assert "No run is launched" in text
    yield Advice(text)
    assert "is not measured yet" in order(kit)
    assert launched(kit) == ""


def spoil_fixed_files(kit: Kit) -> None:
    """Changes the benchmark, and what agents are told and guarded by."""
    for name in ("prepare.py", "program.md", ".claude/settings.json"):
        (kit.root / name).write_text("{}\n")
    (kit.root / "AGENTS.md").unlink()
    kit.git("add", "program.md")


@case
def review_of_a_decided_run(kit: Kit) -> Iterator[Advice]:
    base = kit.head()
    kit.commit("exp: worse [emitter=free]", val=1.5)
    kit.measure()
    yield Advice(after_tool(kit))
    assert kit.head() == base


@case
def review_of_an_uncounted_run(kit: Kit) -> Iterator[Advice]:
    answer(kit, "UserPromptSubmit", prompt="hello")  # which shows the baseline's
    kit.commit("something", val=1.5)
    kit.measure()
    yield Advice(after_tool(kit))
    assert launched(kit) == ""
    assert outcomes(kit) == ["keep", "discard"]


@case
def session_on_an_unmeasured_commit_without_an_author(kit: Kit) -> Iterator[Advice]:
    without_author(kit)
    kit.write(val=0.98)
    told = context_of(answer(kit, "SessionStart", source="startup"))
    yield Advice(told, pick=" commit ")
    assert "is not measured yet" in order(kit)


def refused_by_hook(command: str, mended: Callable[[Kit], bool], name: str) -> None:
    """Adds a case: a command that the policy refuses, whose refusal names the right one."""

    def refused(kit: Kit) -> Iterator[Advice]:
        kit.commit("exp: worse [emitter=free]", val=1.5)
        text = refusal(kit, command)
        yield Advice(text)
        assert mended(kit)

    refused.__name__ = f"refused_{name}"
    case(refused)


RUNS = "uv run python scripts/run_experiment.py --backend local"
for _name, _command in {
    "bare_training": "uv run train.py",
    "profiled_training": "python -m cProfile train.py",
    "run_in_the_background": f"{RUNS} -- uv run train.py > run.log 2>&1 &",
    "run_in_a_group_in_the_background": f"(sleep 1; {RUNS} -- uv run train.py > run.log 2>&1) &",
    "run_with_nohup": f"nohup {RUNS} -- uv run train.py > run.log 2>&1",
    "run_through_a_pipe": f"{RUNS} -- uv run train.py 2>&1 | tee run.log",
    "run_without_a_log": f"{RUNS} -- uv run train.py",
    "run_that_adds_to_the_log": f"{RUNS} -- uv run train.py >> run.log 2>&1",
    "run_with_another_command": f"{RUNS} -- python train.py > run.log 2>&1",
    "run_with_a_longer_limit": f"{RUNS} --timeout 60 -- uv run train.py > run.log 2>&1",
    "run_from_a_subfolder": "cd scripts && python run_experiment.py -- uv run train.py > run.log 2>&1",
}.items():
    refused_by_hook(_command, lambda kit: outcomes(kit) == ["keep", "discard"], _name)


@case
def refused_launch_of_what_would_not_count(kit: Kit) -> Iterator[Advice]:
    launch = f"{RUNS} -- uv run train.py > run.log 2>&1"
    assert refusal(kit, launch) == ""
    kit.commit("infra: worse", val=1.5)
    yield Advice(refusal(kit, launch))
    assert refusal(kit, launch) == ""
    assert launched(kit) == ""
    assert kit.ledger()[-1][4].startswith("exp: worse [emitter=")


@case
def refused_launch_in_a_subfolder(kit: Kit) -> Iterator[Advice]:
    kit.commit("exp: worse [emitter=free]", val=1.5)
    folder = str(kit.root / "scripts")
    for command in ("uv run train.py", f"{RUNS} -- uv run train.py > run.log 2>&1"):
        text = refusal(kit, command, cwd=folder)
        (line,) = commands_in(text)
        assert line.startswith(f"cd {shlex.quote(str(kit.root))} && ")
        assert refusal(kit, line, cwd=folder) == ""
    yield Advice(text)
    assert outcomes(kit) == ["keep", "discard"]


@case
def refused_replicate_in_the_background(kit: Kit) -> Iterator[Advice]:
    yield Advice(refusal(kit, "nohup uv run research replicate HEAD > run.log 2>&1 &"))
    assert len(kit.ledger()) == 2


@case
def refused_launch_with_the_plans_seed(kit: Kit) -> Iterator[Advice]:
    plan_instead(kit, Plan("p1", AT, None, None, kit.head(), "experiment", "why", details={RUN_SEED: "43"}))
    kit.commit("exp: worse [emitter=free]", val=1.5)
    text = refusal(kit, "uv run train.py")
    assert "--seed 43" in text
    yield Advice(text)
    assert kit.json("last-review")["text"].count("seed 43") >= 1  # type: ignore[attr-defined]


@case
def refused_reading_of_scores(kit: Kit) -> Iterator[Advice]:
    yield Advice(refusal(kit, f"cat results/runs/{newest(kit)}/score.json"))


@case
def refused_writing_of_the_ledger(kit: Kit) -> Iterator[Advice]:
    kit.commit("exp: worse [emitter=free]", val=1.5)
    kit.measure()
    yield Advice(refusal(kit, "sed -i s/discard/keep/ results.tsv"), pick="settle")
    assert is_ready(kit)


@case
def refused_decision(kit: Kit) -> Iterator[Advice]:
    kit.commit("exp: worse [emitter=free]", val=1.5)
    kit.measure()
    yield Advice(refusal(kit, "uv run research decide x keep --why luck"))
    assert is_ready(kit)


# What verbs say that can't go on --------------------------------------------------------------------------------------


def with_loser(kit: Kit) -> str:
    """Measures a change that is discarded, not settled yet; returns the baseline's commit."""
    base = kit.head()
    kit.commit("exp: worse [emitter=free]", val=1.5)
    kit.measure()
    return base


@case
def settle_an_undecided_run(kit: Kit) -> Iterator[Advice]:
    kit.commit("exp: close [emitter=free]", val=0.9886)
    run = str(kit.measure().end["run"])
    yield Advice(said_by(kit, "settle", run))
    assert len(kit.ledger()) == 3


@case
def settle_in_a_tree_that_is_not_clean(kit: Kit) -> Iterator[Advice]:
    base = with_loser(kit)
    kit.write(val=0.98)
    yield Advice(said_by(kit, "settle"))
    assert kit.head() == base


@case_without_baseline
def settle_with_the_ledger_tracked(kit: Kit) -> Iterator[Advice]:
    (kit.root / "results.tsv").write_text("commit\tval_bpb\tmemory_gb\tstatus\tdescription\n")
    kit.git("add", "-f", "results.tsv")
    kit.git("commit", "-q", "--amend", "--no-edit")
    with_baseline(kit)
    base = with_loser(kit)
    yield Advice(order(kit))
    assert kit.head() == base


@case
def settle_where_the_tip_was_not_measured(kit: Kit) -> Iterator[Advice]:
    base = with_loser(kit)
    kit.commit("exp: not measured [emitter=free]", val=1.6)
    tip = kit.head()
    yield Advice(said_by(kit, "settle"))
    assert kit.research("settle").code == 0
    assert kit.head() == base
    assert kit.git("rev-parse", f"keep-{tip[:7]}") == tip


@case
def settle_on_a_detached_head(kit: Kit) -> Iterator[Advice]:
    base = with_loser(kit)
    kit.git("checkout", "-q", "--detach")
    yield Advice(said_by(kit, "settle"))
    assert kit.research("settle").code == 0
    assert kit.head() == base


@case
def settle_in_the_middle_of_a_merge(kit: Kit) -> Iterator[Advice]:
    base = with_loser(kit)
    begin_merge(kit)
    yield Advice(said_by(kit, "settle"))
    assert kit.research("settle").code == 0
    assert kit.head() == base


@case
def settle_in_the_middle_of_a_bisection(kit: Kit) -> Iterator[Advice]:
    base = with_loser(kit)
    run = newest(kit)
    kit.git("bisect", "start")
    yield Advice(said_by(kit, "settle", run))
    assert kit.research("settle").code == 0
    assert kit.head() == base


def begin_merge(kit: Kit) -> None:
    """Leaves a merge with a conflict."""
    kit.git("branch", "other", "HEAD^")
    kit.git("checkout", "-q", "other")
    kit.commit("exp: other [emitter=free]", val=1.7)
    kit.git("checkout", "-q", "autoresearch/try")
    subprocess.run(["git", "merge", "other"], cwd=kit.root, env=kit.environment, capture_output=True, check=False)


@case
def settle_a_branch_that_is_checked_out_elsewhere(kit: Kit) -> Iterator[Advice]:
    base, run = with_loser(kit), newest(kit)
    kit.git("checkout", "-q", "main")
    kit.git("worktree", "add", "-q", str(kit.home / "it's there"), "autoresearch/try")
    text = said_by(kit, "settle", run)
    assert "it'" in text
    yield Advice(text)
    assert kit.git("rev-parse", "autoresearch/try") == base


@case
def settle_a_branch_that_is_gone(kit: Kit) -> Iterator[Advice]:
    base, run = with_loser(kit), newest(kit)
    kit.git("checkout", "-q", "main")
    kit.git("branch", "-D", "autoresearch/try")
    yield Advice(said_by(kit, "settle", run))
    assert kit.research("settle", run).code == 0
    assert kit.git("rev-parse", "autoresearch/try") == base


@case_without_baseline
def settle_a_branch_of_another_name(kit: Kit) -> Iterator[Advice]:
    kit.git("checkout", "-q", "-b", "mine/own")
    with_baseline(kit)
    kit.commit("exp: worse [emitter=free]", val=1.5)
    kit.measure()
    yield Advice(said_by(kit, "settle"))
    assert kit.research("settle").code == 0
    assert launched(kit, "--seed", "43") == ""


@case
def decide_on_an_uncounted_run(kit: Kit) -> Iterator[Advice]:
    kit.commit("something", val=1.5)
    run = str(kit.measure().end["run"])
    kit.git("commit", "-q", "--amend", "-m", "exp: something")
    text = said_by(kit, "decide", run, "discard", "--why", "so")
    yield Advice(text.replace(text[text.index("Type: ") :], f"Type: uv run research replicate {kit.head()[:7]}"))
    assert outcomes(kit) == ["keep", "discard"]


@case
def repeat(kit: Kit) -> Iterator[Advice]:
    why = launched(kit)
    assert "--again runs it anyway" in why
    yield Advice(f"Type: {RUNS} --again -- uv run train.py > run.log 2>&1")
    assert len(kit.ledger()) == 2


# Doctor ---------------------------------------------------------------------------------------------------------------


def fix_of(kit: Kit, name: str) -> str:
    """Returns what doctor says about something that is wrong."""
    lines = {check["name"]: check for check in kit.json("doctor")["checks"]}  # type: ignore[attr-defined]
    assert lines[name]["ok"] is False, lines[name]
    return f"Type: {str(lines[name]['fix']).split('   #')[0]}"


def is_well(kit: Kit, name: str) -> bool:
    """Whether doctor has nothing against something."""
    return all(check["ok"] for check in kit.json("doctor")["checks"] if check["name"] == name)  # type: ignore[attr-defined]


@case_without_baseline
def doctor_on_changes(kit: Kit) -> Iterator[Advice]:
    kit.write(val=0.5)
    yield Advice(fix_of(kit, "git"))
    assert is_well(kit, "git")


@case
def doctor_on_a_merge(kit: Kit) -> Iterator[Advice]:
    with_loser(kit)
    begin_merge(kit)
    yield Advice(fix_of(kit, "git"))
    assert is_well(kit, "git")


@case_without_baseline
def doctor_on_lost_hooks(kit: Kit) -> Iterator[Advice]:
    for name in (".codex/hooks.json", ".codex/hooks/hook.sh"):
        (kit.root / name).unlink()
    yield Advice(fix_of(kit, "hook files"))
    assert is_well(kit, "hook files")


@case
def doctor_on_a_damaged_memory(kit: Kit) -> Iterator[Advice]:
    (kit.root / "results/discovery/memory.db").write_bytes(b"garbage" * 1000)
    yield Advice(fix_of(kit, "memory.db"))
    assert is_well(kit, "memory.db")
    assert outcomes(kit) == ["keep"]


@case_without_baseline
def doctor_on_missing_data(kit: Kit) -> Iterator[Advice]:
    kit.environment["AUTORESEARCH_PROFILE"] = "official"
    make_data_by_prepare(kit)
    yield Advice(fix_of(kit, "data"), by_agent=False)
    assert is_well(kit, "data")
    assert is_well(kit, "tokenizer")


# The test -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "has_baseline"), CASES, ids=[case.__name__ for case, _ in CASES])
def test_an_advice_that_is_followed_mends_what_it_is_about(kit: Kit, case: Case, has_baseline: bool):
    if has_baseline:
        with_baseline(kit)
    steps = case(kit)
    follow(kit, next(steps))
    assert next(steps, None) is None


def test_program_md_works_to_the_letter_without_hooks_and_where_only_python3_exists(kit: Kit):
    """In a shell, as an agent of any kind would type it: launch, review, settlement."""
    for folder in (".codex", ".claude"):
        kit.git("rm", "-rq", folder)
    kit.git("commit", "-qm", "infra: no hooks")
    tools = kit.home / "tools"
    tools.mkdir()
    for name in ("git", "bash", "sh", "env", "python3"):
        (tools / name).symlink_to(str(shutil.which(name)))
    (tools / "uv").symlink_to(Path(kit.environment["PATH"].split(":")[0]) / "uv")
    kit.environment["PATH"] = str(tools)
    assert shutil.which("python", path=str(tools)) is None
    rules = (kit.root / "AGENTS.md").read_text()
    (launch,) = re.findall(r"^ {7}(.*run_experiment.*)$", rules, re.M)
    review, settlement = "uv run research last-review", "uv run research settle"
    commit = re.sub(r"<\w+>", "free", re.findall(r"`(git commit -m 'exp: .*?)`", rules)[0])
    assert all(f"`{command}`" in rules for command in (review, settlement))
    for val, state in ((0.99, "keep"), (1.5, "discard")):
        if val == 1.5:
            kit.write(val=val)
            shell(kit, commit)
        for command in (launch, review, settlement):
            shell(kit, command)
        assert kit.ledger()[-1][3] == state
    assert kit.git("show", "-s", "--format=%s") == "infra: no hooks"


def shell(kit: Kit, line: str) -> None:
    """Types a line in a shell."""
    done = subprocess.run(["bash", "-c", line], cwd=kit.root, env=kit.environment, capture_output=True, text=True)
    assert done.returncode == 0, (line, done)
