"""Racing: a run whose training loss is far above the incumbent's is ended, on every backend, and only such a run."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, strategies
from support import inprocess
from support.labkit import PLAIN, Kit, kit, make_kit
from support.modal_standin import StandIn

from research.core.paths import LabPaths
from research.core.records import Run
from research.lab.lab import Lab
from research.lab.launch import launch
from research.lab.runner import parse
from research.runs.racing import Look, LossCurve, Prediction, Race, Watch, gap_of, race_of
from research.store.open import read_store

__all__ = ["kit"]
pytest_plugins = ("support.modal_fixtures",)

LINE = "step {:5d} {:5.1f} %  loss {:7.4f}  {:11,.0f} tok/s  {:4d} s left\n"
PROGRESS = """
LIFT = {lift}
SPEED = {speed}
HANGS = {hangs}  # ended from outside, or never
for step in range(1, 61):
    line = (step, 100 * step / 60, 5 - step / 30 + LIFT, SPEED, 60 - step)
    print("step {{:5d}} {{:5.1f}} %  loss {{:7.4f}}  {{:11,.0f}} tok/s  {{:4d}} s left".format(*line), flush=True)
    if HANGS and step == 30:
        time.sleep(600)
"""


def curve(lift: float = 0.0, speed: float = 1000.0, until: int = 60) -> LossCurve:
    found = LossCurve()
    for step in range(1, until + 1):
        found.feed(LINE.format(step, 100 * step / 60, 5 - step / 30 + lift, speed, 60 - step).encode())
    return found


def foretold(gap: float, _fraction: float) -> Prediction:
    return Prediction(gap, 0.01, 0.001 if gap > 0.1 else 0.4)


def watched(data: bytes, **more: object) -> Watch:
    watch = Watch("incumbent", curve(), foretold, **more)  # type: ignore[arg-type]
    watch.feed(data)
    return watch


def log(lift: float = 0.0, speed: float = 1000.0, steps: int = 60) -> bytes:
    lines = (LINE.format(n, 100 * n / 60, 5 - n / 30 + lift, speed, 60 - n) for n in range(1, steps + 1))
    return "".join(lines).encode()


def loss(curve: LossCurve, fraction: float) -> float | None:
    begin = curve.window_start(fraction)
    return None if begin is None else curve.mean(curve.step(begin), curve.step(fraction))


def test_the_loss_at_a_fraction_is_the_mean_over_the_stretch_before_it():
    assert loss(curve(), 0.5) == pytest.approx(5 - 27.5 / 30, abs=2e-4)  # of six lines, 25 to 30
    many = LossCurve()
    for n in range(1, 1001):
        many.feed(LINE.format(n, n / 10, 5 - n / 500, 1000, 0).encode())
    assert loss(many, 0.5) == pytest.approx(5 - (441 + 500) / 2 / 500, abs=1e-4)  # of 6 % of the budget
    assert loss(curve(until=20), 0.5) is None
    assert loss(LossCurve(), 0.5) is None


def told(speed: float, lift: float = 0.0, batch: int = 1, seed: int = 0) -> LossCurve:
    """Return a curve of 1,000 steps at speed 1, whose rows scatter by 0.2 nats from one step to the next."""
    rows = random.Random(seed)
    text = [rows.gauss(0.0, 0.2) for _ in range(1200)]
    found, total, before = LossCurve(), 0.0, 0
    for step in range(1, int(1000 * speed / batch) + 1):
        fraction = step * batch / (1000 * speed)
        mine = text[(step - 1) * batch : step * batch]
        total += 3 + 2 * math.exp(-4 * fraction) - fraction + lift + sum(mine) / batch
        if step % 7 == 0 or fraction == 1.0:
            line = LINE.format(step, 100 * fraction, total / (step - before), 1e6 * speed, 0)
            found.feed(line.encode())
            total, before = 0.0, step
    return found


@given(
    strategies.floats(0.985, 1.015),
    strategies.floats(-0.05, 0.05),
    strategies.sampled_from([n / 20 for n in range(5, 20)]),
)
def test_the_gap_is_that_of_the_programs_whatever_the_rows_and_the_speed(speed: float, lift: float, fraction: float):
    assert gap_of(told(speed, lift), told(1.0), fraction) == pytest.approx(
        lift, abs=0.005
    )  # compared at one fraction it is off by up to 0.02


def test_rows_of_one_fraction_are_compared_where_steps_have_another_number_of_tokens():
    gap = gap_of(told(1.0, 0.02, batch=2), told(1.0), 0.5)
    assert gap == pytest.approx(0.02, abs=0.01)


def test_a_far_faster_run_is_compared_at_the_same_share_of_the_budget():
    gap = gap_of(told(1.19, -0.05), told(1.0), 0.95)  # the other one never came to these steps
    assert gap == pytest.approx(-0.05, abs=0.12)  # what the rows of 6 % of the budget scatter by


def test_nothing_is_foretold_from_a_log_that_does_not_count_its_steps():
    """It would have divided by zero: the runner ended with a traceback in the middle of the run."""
    still = LossCurve()
    still.feed("".join(LINE.format(0, 100 * n / 60, 5 - n / 30, 1000.0, 0) for n in range(1, 61)).encode())
    assert gap_of(still, curve(), 0.5) is None
    assert gap_of(curve(), still, 0.5) is None


def test_a_log_in_pieces_and_the_public_script_s_lines_are_understood():
    pieces = LossCurve()
    data = log()
    for start in range(0, len(data), 7):
        pieces.feed(data[start : start + 7])
    assert pieces.points == curve().points
    public = LossCurve()
    for n in range(1, 61):
        public.feed(
            f"\rstep {n:05d} ({100 * n / 60:.1f}%) | loss: {5 - n / 30:.6f} | lrm: 1.00 | dt: 300ms | "
            f"tok/sec: 1,700,000 | mfu: 40.0 | epoch: 1 | remaining: 290s    ".encode()
        )
    assert loss(public, 0.5) == pytest.approx(loss(curve(), 0.5), abs=1e-3)


def test_a_run_far_behind_is_to_be_stopped_at_the_first_look_and_one_that_is_not_goes_on():
    behind = watched(log(lift=0.5))
    assert behind.stopping
    assert [look.fraction for look in behind.looks] == [0.25]
    equal = watched(log(lift=0.01))
    assert not equal.stopping
    assert [look.fraction for look in equal.looks] == [n / 20 for n in range(5, 20)]
    assert equal.looks[0].gap == pytest.approx(0.01, abs=1e-6)


def test_a_run_that_goes_to_the_end_whatever_is_foretold_tells_where_it_would_have_been_stopped():
    replicate = watched(log(lift=0.5), exempt="replicate")
    assert not replicate.stopping
    known = replicate.race()
    assert known.would_stop is not None
    assert known.would_stop.fraction == 0.25
    assert len(known.looks) == 15


@pytest.mark.parametrize(
    ("data", "trouble"),
    [
        (log(lift=0.5, speed=900), "it saw -10% tokens"),
        (log(lift=0.5, steps=30) + log(lift=0.5, steps=30), "its log goes back"),
        (log(steps=10) + log(lift=0.5), "its log goes back"),
        (log(lift=0.5).replace(b"tok/s", b"tokens"), ""),
        (log(lift=0.5).replace(b" %", b".0 %"), ""),
        (b"\xff\xfe\x00" * 1000 + b"step 1 99.0 %  loss 9.0\n", ""),
        (b"step 60 100.0 %  loss  9.0000   1,000 tok/s\n", ""),
        (b"---\n" + log(lift=0.5), ""),
    ],
)
def test_a_stop_never_comes_from_a_log_that_was_not_understood(data: bytes, trouble: str):
    watch = watched(data)
    assert not watch.stopping
    assert trouble in watch.race().trouble


def test_what_is_kept_of_a_race_comes_back_as_it_was():
    race = Race("run", "replicate", (Look(0.25, 0.1, Prediction(0.04, 0.01, 0.001)),), "why")
    run = Run("name", "", "runner", "", "", "", facts={"race": race.to_fact()})
    assert race_of(run) == race
    assert race_of(Run("name", "", "runner", "", "", "", facts={"race": "[1"})) == Race()


def commit(kit: Kit, subject: str, val: float, lift: float, speed: int = 1000, hangs: bool = False) -> None:
    kit.commit(subject, val=val, extra=PROGRESS.format(lift=lift, speed=speed, hangs=hangs))


def measure(kit: Kit, token: str, *options: str) -> tuple[int, dict[str, object]]:
    """Run train.py with a run's name that ends with these four digits, which decide whether it is drawn."""
    request, _ = parse([*options, "--", "uv", "run", "train.py"], kit.environment)
    assert request is not None
    ends = []

    def call() -> int:
        lab = Lab(LabPaths(kit.root), token=lambda _: token, say=lambda _: None)
        ends.append(launch(lab, request))
        return ends[0].exit

    code = inprocess.printed(call, kit.root, kit.environment).code
    return code, ends[0].as_dict()


def run_of(kit: Kit, name: object) -> Run:
    with read_store(LabPaths(kit.root)) as store:
        found = store.run(str(name))
    assert found is not None
    return found


def check_stopped(kit: Kit, *options: str) -> None:
    commit(kit, "base", 0.99, 0.0)
    assert kit.measure(*options).code == 0
    commit(kit, "exp: worse [emitter=contrarian]", 1.5, 0.5, hangs=True)
    code, end = measure(kit, "0001", "--race", *options)
    assert (code, end["outcome"], end["exit"], end["child_exit"], end["recorded"]) == (80, "stopped", 80, 143, True)
    assert "stopped at 25% of the budget" in str(end["why"])
    assert kit.ledger()[-1][1:4] == ["nan", "0.0", "discard"]
    run = run_of(kit, end["run"])
    assert run.stopped_at == 0.25
    assert run.contract is not None
    assert race_of(run).looks[-1].gap == pytest.approx(0.5, abs=1e-3)
    assert (kit.root / "results" / "runs" / run.folder / "run.log").read_bytes().count(b"step") >= 15


def test_a_losing_run_is_stopped_and_recorded_as_such(kit: Kit):
    check_stopped(kit)
    code, end = measure(kit, "0001", "--race")
    assert (code, end["outcome"]) == (80, "repeat")  # it would be stopped again


def test_a_losing_run_at_modal_ends_its_sandbox(lab: Kit, standin: StandIn):
    check_stopped(lab, "--backend", "modal")
    assert [container.process.poll() for container in standin.containers if container.process.poll() is None] == []


def test_only_an_experiment_that_is_raced_and_not_drawn_is_stopped(kit: Kit):
    commit(kit, "base", 0.99, 0.0)
    assert kit.measure("--race").end["outcome"] == "scored"  # the baseline
    commit(kit, "exp: worse [emitter=contrarian]", 1.5, 0.5)
    for token, options, exempt in (
        ("0001", (), "not raced"),
        ("0002", ("--race", "--again"), "replicate"),
    ):
        code, end = measure(kit, token, *options)
        race = race_of(run_of(kit, end["run"]))
        assert (code, race.exempt) == (0, exempt)
        assert race.would_stop is not None
    kit.git("reset", "-q", "--hard", "HEAD~1")
    commit(kit, "exp: worse again [emitter=contrarian]", 1.6, 0.6)
    code, end = measure(kit, "0000", "--race")
    assert (code, race_of(run_of(kit, end["run"])).exempt) == (0, "drawn to run to the end")
    kit.git("reset", "-q", "--hard", "HEAD~1")
    commit(kit, "exp: another loss [emitter=contrarian]", 1.7, 0.7)
    text = (kit.root / "train.py").read_text().replace("+ LIFT,", "+ LIFT if step else loss,")
    (kit.root / "train.py").write_text(text)
    kit.git("commit", "-q", "--amend", "-am", "exp: another loss [emitter=contrarian]")
    code, end = measure(kit, "0001", "--race")
    race = race_of(run_of(kit, end["run"]))
    assert (code, race.looks) == (0, ())
    assert "reaches the printed loss" in race.trouble


@pytest.mark.parametrize(("words", "exempts"), [((), {"", "drawn to run to the end"}), (("--no-race",), {"not raced"})])
def test_a_night_races_unless_it_is_told_not_to(tmp_path, words: tuple[str, ...], exempts: set[str]):
    kit = make_kit(tmp_path, PLAIN)
    done = kit.research("night", "--max-runs", "2", *words)
    assert done.code == 0, done.out + done.err
    with read_store(LabPaths(kit.root)) as store:
        baseline, experiment = (item.run for item in store.judged())
    assert race_of(baseline) == Race()
    assert race_of(experiment).against == baseline.run
    assert race_of(experiment).exempt in exempts
