"""From the runner's command line through the real client to the stand-in and back into the ledger."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.labkit import CHECKOUT, Kit, Result, wait_for
from support.modal_faults import FOREVER
from support.modal_standin import StandIn

from research.core.paths import LabPaths
from research.store.open import read_store

pytest_plugins = ("support.modal_fixtures",)

OLDER = CHECKOUT / "scripts" / "modal_gpu.py"
NEWER = CHECKOUT / "scripts" / "run_experiment.py"


def start(lab: Kit, script: Path, *words: str) -> subprocess.Popen[bytes]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, str(script), *words], cwd=lab.root, env=lab.environment, **pipes)


def finish(child: subprocess.Popen[bytes]) -> Result:
    out, err = child.communicate(timeout=60)
    return Result(child.returncode, out.decode(), err.decode())


TRAIN = ("--", "uv", "run", "train.py")

AT_MODAL = ("--backend", "modal")
"""Options of Kit.measure: importing the client in a process of its own takes longer than most of these runs."""


def test_a_run_at_modal_becomes_a_row_of_the_ledger(lab: Kit, standin: StandIn) -> None:
    done = finish(start(lab, OLDER, "--gpu", "H100", *TRAIN))
    assert (done.code, done.end["outcome"], done.end["recorded"]) == (0, "scored", True), done.err
    assert "val_bpb: 0.990000" in done.out
    assert [row[3] for row in lab.ledger()] == ["keep"]
    (folder,) = lab.folders()
    assert "val_bpb: 0.990000" in (folder / "run.log").read_text()
    assert (folder / "score.json").exists()
    assert standin.containers[0].name == f"{lab.head()[:8]}-{folder.name}-1"


@pytest.mark.parametrize(
    ("switches", "code", "outcome"),
    [
        ({"die_after_lines": 3}, 75, "infrastructure"),
        ({"gpu_late_s": 60.0}, 69, "capacity"),
        ({"refuse_token": True}, 78, "configuration"),
    ],
)
def test_what_modal_gets_wrong_is_no_row(lab: Kit, standin: StandIn, switches, code: int, outcome: str) -> None:
    for name, value in switches.items():
        setattr(standin.faults, name, value)
    done = lab.measure(*AT_MODAL, "--queue-timeout", "0.02")
    assert (done.code, done.end["outcome"]) == (code, outcome), done.err
    assert "Traceback" not in done.err
    assert lab.ledger() == []


CLIENT_GIVES_UP = (
    "import sys; import modal._utils.async_utils as utils; utils.RETRY_N_ATTEMPTS_OVERRIDE = 2\n"
    "from research.lab.runner import main; sys.exit(main(sys.argv[1:]))"
)
"""The runner with a client that tries a block twice, not for more than eight minutes."""


def test_the_end_line_is_the_last_even_where_the_client_leaves_failed_uploads(lab: Kit, standin: StandIn) -> None:
    """Each block is a task of the client's; the first that fails ends the upload, the others were reported at exit."""
    for number in range(6):
        home = Path(lab.environment["AUTORESEARCH_HOME"])
        (home / f"pocket/data/shard_0000{number}.parquet").write_bytes(os.urandom(1000))
    standin.faults.block_put_fails = FOREVER
    words = [sys.executable, "-c", CLIENT_GIVES_UP, "--backend", "modal", *TRAIN]
    environment = lab.environment | {"PYTHONPATH": str(CHECKOUT)}
    done = finish(subprocess.Popen(words, cwd=lab.root, env=environment, stdout=-1, stderr=-1))
    assert (done.code, done.end["outcome"]) == (75, "infrastructure"), done.err
    assert done.err.splitlines()[-1].startswith("[run] end {"), done.err
    assert "Traceback" not in done.err
    assert "storage hosts" in str(done.end["why"])


def test_term_ends_the_sandbox_and_keeps_the_output(lab: Kit, standin: StandIn) -> None:
    lab.write("sleep")
    lab.git("commit", "-qam", "exp: sleep [emitter=local_tuner]")
    child = start(lab, OLDER, *TRAIN)
    wait_for(lambda: standin.containers and len(standin.containers[0].log) > 5)
    child.send_signal(signal.SIGTERM)
    done = finish(child)
    assert (done.code, done.end["outcome"]) == (143, "interrupted"), done.err
    assert "step 1" in done.out
    assert standin.containers[0].status == "TERMINATED"
    assert lab.ledger() == []


def test_the_orphan_of_a_killed_runner_is_reaped(lab: Kit, standin: StandIn) -> None:
    lab.write("sleep")
    lab.git("commit", "-qam", "exp: sleep [emitter=local_tuner]")
    child = start(lab, OLDER, *TRAIN)
    wait_for(lambda: standin.containers and len(standin.containers[0].log) > 5)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert standin.containers[0].status is None
    done = finish(start(lab, NEWER, "--reap"))
    assert done.code == 0, done.err
    assert standin.containers[0].tags["run"] in done.err
    assert standin.containers[0].status == "TERMINATED"


def test_the_same_run_is_made_there_once_at_a_time(lab: Kit, standin: StandIn) -> None:
    lab.commit("base", extra="time.sleep(3)")
    children = [start(lab, NEWER, "--backend", "modal", *TRAIN) for _ in range(2)]
    refused, scored = sorted(map(finish, children), key=lambda done: str(done.end["outcome"]))
    assert (refused.code, refused.end["outcome"], scored.end["outcome"]) == (3, "refused", "scored"), refused.err
    assert refused.end["repeats"] == scored.end["run"]
    assert f"is being run as {scored.end['run']}. Wait for it" in refused.err
    assert [folder.name for folder in lab.folders()] == [scored.end["run"]]
    assert len(standin.containers) == 1


def test_replicates_begun_there_at_the_same_moment_have_seeds_of_their_own(lab: Kit, standin: StandIn) -> None:
    lab.commit("base", extra='time.sleep(0 if os.environ["AUTORESEARCH_SEED"] == "42" else 3)')
    lab.measure(*AT_MODAL)
    environment = {**lab.environment, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "research", "replicate", "--backend", "modal"]
    children = [subprocess.Popen(command, cwd=lab.root, env=environment, stdout=-1, stderr=-1) for _ in range(3)]
    done = [finish(child) for child in children]
    assert [one.code for one in done] == [0, 0, 0], done
    with read_store(LabPaths(lab.root)) as store:
        assert sorted(run.seed for run in store.runs()) == [42, 43, 44, 45]
    assert len(standin.containers) == 4
