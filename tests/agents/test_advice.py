"""Every message that names a command is followed literally where it is given, and the situation is mended after it.

What a message names is typed, the command policy has to let it pass, and then nothing is in the way any more.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
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


@pytest.fixture
def lab(kit: Kit) -> Kit:
    """A repository with a baseline, where the loop is on."""
    with_baseline(kit)
    return kit


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


def follow(
    kit: Kit,
    text: str,
    says: str = "",
    pick: str = "",
    edit: Callable[[], object] = lambda: None,
    by_agent: bool = True,
) -> None:
    """Types what a message names.

    Args:
        kit: The repository.
        text: The message.
        says: What it has to say.
        pick: A part of the command that is typed, where it names several ways; by default all are.
        edit: What is done before the first commit, where it asks for a change.
        by_agent: Whether an agent follows it, whose commands the policy judges.
    """
    lines, is_edited = [line for line in commands_in(text) if pick in line], False
    assert lines, text
    assert says in text
    for line in lines:
        if " commit " in line and not is_edited:
            edit()
            is_edited = True
        if by_agent:
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


def with_loser(kit: Kit) -> str:
    """Measures a change that is discarded, not settled yet; returns the commit that it was made on."""
    base = kit.head()
    kit.commit("exp: worse [emitter=free]", val=1.5)
    kit.measure()
    return base


def is_ready(kit: Kit) -> bool:
    """Whether an idea can be tried: one is launched, and is counted."""
    kit.commit("exp: another idea [emitter=free]", val=0.97, extra="OTHER = 1")
    done = kit.measure()
    return done.code == 0 and done.end["counted"] is True


def outcomes(kit: Kit) -> list[str]:
    """The ledger's states."""
    return [row[3] for row in kit.ledger()]


# Stop's orders --------------------------------------------------------------------------------------------------------


def test_baseline_order(kit: Kit):
    kit.research("autonomy", "on")
    follow(kit, order(kit))
    assert outcomes(kit) == ["keep"]


def test_settle_order(lab: Kit):
    with_loser(lab)
    follow(lab, order(lab), says="is judged: discard")
    assert "is judged" not in order(lab)
    assert is_ready(lab)


def test_plan_order(lab: Kit):
    follow(lab, order(lab), says="One idea, train.py only", edit=lambda: lab.write(val=1.5))
    assert len(lab.ledger()) == 2


def test_plan_order_from_an_undecided_change(lab: Kit):
    lab.commit("exp: close [emitter=free]", val=0.9886)
    lab.measure()
    follow(lab, order(lab), says="git reset --keep", edit=lambda: lab.write(val=1.5))
    assert len(lab.ledger()) == 3


def with_replicate_due(lab: Kit) -> None:
    """Measure a gain that is too large to be kept on one seed, and plan anew."""
    lab.commit("exp: far better [emitter=free]", val=0.5)
    lab.measure()
    lab.research("autonomy", "off")  # drops the plan
    answer(lab, "UserPromptSubmit", prompt="start the loop")


def test_replicate_order(lab: Kit):
    with_replicate_due(lab)
    follow(lab, order(lab), says="research replicate")
    assert len(lab.ledger()) == 3


def test_replicate_order_after_a_refusal(lab: Kit):
    with_replicate_due(lab)
    lab.write(val=0.4)
    assert "train.py differs from HEAD" in launched(lab, "--seed", "43")
    follow(lab, order(lab), says="The last launch was refused:\ntrain.py differs from HEAD", pick="research replicate")
    assert len(lab.ledger()) == 3


def test_experiment_on_an_unmeasured_change(lab: Kit):
    lab.commit("infra: other defaults", val=0.9)
    lab.commit("exp: it's worse [emitter=free]", val=1.5)
    follow(lab, launched(lab), says="was not measured")
    assert launched(lab) == ""
    assert lab.research("settle").code == 0
    assert lab.git("show", "-s", "--format=%s") == "harness"


def test_dirty_order_commit_without_an_author(lab: Kit):
    without_author(lab)
    lab.write(val=0.98)
    follow(lab, order(lab), pick="commit")
    assert "is not measured yet" in order(lab)


def test_dirty_order_drop(lab: Kit):
    lab.write(val=0.98)
    lab.git("add", "train.py")
    follow(lab, order(lab), pick="git restore")
    assert "not committed" not in order(lab)
    assert is_ready(lab)


def test_unmeasured_order(lab: Kit):
    lab.commit("exp: worse [emitter=free]", val=1.5)
    follow(lab, order(lab))
    assert outcomes(lab) == ["keep", "discard"]


def test_unmeasured_order_where_a_verdict_waits(lab: Kit):
    """Settling would drop HEAD, so it is measured first."""
    with_loser(lab)
    lab.commit("exp: worse still [emitter=free]", val=1.6)
    follow(lab, order(lab))
    assert "is judged: discard" in order(lab)
    assert lab.research("settle").code == 0


def test_amended_message_order(lab: Kit):
    with_loser(lab)
    lab.git("commit", "-q", "--amend", "-m", "exp: worse, in other words [emitter=free]")
    follow(lab, order(lab), says="is judged: discard")
    assert lab.git("show", "-s", "--format=%s") == "harness"
    assert is_ready(lab)


def test_same_program_order(lab: Kit):
    lab.write(extra="# a comment alone")
    lab.git("commit", "-qam", "exp: nothing new [emitter=free]")
    follow(lab, order(lab), says="is the same program as run")
    assert "is the same program" not in order(lab)
    assert is_ready(lab)


def test_discarded_change_made_again_order(lab: Kit):
    """The same diff on the same parent is the same program, whatever its commit is called."""
    for words in ("worse", "worse again"):
        lab.commit(f"exp: {words} [emitter=free]", val=1.5)
        lab.measure()
        lab.research("settle")
    follow(lab, order(lab), says="is the same program as run")
    assert "One idea, train.py only" in order(lab)
    assert is_ready(lab)


def test_baseline_of_a_second_branch_order(lab: Kit):
    """Another branch has measured the same train.py; this one has no baseline all the same."""
    lab.git("checkout", "-q", "-b", "autoresearch/second")
    refused = lab.measure()
    assert refused.end["outcome"] == "repeat"
    assert "has no baseline yet: to measure it here, type the same with --again" in str(refused.end["why"])
    follow(lab, order(lab), says="a baseline is measured anew (--again)")
    assert lab.json("summary")["baseline"] is not None


def test_same_program_in_the_summary(lab: Kit):
    lab.write(extra="# a comment alone")
    lab.git("commit", "-qam", "exp: nothing new [emitter=free]")
    (line,) = [line for line in lab.json("summary")["warnings"] if "same program" in line]
    assert line in context_of(answer(lab, "SessionStart", source="startup"))
    follow(lab, line)
    assert is_ready(lab)


def test_uncounted_order(lab: Kit):
    lab.commit("try something's else", val=1.5)
    lab.measure()
    follow(lab, order(lab), says="did not count")
    assert outcomes(lab) == ["keep", "discard"]
    assert (
        lab.git("show", "-s", "--format=%s", "refs/research/runs/" + newest(lab))
        == "exp: try something's else [emitter=free]"
    )


def newest(kit: Kit) -> str:
    """The name of the latest run."""
    with read_store(LabPaths(kit.root)) as store:
        return store.runs()[-1].run


def test_lost_run_order(lab: Kit):
    lab.commit("exp: sleeps [emitter=free]", "sleep")
    child = lab.start()
    wait_for(lambda: sum((folder / "run.log").exists() for folder in lab.folders()) == 2)
    child.kill()
    child.communicate()
    wait_for(lambda: "ended without its runner" in order(lab))
    follow(lab, order(lab))
    assert "is not measured yet" in order(lab)


def test_missing_data_order(kit: Kit):
    kit.environment["AUTORESEARCH_PROFILE"] = "official"
    make_data_by_prepare(kit)
    kit.research("autonomy", "on")
    follow(kit, order(kit), by_agent=False)
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


def test_fixed_file_staged_and_a_new_one(lab: Kit):
    (lab.root / "prepare.py").write_text("x = 1\n")
    (lab.root / "research" / "a new one.py").write_text("x = 1\n")
    lab.git("add", "prepare.py")
    follow(lab, launched(lab))
    assert is_ready(lab)
    lab.git("stash", "pop")
    assert (lab.root / "research" / "a new one.py").exists()


def test_many_fixed_files_changed(lab: Kit):
    for number in range(9):
        (lab.root / "research" / f"new{number}.py").write_text("x = 1\n")
    follow(lab, launched(lab))
    assert is_ready(lab)


def test_fixed_file_hidden_from_git(lab: Kit):
    lab.git("update-index", "--assume-unchanged", "prepare.py")
    follow(lab, launched(lab))
    assert is_ready(lab)


def test_fixed_file_changed_in_the_next_order(lab: Kit):
    lab.commit("exp: worse [emitter=free]", val=1.5)
    (lab.root / "prepare.py").write_text("x = 1\n")
    launched(lab)
    follow(lab, order(lab), says="The last launch was refused")
    assert outcomes(lab) == ["keep", "discard"]


def test_taken_device_in_the_next_order(lab: Kit):
    """The other run has ended by the time that the wait is over."""
    lab.commit("exp: worse [emitter=free]", val=1.5)
    folder = lab.home / "cache" / "locks"
    host = next(folder.iterdir()).stem.rpartition("-")[2]
    locks = [FileLock(folder / f"core-{core}-{host}.lock") for core in os.sched_getaffinity(0)]
    assert all(lock.acquire() for lock in locks)
    assert "The device is taken by" in launched(lab)
    text = order(lab)
    for lock in locks:
        lock.release()
    assert "Wait with `sleep 100` first" in text
    follow(lab, text)
    assert outcomes(lab) == ["keep", "discard"]


def test_train_changed_commit(lab: Kit):
    lab.write(val=0.98)
    follow(lab, launched(lab), pick="commit")
    assert launched(lab) == ""
    assert len(lab.ledger()) == 2


def test_train_changed_restore(lab: Kit):
    lab.write(val=0.98)
    lab.git("add", "train.py")
    follow(lab, launched(lab), pick="git restore")
    assert is_ready(lab)


def commit_two(kit: Kit, change: Callable[[], object], subject: str = "exp: it's two [emitter=free]") -> None:
    """Commits train.py and what a change does."""
    kit.write(val=1.5)
    change()
    kit.git("add", "-A")
    kit.git("commit", "-qm", subject)


def test_other_file_in_the_commit(lab: Kit):
    commit_two(lab, lambda: (lab.root / "prepare.py").write_text("x = 1\n"))
    follow(lab, launched(lab))
    assert launched(lab) == ""
    assert lab.ledger()[-1][4] == "exp: it's two [emitter=free]"


def test_new_file_in_the_commit_in_the_next_order(lab: Kit):
    commit_two(lab, lambda: (lab.root / "notes of mine.md").write_text("x\n"))
    launched(lab)
    follow(lab, order(lab), says="HEAD touches more than train.py: notes of mine.md")
    assert outcomes(lab) == ["keep", "discard"]


def test_file_deleted_in_the_commit(lab: Kit):
    commit_two(lab, lambda: (lab.root / "pyproject.toml").unlink())
    follow(lab, launched(lab))
    assert launched(lab) == ""


def test_ledger_in_the_commit(lab: Kit):
    lab.write(val=1.5)
    lab.git("add", "-f", "results.tsv", "train.py")
    lab.git("commit", "-qm", "exp: and the ledger [emitter=free]")
    follow(lab, launched(lab), by_agent=False)
    assert launched(lab) == ""
    assert len(lab.ledger()) == 2


def test_other_files_alone_in_the_commit(lab: Kit):
    (lab.root / "notes.md").write_text("x\n")
    lab.git("add", "-A")
    lab.git("commit", "-qm", "exp: no change of train.py [emitter=free]")
    follow(lab, launched(lab))
    assert is_ready(lab)


def test_infrastructure_at_head(lab: Kit):
    (lab.root / "notes.md").write_text("x\n")
    lab.git("add", "-A")
    lab.git("commit", "-qm", "infra: notes")
    follow(lab, launched(lab), edit=lambda: lab.write(val=1.5))
    assert launched(lab) == ""
    assert len(lab.ledger()) == 2


def test_other_harness(lab: Kit):
    (lab.root / "prepare.py").write_text((lab.root / "prepare.py").read_text() + "# other\n")
    lab.git("commit", "-qam", "infra: another benchmark")
    lab.commit("exp: on top [emitter=free]", val=1.5)
    follow(lab, launched(lab))
    assert launched(lab) == ""
    assert is_ready(lab)


def test_other_harness_at_head(lab: Kit):
    (lab.root / "prepare.py").write_text((lab.root / "prepare.py").read_text() + "# other\n")
    lab.git("commit", "-qam", "infra: another benchmark")
    follow(lab, launched(lab))
    assert launched(lab, "--again") == ""  # its train.py is the old baseline's
    assert is_ready(lab)


def test_other_agents_rules(lab: Kit):
    (lab.root / "AGENTS.md").unlink(missing_ok=True)
    (lab.root / "AGENTS.md").write_text("Cheat.\n")
    lab.git("add", "AGENTS.md")
    lab.git("commit", "-qm", "infra: other rules")
    lab.commit("exp: on top [emitter=free]", val=1.5)
    follow(lab, launched(lab))
    assert launched(lab) == ""


def test_unreadable_program(lab: Kit):
    lab.commit("exp: a slip [emitter=free]", extra="def (")
    follow(lab, launched(lab), edit=lambda: lab.write(val=1.5))
    assert launched(lab) == ""
    assert len(lab.ledger()) == 2


def test_missing_name(lab: Kit):
    lab.commit("exp: a slip [emitter=free]", extra="from prepare import nothing_like_it")
    follow(lab, launched(lab))
    assert is_ready(lab)


def test_experiment_under_another_contract(kit: Kit):
    short = f'CONTRACT = "custom3-0123456789ab" if "{ENV_TIME_BUDGET}" in __import__("os").environ else'
    text = (kit.root / "prepare.py").read_text().replace("CONTRACT =", short, 1)
    (kit.root / "prepare.py").write_text(text)
    kit.git("commit", "-qam", "bench: a budget that can be set")
    with_baseline(kit)
    kit.commit("exp: another idea [emitter=free]", val=0.97)
    kit.environment[ENV_TIME_BUDGET] = "3"
    follow(kit, launched(kit))
    assert launched(kit) == ""
    shown = kit.json("summary")
    assert (shown["contract"], shown["runs"]) == ("custom3-0123456789ab", 2)
    assert shown["baseline"]["commit"] == kit.git("rev-parse", "HEAD^")


def without_author(kit: Kit) -> None:
    """Takes git's author away."""
    for name in [name for name in kit.environment if name.startswith("GIT_")]:
        del kit.environment[name]
    for key in ("user.name", "user.email"):
        subprocess.run(["git", "config", "--unset", key], cwd=kit.root, env=kit.environment, check=False)
    kit.environment["GIT_CONFIG_GLOBAL"] = kit.environment["GIT_CONFIG_SYSTEM"] = "/dev/null"
    kit.git("config", "user.useConfigOnly", "true")


# What the hooks say beside orders -------------------------------------------------------------------------------------


def test_prompt_before_the_first_run(kit: Kit):
    told = context_of(answer(kit, "UserPromptSubmit", prompt="Have a look at the repository."))
    assert "replicate <" not in told
    follow(kit, told)
    assert outcomes(kit) == ["keep"]


def test_plan_before_the_first_run(kit: Kit):
    follow(kit, str(kit.json("next")["prompt"]))
    assert outcomes(kit) == ["keep"]


def test_prompt_that_is_not_understood(lab: Kit):
    told = context_of(answer(lab, "UserPromptSubmit", prompt="I would rather look at it tomorrow."))
    follow(lab, told.split("\n")[0])
    assert lab.json("autonomy", "status")["enabled"] is False
    assert order(lab) == ""


def test_loop_that_came_to_its_limit(kit: Kit):
    kit.research("autonomy", "on", "--runs", "1")
    kit.measure()
    said = answer(kit, "Stop", stop_hook_active=True, last_assistant_message="done")
    assert 'Say "continue"' in str((said or {})["systemMessage"])
    answer(kit, "UserPromptSubmit", prompt="continue")
    follow(kit, order(kit))
    assert "is judged" not in order(kit)


def test_fixed_files_changed_after_a_tool(lab: Kit):
    spoil_fixed_files(lab)
    follow(lab, after_tool(lab))
    assert is_ready(lab)


def test_fixed_files_changed_at_launch(lab: Kit):
    spoil_fixed_files(lab)
    follow(lab, launched(lab))
    assert is_ready(lab)


def test_fixed_files_changed_at_stop(lab: Kit):
    lab.commit("exp: worse [emitter=free]", val=1.5)
    spoil_fixed_files(lab)
    follow(lab, order(lab), says="No run is launched")
    assert "is not measured yet" in order(lab)
    assert launched(lab) == ""


def spoil_fixed_files(kit: Kit) -> None:
    """Changes the benchmark, and what agents are told and guarded by."""
    for name in ("prepare.py", "program.md", ".claude/settings.json"):
        (kit.root / name).write_text("{}\n")
    (kit.root / "AGENTS.md").unlink()
    kit.git("add", "program.md")


def test_review_of_a_decided_run(lab: Kit):
    base = with_loser(lab)
    follow(lab, after_tool(lab))
    assert lab.head() == base


def test_review_of_an_uncounted_run(lab: Kit):
    answer(lab, "UserPromptSubmit", prompt="hello")  # which shows the baseline's
    lab.commit("something", val=1.5)
    lab.measure()
    follow(lab, after_tool(lab))
    assert launched(lab) == ""
    assert outcomes(lab) == ["keep", "discard"]


def test_session_on_an_unmeasured_commit_without_an_author(lab: Kit):
    without_author(lab)
    lab.write(val=0.98)
    told = context_of(answer(lab, "SessionStart", source="startup"))
    follow(lab, told, pick=" commit ")
    assert "is not measured yet" in order(lab)


RUNS = "uv run python scripts/run_experiment.py --backend local"
REFUSED = [
    "uv run train.py",
    "python -m cProfile train.py",
    f"{RUNS} -- uv run train.py > run.log 2>&1 &",
    f"(sleep 1; {RUNS} -- uv run train.py > run.log 2>&1) &",
    f"nohup {RUNS} -- uv run train.py > run.log 2>&1",
    f"{RUNS} -- uv run train.py 2>&1 | tee run.log",
    f"{RUNS} -- uv run train.py",
    f"{RUNS} -- uv run train.py >> run.log 2>&1",
    f"{RUNS} -- python train.py > run.log 2>&1",
    f"{RUNS} --timeout 60 -- uv run train.py > run.log 2>&1",
    "cd scripts && python run_experiment.py -- uv run train.py > run.log 2>&1",
]


@pytest.mark.parametrize("command", REFUSED)
def test_refused_launch(lab: Kit, command: str):
    lab.commit("exp: worse [emitter=free]", val=1.5)
    follow(lab, refusal(lab, command))
    assert outcomes(lab) == ["keep", "discard"]


def test_refused_launch_of_what_would_not_count(lab: Kit):
    launch = f"{RUNS} -- uv run train.py > run.log 2>&1"
    assert refusal(lab, launch) == ""
    lab.commit("infra: worse", val=1.5)
    follow(lab, refusal(lab, launch))
    assert refusal(lab, launch) == ""
    assert launched(lab) == ""
    assert lab.ledger()[-1][4].startswith("exp: worse [emitter=")


def test_refused_launch_in_a_subfolder(lab: Kit):
    lab.commit("exp: worse [emitter=free]", val=1.5)
    folder = str(lab.root / "scripts")
    for command in ("uv run train.py", f"{RUNS} -- uv run train.py > run.log 2>&1"):
        text = refusal(lab, command, cwd=folder)
        (line,) = commands_in(text)
        assert line.startswith(f"cd {shlex.quote(str(lab.root))} && ")
        assert refusal(lab, line, cwd=folder) == ""
    follow(lab, text)
    assert outcomes(lab) == ["keep", "discard"]


def test_refused_replicate_in_the_background(lab: Kit):
    follow(lab, refusal(lab, "nohup uv run research replicate HEAD > run.log 2>&1 &"))
    assert len(lab.ledger()) == 2


def test_refused_launch_with_the_plans_seed(lab: Kit):
    plan_instead(lab, Plan("p1", AT, None, None, lab.head(), "experiment", "why", details={RUN_SEED: "43"}))
    lab.commit("exp: worse [emitter=free]", val=1.5)
    follow(lab, refusal(lab, "uv run train.py"), says="--seed 43")
    assert lab.json("last-review")["text"].count("seed 43") >= 1


def test_refused_reading_of_scores(lab: Kit):
    follow(lab, refusal(lab, f"cat results/runs/{newest(lab)}/score.json"))


def test_refused_writing_of_the_ledger(lab: Kit):
    with_loser(lab)
    follow(lab, refusal(lab, "sed -i s/discard/keep/ results.tsv"), pick="settle")
    assert is_ready(lab)


def test_refused_decision(lab: Kit):
    with_loser(lab)
    follow(lab, refusal(lab, "uv run research decide x keep --why luck"))
    assert is_ready(lab)


# What verbs say that can't go on --------------------------------------------------------------------------------------


def test_settle_an_undecided_run(lab: Kit):
    lab.commit("exp: close [emitter=free]", val=0.9886)
    run = str(lab.measure().end["run"])
    follow(lab, said_by(lab, "settle", run))
    assert len(lab.ledger()) == 3


def test_settle_in_a_tree_that_is_not_clean(lab: Kit):
    base = with_loser(lab)
    lab.write(val=0.98)
    follow(lab, said_by(lab, "settle"))
    assert lab.head() == base


def test_settle_with_the_ledger_tracked(kit: Kit):
    (kit.root / "results.tsv").write_text("commit\tval_bpb\tmemory_gb\tstatus\tdescription\n")
    kit.git("add", "-f", "results.tsv")
    kit.git("commit", "-q", "--amend", "--no-edit")
    with_baseline(kit)
    base = with_loser(kit)
    follow(kit, order(kit))
    assert kit.head() == base


def test_settle_where_the_tip_was_not_measured(lab: Kit):
    base = with_loser(lab)
    lab.commit("exp: not measured [emitter=free]", val=1.6)
    tip = lab.head()
    follow(lab, said_by(lab, "settle"))
    assert lab.research("settle").code == 0
    assert lab.head() == base
    assert lab.git("rev-parse", f"keep-{tip[:7]}") == tip


def test_settle_on_a_detached_head(lab: Kit):
    base = with_loser(lab)
    lab.git("checkout", "-q", "--detach")
    follow(lab, said_by(lab, "settle"))
    assert lab.research("settle").code == 0
    assert lab.head() == base


def test_settle_in_the_middle_of_a_merge(lab: Kit):
    base = with_loser(lab)
    begin_merge(lab)
    follow(lab, said_by(lab, "settle"))
    assert lab.research("settle").code == 0
    assert lab.head() == base


def test_settle_in_the_middle_of_a_bisection(lab: Kit):
    base = with_loser(lab)
    run = newest(lab)
    lab.git("bisect", "start")
    follow(lab, said_by(lab, "settle", run))
    assert lab.research("settle").code == 0
    assert lab.head() == base


def begin_merge(kit: Kit) -> None:
    """Leaves a merge with a conflict."""
    kit.git("branch", "other", "HEAD^")
    kit.git("checkout", "-q", "other")
    kit.commit("exp: other [emitter=free]", val=1.7)
    kit.git("checkout", "-q", "autoresearch/try")
    subprocess.run(["git", "merge", "other"], cwd=kit.root, env=kit.environment, capture_output=True, check=False)


def test_settle_a_branch_that_is_checked_out_elsewhere(lab: Kit):
    base, run = with_loser(lab), newest(lab)
    lab.git("checkout", "-q", "main")
    lab.git("worktree", "add", "-q", str(lab.home / "it's there"), "autoresearch/try")
    follow(lab, said_by(lab, "settle", run), says="it'")
    assert lab.git("rev-parse", "autoresearch/try") == base


def test_settle_a_branch_that_is_gone(lab: Kit):
    base, run = with_loser(lab), newest(lab)
    lab.git("checkout", "-q", "main")
    lab.git("branch", "-D", "autoresearch/try")
    follow(lab, said_by(lab, "settle", run))
    assert lab.research("settle", run).code == 0
    assert lab.git("rev-parse", "autoresearch/try") == base


def test_settle_a_branch_of_another_name(kit: Kit):
    kit.git("checkout", "-q", "-b", "mine/own")
    with_baseline(kit)
    with_loser(kit)
    follow(kit, said_by(kit, "settle"))
    assert kit.research("settle").code == 0
    assert launched(kit, "--seed", "43") == ""


def test_decide_on_an_uncounted_run(lab: Kit):
    lab.commit("something", val=1.5)
    run = str(lab.measure().end["run"])
    lab.git("commit", "-q", "--amend", "-m", "exp: something")
    text = said_by(lab, "decide", run, "discard", "--why", "so")
    follow(lab, text.replace(text[text.index("Type: ") :], f"Type: uv run research replicate {lab.head()[:7]}"))
    assert outcomes(lab) == ["keep", "discard"]


def test_repeat(lab: Kit):
    why = launched(lab)
    assert "--again runs it anyway" in why
    follow(lab, f"Type: {RUNS} --again -- uv run train.py > run.log 2>&1")
    assert len(lab.ledger()) == 2


# Doctor ---------------------------------------------------------------------------------------------------------------


def fix_of(kit: Kit, name: str) -> str:
    """Returns what doctor says about something that is wrong."""
    lines = {check["name"]: check for check in kit.json("doctor")["checks"]}
    assert lines[name]["ok"] is False, lines[name]
    return f"Type: {str(lines[name]['fix']).split('   #')[0]}"


def is_well(kit: Kit, name: str) -> bool:
    """Whether doctor has nothing against something."""
    return all(check["ok"] for check in kit.json("doctor")["checks"] if check["name"] == name)


def test_doctor_on_changes(kit: Kit):
    kit.write(val=0.5)
    follow(kit, fix_of(kit, "git"))
    assert is_well(kit, "git")


def test_doctor_on_a_merge(lab: Kit):
    with_loser(lab)
    begin_merge(lab)
    follow(lab, fix_of(lab, "git"))
    assert is_well(lab, "git")


def test_doctor_on_lost_hooks(kit: Kit):
    for name in (".codex/hooks.json", ".codex/hooks/hook.sh"):
        (kit.root / name).unlink()
    follow(kit, fix_of(kit, "hook files"))
    assert is_well(kit, "hook files")


def test_doctor_on_a_damaged_memory(lab: Kit):
    (lab.root / "results/discovery/memory.db").write_bytes(b"garbage" * 1000)
    follow(lab, fix_of(lab, "memory.db"))
    assert is_well(lab, "memory.db")
    assert outcomes(lab) == ["keep"]


def test_doctor_on_missing_data(kit: Kit):
    kit.environment["AUTORESEARCH_PROFILE"] = "official"
    make_data_by_prepare(kit)
    follow(kit, fix_of(kit, "data"), by_agent=False)
    assert is_well(kit, "data")
    assert is_well(kit, "tokenizer")


# Without hooks -------------------------------------------------------------------------------------------------------


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
