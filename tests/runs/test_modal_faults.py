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

LONG_DRAIN = dataclasses.replace(FAST, drain_s=8.0)
LONGEST_S = 20.0
"""No fault may keep a person waiting longer than the limits in use here allow."""
QUICK = dataclasses.replace(FAST, drain_s=0.6)


@dataclass(frozen=True)
class Case:
    """A fault and what must become of the run.

    Attributes:
        fault: For people.
        kind, exit_code: Expected end.
        lines: Lines of output that must be kept, all of them in order.
        switches: Of the stand-in.
        child_exit: Expected exit code of the command.
        play: More arguments of Place.play.
        sandboxes: How many must have been made.
        why: A word that the sentence for people must hold.
        said: A word that a line of the backend's must hold.
    """

    fault: str
    kind: str
    exit_code: int
    lines: int
    switches: dict[str, object] = field(default_factory=dict)
    child_exit: int | None = None
    train: str = GOOD
    play: dict[str, object] = field(default_factory=dict)
    sandboxes: int = 1
    why: str = ""
    said: str = ""


def dies(status: str, code: int = 0) -> dict[str, object]:
    return {"die_after_lines": 5, "die_status": status, "die_exit_code": code}


def lost(fault: str, **more: object) -> Case:
    return Case(fault, "infrastructure", 75, 3, **more)  # type: ignore[arg-type]


CASES = (
    Case("none", "finished", 0, GOOD_LINES, child_exit=0),
    Case("the command fails", "finished", 3, 1, train="print('a'); raise SystemExit(3)", child_exit=3),
    Case(
        "the command is killed",
        "finished",
        137,
        1,
        train="print('a'); import os; os.kill(os.getpid(), 9)",
        child_exit=137,
    ),
    # Time limits
    Case("time limit", "timeout", 124, 3, train=SLOW, play={"timeout_s": 1.0}),
    Case(
        "time limit, the command ignores TERM",
        "timeout",
        124,
        3,
        train="import signal; signal.signal(15, signal.SIG_IGN)\n" + SLOW,
        play={"timeout_s": 1.0},
    ),
    Case("everything in the sandbox stands still", "timeout", 124, 3, {"hang_after_lines": 5}, play={"timeout_s": 3.0}),
    # The sandbox dies in the middle, its exit code says 0: never a result
    lost("sandbox: internal failure", switches=dies("INTERNAL_FAILURE"), why="GiB"),
    lost("sandbox: kernel OOM kill", switches=dies("KERNEL_OOM_KILL")),
    lost("sandbox: memory manager eviction", switches=dies("MEMORY_MANAGER_EVICTION")),
    lost("sandbox: exit code 137", switches=dies("FAILURE", 137)),
    lost("sandbox: terminated by somebody", switches=dies("TERMINATED", 137)),
    lost("sandbox: reported as a success", switches=dies("SUCCESS")),
    Case(
        "sandbox: dead before its first line, once",
        "finished",
        0,
        GOOD_LINES,
        {"die_after_lines": 0, "die_times": 1},
        0,
        sandboxes=2,
    ),
    Case(
        "sandbox: dead before the command, once",
        "finished",
        0,
        GOOD_LINES,
        {"die_after_lines": 1, "die_times": 1},
        0,
        sandboxes=2,
    ),
    Case("sandbox: dead before the command, always", "infrastructure", 75, 0, {"die_after_lines": 1}, sandboxes=2),
    # Logs
    Case("logs: refused three times", "finished", 0, GOOD_LINES, {"logs_refused": 3}, 0, play={"limits": LONG_DRAIN}),
    Case(
        "logs: refused for good", "infrastructure", 75, 0, {"logs_refused": FOREVER}, play={"limits": QUICK}, why="log"
    ),
    Case(
        "logs: break every 4 lines", "finished", 0, GOOD_LINES, {"logs_break_every": 4}, 0, play={"limits": LONG_DRAIN}
    ),
    Case("logs: fall silent, but stay open", "finished", 0, GOOD_LINES, {"logs_stall": 1}, 0, play={"limits": QUICK}),
    Case("logs: never end", "finished", 0, GOOD_LINES, {"logs_never_end": True}, 0),
    lost(
        "logs: never end, sandbox dies",
        switches=dies("INTERNAL_FAILURE") | {"logs_never_end": True},
        play={"limits": QUICK},
    ),
    Case("logs: the end mark is lost", "infrastructure", 75, GOOD_LINES, {"log_lost": ": end "}),
    # Score
    Case(
        "score: a line of it is lost", "infrastructure", 75, GOOD_LINES, {"log_lost": ": score "}, 0, why="score.json"
    ),
    Case("score: the command left none", "finished", 0, 1, train="print('a')", child_exit=0),
    # Control plane
    Case("control plane: 40 questions fail", "finished", 0, GOOD_LINES, {"wait_fails": 40}, 0),
    lost(
        "control plane: gone, and the sandbox hangs",
        switches={"wait_fails": FOREVER, "hang_after_lines": 5},
        play={"timeout_s": 3.0},
    ),
    Case(
        "control plane: terminations fail",
        "interrupted",
        143,
        3,
        {"terminate_fails": 6},
        train=SLOW,
        play={"stop": signal.SIGTERM},
    ),
    Case(
        "control plane: does not list what runs",
        "finished",
        0,
        GOOD_LINES,
        {"list_fails": FOREVER},
        0,
        play={"limits": dataclasses.replace(FAST, call_s=1.0)},
        said="--reap",
    ),
    Case("create: fails twice", "finished", 0, GOOD_LINES, {"create_fails": 2}, 0),
    Case("create: fails for good", "infrastructure", 75, 0, {"create_fails": FOREVER}, sandboxes=0, why="Try again"),
    Case("create: the answer is lost once", "finished", 0, GOOD_LINES, {"create_lost": 1}, 0),
    Case(
        "create: the answer is lost for good",
        "finished",
        0,
        GOOD_LINES,
        {"create_lost": FOREVER},
        0,
        train=GOOD + "time.sleep(1.5)",
    ),
    Case(
        "create: refused",
        "configuration",
        78,
        0,
        {"create_refused": "unknown GPU type"},
        sandboxes=0,
        why="unknown GPU",
    ),
    Case("image: does not build", "infrastructure", 75, 0, {"image_fails": True}, sandboxes=0, why="image"),
    # GPU
    Case("GPU: late", "finished", 0, GOOD_LINES, {"gpu_late_s": 1.0}, 0, play={"queue_s": 20.0}),
    Case("GPU: too late", "capacity", 69, 0, {"gpu_late_s": 60.0}, play={"queue_s": 0.5}),
    Case(
        "GPU: too late for an adopted sandbox",
        "capacity",
        69,
        0,
        {"create_lost": FOREVER, "gpu_late_s": 60.0},
        play={"queue_s": 1.5, "limits": dataclasses.replace(FAST, start_s=60.0)},
        why="0.025 minutes",
        said="adopted",
    ),
    Case("GPU: another one", "finished", 0, GOOD_LINES, {"device": "NVIDIA H200, 570.86"}, 0),
    # Volumes
    Case("volumes: slow", "finished", 0, GOOD_LINES, {"volume_slow_s": 0.3}, 0),
    Case("volumes: a block upload fails once", "finished", 0, GOOD_LINES, {"block_put_fails": 1}, 0),
    Case(
        "volumes: no block upload succeeds",
        "infrastructure",
        75,
        0,
        {"block_put_fails": FOREVER},
        play={"limits": dataclasses.replace(FAST, first_bytes_s=1.0)},
        sandboxes=0,
        why="storage hosts",
    ),
    Case(
        "volumes: altered behind our back",
        "infrastructure",
        75,
        0,
        {"spoil": "data/shard_06542.parquet"},
        sandboxes=2,
        why="uploaded",
    ),
    # Signals to the launcher
    Case("INT", "interrupted", 130, 3, train=SLOW, play={"stop": signal.SIGINT}),
    Case("TERM", "interrupted", 143, 3, train=SLOW, play={"stop": signal.SIGTERM}),
    Case("HUP", "interrupted", 129, 3, train=SLOW, play={"stop": signal.SIGHUP}),
)


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
    heard = Heard()
    play = dict(case.play)
    if "stop" in play:
        play["stop"] = Stop(int(play["stop"]), lambda: len(heard.lines) >= 3)  # type: ignore[call-overload]

    ended, _ = Place(tmp_path).play(case.train, heard=heard, **play)  # type: ignore[arg-type]

    assert (ended.kind, ended.exit_code) == (case.kind, case.exit_code), ended
    assert ended.child_exit == case.child_exit
    assert case.why in ended.why
    assert not case.said or any(case.said in line for line in heard.said)
    assert sum(ended.phases_s.values()) < LONGEST_S
    assert len(heard.lines) == case.lines, heard.text
    assert len(standin.containers) == case.sandboxes
    assert all(c.status is not None for c in standin.containers) or "terminate_fails" in case.switches
    if "terminate_fails" not in case.switches:  # a process that was killed takes the kernel a moment
        wait_for(lambda: not any(c.processes() for c in standin.containers), 5.0)
    table.append((case.fault, ended.kind, ended.exit_code, len(heard.lines)))
