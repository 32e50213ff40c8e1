"""Every fault of the service, played against the real client: what the run then is, and what of its output is kept.

`uv run pytest tests/runs/test_modal_faults.py -s` prints the table.
"""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from support.labkit import wait_for
from support.modal_faults import FOREVER
from support.modal_kit import FAST, GOOD, GOOD_LINES, SLOW, Heard, Place, Stop
from support.modal_standin import StandIn

pytest_plugins = ("support.modal_fixtures",)

LONGEST_S = 20.0
"""No fault may keep a person waiting longer than the limits in use here allow."""


EXITS = {"finished": 0, "timeout": 124, "capacity": 69, "infrastructure": 75, "configuration": 78}
"""Exit code of each kind of end, unless a case names another."""


@dataclass(frozen=True)
class Case:
    """A fault and what must become of the run."""

    fault: str  # for people
    kind: str = "finished"  # expected end
    lines: int = GOOD_LINES  # of output that must be kept, all of them in order
    switches: dict[str, object] = field(default_factory=dict)  # of the stand-in
    code: int | None = None  # expected exit code, None for the kind's
    train: str = GOOD
    play: dict[str, object] = field(default_factory=dict)  # more arguments of Place.play
    sandboxes: int = 1  # how many must have been made
    why: str = ""  # a word that the sentence for people must hold
    said: str = ""  # a word that a line of the backend's must hold


def dies(status: str, code: int = 0) -> dict[str, object]:
    return {"die_after_lines": 5, "die_status": status, "die_exit_code": code}


def limited(**limits: float) -> dict[str, object]:
    return {"limits": dataclasses.replace(FAST, **limits)}


LOST, SAME = "infrastructure", GOOD_LINES
DEAF = "import signal; signal.signal(15, signal.SIG_IGN)\n" + SLOW
LATE = {"create_lost": FOREVER, "gpu_late_s": 60.0}
SILENT = dies("INTERNAL_FAILURE") | {"logs_never_end": True}

CASES = (
    Case("none"),
    Case("the command fails", lines=1, train="print('a'); raise SystemExit(3)", code=3),
    Case("the command is killed", lines=1, train="print('a'); import os; os.kill(os.getpid(), 9)", code=137),
    # Time limits
    Case("time limit", "timeout", 3, train=SLOW, play={"timeout_s": 1.0}),
    Case("time limit, the command ignores TERM", "timeout", 3, train=DEAF, play={"timeout_s": 1.0}),
    Case("everything in the sandbox stands still", "timeout", 3, {"hang_after_lines": 5}, play={"timeout_s": 3.0}),
    # The sandbox dies in the middle, its exit code says 0: never a result
    Case("sandbox: internal failure", LOST, 3, dies("INTERNAL_FAILURE"), why="GiB"),
    Case("sandbox: kernel OOM kill", LOST, 3, dies("KERNEL_OOM_KILL")),
    Case("sandbox: memory manager eviction", LOST, 3, dies("MEMORY_MANAGER_EVICTION")),
    Case("sandbox: exit code 137", LOST, 3, dies("FAILURE", 137)),
    Case("sandbox: terminated by somebody", LOST, 3, dies("TERMINATED", 137)),
    Case("sandbox: reported as a success", LOST, 3, dies("SUCCESS")),
    Case("sandbox: dead before its first line, once", switches={"die_after_lines": 0, "die_times": 1}, sandboxes=2),
    Case("sandbox: dead before the command, once", switches={"die_after_lines": 1, "die_times": 1}, sandboxes=2),
    Case("sandbox: dead before the command, always", LOST, 0, {"die_after_lines": 1}, sandboxes=2),
    # Logs
    Case("logs: refused three times", switches={"logs_refused": 3}, play=limited(drain_s=8.0)),
    Case("logs: refused for good", LOST, 0, {"logs_refused": FOREVER}, play=limited(drain_s=0.6), why="log"),
    Case("logs: break every 4 lines", switches={"logs_break_every": 4}, play=limited(drain_s=8.0)),
    Case("logs: fall silent, but stay open", switches={"logs_stall": 1}, play=limited(drain_s=0.6)),
    Case("logs: never end", switches={"logs_never_end": True}),
    Case("logs: never end, sandbox dies", LOST, 3, SILENT, play=limited(drain_s=0.6)),
    Case("logs: the end mark is lost", LOST, SAME, {"log_lost": ": end "}),
    # Score
    Case("score: a line of it is lost", LOST, SAME, {"log_lost": ": score "}, why="score.json"),
    Case("score: the command left none", lines=1, train="print('a')"),
    # Control plane
    Case("control plane: 40 questions fail", switches={"wait_fails": 40}),
    Case(
        "control plane: gone, and the sandbox hangs", LOST, 3, {"wait_fails": FOREVER, "hang_after_lines": 5},
        play={"timeout_s": 3.0},
    ),
    Case(
        "control plane: terminations fail", "interrupted", 3, {"terminate_fails": 6}, train=SLOW,
        play={"stop": signal.SIGTERM},
    ),
    Case(
        "control plane: does not list what runs", switches={"list_fails": FOREVER}, play=limited(call_s=1.0),
        said="--reap",
    ),
    Case("create: fails twice", switches={"create_fails": 2}),
    Case("create: fails for good", LOST, 0, {"create_fails": FOREVER}, sandboxes=0, why="Try again"),
    Case("create: the answer is lost once", switches={"create_lost": 1}),
    Case("create: the answer is lost for good", switches={"create_lost": FOREVER}, train=GOOD + "time.sleep(1.5)"),
    Case("create: refused", "configuration", 0, {"create_refused": "unknown GPU"}, sandboxes=0, why="unknown GPU"),
    Case("image: does not build", LOST, 0, {"image_fails": True}, sandboxes=0, why="image"),
    # GPU
    Case("GPU: late", switches={"gpu_late_s": 1.0}, play={"queue_s": 20.0}),
    Case("GPU: too late", "capacity", 0, {"gpu_late_s": 60.0}, play={"queue_s": 0.5}),
    Case(
        "GPU: too late for an adopted sandbox", "capacity", 0, LATE, play={"queue_s": 1.5, **limited(start_s=60.0)},
        why="0.025 minutes", said="adopted",
    ),
    Case("GPU: another one", switches={"device": "NVIDIA H200, 570.86"}),
    # Volumes
    Case("volumes: slow", switches={"volume_slow_s": 0.3}),
    Case("volumes: a block upload fails once", switches={"block_put_fails": 1}),
    Case(
        "volumes: no block upload succeeds", LOST, 0, {"block_put_fails": FOREVER}, play=limited(first_bytes_s=1.0),
        sandboxes=0, why="storage hosts",
    ),
    Case(
        "volumes: altered behind our back", LOST, 0, {"spoil": "data/shard_06542.parquet"}, sandboxes=2,
        why="uploaded",
    ),
    # Signals to the launcher
    Case("INT", "interrupted", 3, train=SLOW, play={"stop": signal.SIGINT}),
    Case("TERM", "interrupted", 3, train=SLOW, play={"stop": signal.SIGTERM}),
    Case("HUP", "interrupted", 3, train=SLOW, play={"stop": signal.SIGHUP}),
)  # fmt: skip


@pytest.fixture(scope="module")
def table() -> Iterator[list[tuple[str, str, int, int]]]:
    rows: list[tuple[str, str, int, int]] = []
    yield rows
    print(f"\n\n{'fault':<46} {'outcome':<15} {'exit':>4} {'lines kept':>10}  as expected")
    for fault, kind, code, lines in rows:
        print(f"{fault:<46} {kind:<15} {code:>4} {lines:>10}  pass")


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.fault)
def test_fault(case: Case, standin: StandIn, tmp_path, table) -> None:
    for name, value in case.switches.items():
        setattr(standin.faults, name, value)
    heard, play, code = Heard(), dict(case.play), case.code
    if "stop" in play:
        code = 128 + int(play["stop"])  # type: ignore[call-overload]
        play["stop"] = Stop(code - 128, lambda: len(heard.lines) >= 3)
    elif code is None:
        code = EXITS[case.kind]

    ended, _ = Place(tmp_path).play(case.train, heard=heard, **play)  # type: ignore[arg-type]

    assert (ended.kind, ended.exit_code) == (case.kind, code), ended
    seen = case.kind == "finished" or case.why == "score.json"  # where the command's own end was seen
    assert ended.child_exit == ((case.code or 0) if seen else None)
    assert case.why in ended.why
    assert not case.said or any(case.said in line for line in heard.said)
    assert sum(ended.phases_s.values()) < LONGEST_S
    assert len(heard.lines) == case.lines, heard.text
    assert len(standin.containers) == case.sandboxes
    assert all(c.status is not None for c in standin.containers) or "terminate_fails" in case.switches
    if "terminate_fails" not in case.switches:  # a process that was killed takes the kernel a moment
        wait_for(lambda: not any(c.processes() for c in standin.containers), 5.0)
    table.append((case.fault, ended.kind, ended.exit_code, len(heard.lines)))
