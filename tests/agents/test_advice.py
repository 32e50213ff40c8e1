"""Every message that names a command is followed literally where it is given, and the situation is mended after it.

A case makes a situation and yields the message; what it names is typed, the command policy has to let it pass, and the
rest of the case asserts that nothing is in the way any more.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.codexkit import answer, denial_of, make_codex_kit
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
CASES: list[Case] = []


def case(function: Case) -> Case:
    """Adds a case."""
    CASES.append(function)
    return function


def commands_in(text: str) -> list[str]:
    """Returns the commands that a message names, in its order."""
    return [one or other for one, other in COMMANDS.findall(text)]


def typed(kit: Kit, line: str) -> int:
    """Types a line; verbs and the runner run inside this process. Returns its exit code."""
    if match := LAUNCH.fullmatch(line):
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
            denied = denial_of(answer(kit, "PreToolUse", tool_name="Bash", tool_input={"command": line}))
            assert denied == "", (line, denied)
        assert typed(kit, line) == 0, line


# What is asked of the lab ---------------------------------------------------------------------------------------------


def order(kit: Kit) -> str:
    """Returns what Stop orders."""
    order.count += 1  # type: ignore[attr-defined]
    said = answer(kit, "Stop", stop_hook_active=True, last_assistant_message=str(order.count))  # type: ignore[attr-defined]
    return str((said or {}).get("reason", ""))


order.count = 0  # type: ignore[attr-defined]


def refusal(kit: Kit, command: str) -> str:
    """Returns why a command is refused."""
    text = denial_of(answer(kit, "PreToolUse", tool_name="Bash", tool_input={"command": command}))
    assert text, command
    return text


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


def with_baseline(kit: Kit, on: bool = True) -> None:
    """Measures the baseline, settles it, and turns the loop on."""
    assert kit.measure().code == 0
    kit.research("settle")
    if on:
        kit.research("autonomy", "on")


def is_ready(kit: Kit) -> bool:
    """Whether an idea can be tried: one is launched, and is counted."""
    kit.commit("exp: another idea [emitter=free]", val=0.97, extra="OTHER = 1")
    done = kit.measure()
    return done.code == 0 and done.end["counted"] is True


def outcomes(kit: Kit) -> list[str]:
    """The ledger's states."""
    return [row[3] for row in kit.ledger()]


# Stop's orders --------------------------------------------------------------------------------------------------------


@case
def baseline_order(kit: Kit) -> Iterator[Advice]:
    kit.research("autonomy", "on")
    yield Advice(order(kit))
    assert outcomes(kit) == ["keep"]


@case
def settle_order(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    kit.commit("exp: worse [emitter=free]", val=1.5)
    kit.measure()
    text = order(kit)
    assert "is judged: discard" in text
    yield Advice(text)
    assert "is judged" not in order(kit)
    assert is_ready(kit)


@case
def plan_order(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    text = order(kit)
    assert "One idea, train.py only" in text
    yield Advice(text, edit=lambda: kit.write(val=1.5))
    assert len(kit.ledger()) == 2


@case
def plan_order_from_an_undecided_change(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    kit.commit("exp: close [emitter=free]", val=0.9886)
    kit.measure()
    text = order(kit)
    assert "git reset --keep" in text
    yield Advice(text, edit=lambda: kit.write(val=1.5))
    assert len(kit.ledger()) == 3


@case
def replicate_order(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    kit.commit("exp: far better [emitter=free]", val=0.5)
    kit.measure()
    kit.research("autonomy", "off")  # drops the plan
    answer(kit, "UserPromptSubmit", prompt="start the loop")
    text = order(kit)
    assert "research replicate" in text
    yield Advice(text)
    assert len(kit.ledger()) == 3


@case
def dirty_order_commit(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    kit.write(val=0.98)
    yield Advice(order(kit), pick="commit")
    assert "is not measured yet" in order(kit)


@case
def dirty_order_commit_without_an_author(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    without_author(kit)
    kit.write(val=0.98)
    yield Advice(order(kit), pick="commit")
    assert "is not measured yet" in order(kit)


@case
def dirty_order_drop(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    kit.write(val=0.98)
    kit.git("add", "train.py")
    yield Advice(order(kit), pick="git restore")
    assert "not committed" not in order(kit)
    assert is_ready(kit)


@case
def unmeasured_order(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    kit.commit("exp: worse [emitter=free]", val=1.5)
    yield Advice(order(kit))
    assert outcomes(kit) == ["keep", "discard"]


@case
def unmeasured_order_where_a_verdict_waits(kit: Kit) -> Iterator[Advice]:
    """Settling would drop HEAD, so it is measured first."""
    with_baseline(kit)
    kit.commit("exp: worse [emitter=free]", val=1.5)
    kit.measure()
    kit.commit("exp: worse still [emitter=free]", val=1.6)
    yield Advice(order(kit))
    assert "is judged: discard" in order(kit)
    assert kit.research("settle").code == 0


@case
def amended_message_order(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
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
    with_baseline(kit)
    kit.write(extra="# a comment alone")
    kit.git("commit", "-qam", "exp: nothing new [emitter=free]")
    text = order(kit)
    assert "is the same program as run" in text
    yield Advice(text)
    assert "is the same program" not in order(kit)
    assert is_ready(kit)


@case
def known_program_order(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    base = kit.head()
    for words in ("worse", "worse again"):
        kit.commit(f"exp: {words} [emitter=free]", val=1.5)
        kit.measure()
        kit.research("settle")
    text = order(kit)
    assert f"First type `git reset --keep {base[:7]}`" in text
    yield Advice(text, edit=lambda: kit.write(val=1.4))
    assert outcomes(kit) == ["keep", "discard", "discard"]


@case
def uncounted_order(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    kit.commit("try something's else", val=1.5)
    kit.measure()
    order_text = order(kit)
    assert "did not count" in order_text
    yield Advice(order_text)
    assert outcomes(kit) == ["keep", "discard"]
    assert kit.git("show", "-s", "--format=%s", "refs/research/runs/" + newest(kit)) == "exp: try something's else"


@case
def uncounted_order_without_an_author(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    kit.commit("try something", val=1.5)
    without_author(kit)
    kit.measure()
    yield Advice(order(kit))
    assert outcomes(kit) == ["keep", "discard"]


def newest(kit: Kit) -> str:
    """The name of the latest run."""
    return kit.folders()[-1].name


@case
def lost_run_order(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    kit.commit("exp: sleeps [emitter=free]", "sleep")
    child = kit.start()
    wait_for(lambda: any((folder / "run.log").exists() for folder in kit.folders()[1:]))
    child.kill()
    child.communicate()
    wait_for(lambda: "ended without its runner" in order(kit))
    yield Advice(order(kit))
    assert "is not measured yet" in order(kit)


@case
def missing_data_order(kit: Kit) -> Iterator[Advice]:
    kit.environment["AUTORESEARCH_PROFILE"] = "official"
    make = "home=Path(os.environ['AUTORESEARCH_HOME'])\nfor name in ('data/a.parquet','tokenizer/tokenizer.json'):\n"
    make += "    (home/name).parent.mkdir(parents=True, exist_ok=True); (home/name).write_text('x')\n"
    prepare = kit.root / "prepare.py"
    prepare.write_text("import os\nfrom pathlib import Path\n" + make + prepare.read_text())
    kit.git("commit", "-qam", "infra: makes data")
    kit.research("autonomy", "on")
    yield Advice(order(kit), by_agent=False)
    assert "no baseline yet" in order(kit)


# Refused launches, as the runner and the next order say them ----------------------------------------------------------


@case
def fixed_file_changed(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    (kit.root / "prepare.py").write_text("x = 1\n")
    yield Advice(launched(kit))
    assert is_ready(kit)


@case
def fixed_file_staged_and_a_new_one(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    (kit.root / "prepare.py").write_text("x = 1\n")
    (kit.root / "research" / "a new one.py").write_text("x = 1\n")
    kit.git("add", "prepare.py")
    yield Advice(launched(kit))
    assert is_ready(kit)
    kit.git("stash", "pop")
    assert (kit.root / "research" / "a new one.py").exists()


@case
def many_fixed_files_changed(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    for number in range(9):
        (kit.root / "research" / f"new{number}.py").write_text("x = 1\n")
    yield Advice(launched(kit))
    assert is_ready(kit)


@case
def fixed_file_hidden_from_git(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    kit.git("update-index", "--assume-unchanged", "prepare.py")
    yield Advice(launched(kit))
    assert is_ready(kit)


@case
def fixed_file_changed_in_the_next_order(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    kit.commit("exp: worse [emitter=free]", val=1.5)
    (kit.root / "prepare.py").write_text("x = 1\n")
    launched(kit)
    text = order(kit)
    assert "The last launch was refused" in text
    yield Advice(text)
    assert outcomes(kit) == ["keep", "discard"]


@case
def train_changed_commit(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    kit.write(val=0.98)
    yield Advice(launched(kit), pick="commit")
    assert launched(kit) == ""
    assert len(kit.ledger()) == 2


@case
def train_changed_restore(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
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
    with_baseline(kit)
    commit_two(kit, lambda: (kit.root / "prepare.py").write_text("x = 1\n"))
    yield Advice(launched(kit))
    assert launched(kit) == ""
    assert kit.ledger()[-1][4] == "exp: it's two [emitter=free]"


@case
def new_file_in_the_commit_in_the_next_order(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    commit_two(kit, lambda: (kit.root / "notes of mine.md").write_text("x\n"))
    launched(kit)
    text = order(kit)
    assert "HEAD touches more than train.py: notes of mine.md" in text
    yield Advice(text)
    assert outcomes(kit) == ["keep", "discard"]


@case
def file_deleted_in_the_commit(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    commit_two(kit, lambda: (kit.root / "pyproject.toml").unlink())
    yield Advice(launched(kit))
    assert launched(kit) == ""


@case
def ledger_in_the_commit(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    kit.write(val=1.5)
    kit.git("add", "-f", "results.tsv", "train.py")
    kit.git("commit", "-qm", "exp: and the ledger [emitter=free]")
    yield Advice(launched(kit), by_agent=False)
    assert launched(kit) == ""
    assert len(kit.ledger()) == 2


@case
def other_files_alone_in_the_commit(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    (kit.root / "notes.md").write_text("x\n")
    kit.git("add", "-A")
    kit.git("commit", "-qm", "exp: no change of train.py [emitter=free]")
    yield Advice(launched(kit))
    assert is_ready(kit)


@case
def infrastructure_at_head(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    (kit.root / "notes.md").write_text("x\n")
    kit.git("add", "-A")
    kit.git("commit", "-qm", "infra: notes")
    yield Advice(launched(kit), edit=lambda: kit.write(val=1.5))
    assert launched(kit) == ""
    assert len(kit.ledger()) == 2


@case
def other_harness(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    (kit.root / "prepare.py").write_text((kit.root / "prepare.py").read_text() + "# other\n")
    kit.git("commit", "-qam", "infra: another benchmark")
    kit.commit("exp: on top [emitter=free]", val=1.5)
    yield Advice(launched(kit))
    assert launched(kit) == ""
    assert is_ready(kit)


@case
def other_agents_rules(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    (kit.root / "AGENTS.md").unlink(missing_ok=True)
    (kit.root / "AGENTS.md").write_text("Cheat.\n")
    kit.git("add", "AGENTS.md")
    kit.git("commit", "-qm", "infra: other rules")
    kit.commit("exp: on top [emitter=free]", val=1.5)
    yield Advice(launched(kit))
    assert launched(kit) == ""


@case
def unreadable_program(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    kit.commit("exp: a slip [emitter=free]", extra="def (")
    yield Advice(launched(kit), edit=lambda: kit.write(val=1.5))
    assert launched(kit) == ""
    assert len(kit.ledger()) == 2


@case
def unreadable_program_in_the_next_order(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    kit.commit("exp: a slip [emitter=free]", extra="def (")
    launched(kit)
    yield Advice(order(kit), edit=lambda: kit.write(val=1.5))
    assert outcomes(kit) == ["keep", "discard"]


@case
def missing_name(kit: Kit) -> Iterator[Advice]:
    with_baseline(kit)
    kit.commit("exp: a slip [emitter=free]", extra="from prepare import nothing_like_it")
    yield Advice(launched(kit))
    assert is_ready(kit)


def without_author(kit: Kit) -> None:
    """Takes git's author away."""
    for name in [name for name in kit.environment if name.startswith("GIT_")]:
        del kit.environment[name]
    for key in ("user.name", "user.email"):
        subprocess.run(["git", "config", "--unset", key], cwd=kit.root, env=kit.environment, check=False)
    kit.environment["GIT_CONFIG_GLOBAL"] = kit.environment["GIT_CONFIG_SYSTEM"] = "/dev/null"
    kit.git("config", "user.useConfigOnly", "true")


# The test -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_an_advice_that_is_followed_mends_what_it_is_about(tmp_path: Path, case: Case):
    kit = make_codex_kit(tmp_path)
    steps = case(kit)
    follow(kit, next(steps))
    assert next(steps, None) is None
