"""Plays a list of outcomes with real processes, so that a whole night runs in seconds and every ending can be met."""

from __future__ import annotations

import hashlib
import json
import math
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from research.code.constants import as_number, evaluate_constants
from research.code.fingerprint import fingerprint
from research.code.syntax_tree import parse
from research.core.errors import ConfigurationError
from research.core.files import held, read_json, write_json
from research.runs import gpu
from research.runs.backend import Backend, CommandResult, Launch, StopRequest
from research.runs.local import run_process
from research.runs.preflight import TARGET

ENV_SCRIPT = "AUTORESEARCH_SCRIPT"
"""A JSON file: a list of plays, each a kind or an object, with how far it was played kept next to it; or an object
with "surface", the response to train.py's constants (class Surface)."""

CONTRACT = "scripted-000000000000"
RELATIVE = {"win": -0.002, "loss": 0.003, "noise": 0.0001}
"""Kinds that are a score relative to the best so far, and by how much (bpb) unless the play says."""

KINDS = (
    "score", *RELATIVE, "oom", "assertion", "import", "shape", "error", "nan", "probe", "timeout", "killed",
    "no_data", "infrastructure", "capacity",
)  # fmt: skip

_START_BPB = 1.0
_PLAYER = Path(__file__).with_name("scripted_player.py")


@dataclass(frozen=True)
class Play:
    """One outcome.

    Attributes:
        kind: One of KINDS.
        val_bpb: The score of "score".
        by: Distance from the best so far, for the relative kinds; None takes their own.
        contract: Contract of the score.
        peak_vram_mb: Peak memory in MiB.
        params_m: Parameters in millions.
        steps: Progress lines before the end.
        step_s: Seconds between them.
        line: Line number in tracebacks.
        limit_s: Time limit of this play, None for the launch's.
        says: Last line of a failure, "" for the kind's own.
    """

    kind: str
    val_bpb: float = _START_BPB
    by: float | None = None
    contract: str = CONTRACT
    peak_vram_mb: float = 2048.0
    params_m: float = 1.0
    steps: int = 1
    step_s: float = 0.0
    line: int = 7
    limit_s: float | None = None
    says: str = ""


def _next_play(path: Path) -> Play:
    """Takes the next play of a list; several processes may share it, each play is played once.

    Raises:
        ConfigurationError: if the file is no list of plays, or all were played.
    """
    state_path = path.with_name(path.name + ".played")
    try:
        plays = [_play_of(item) for item in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{path} is no script of plays ({error}).", "It is a JSON list.") from None
    with held(path.with_name(path.name + ".lock"), 10.0):
        state = read_json(state_path) or {"played": 0, "best": _START_BPB}
        number, best = int(state["played"]), float(state["best"])
        if number >= len(plays):
            raise ConfigurationError(f"{path} has no more plays.", "Add some, or delete its .played file.")
        play = plays[number]
        if play.kind in RELATIVE:
            by = RELATIVE[play.kind] if play.by is None else play.by
            play = replace(play, kind="score", val_bpb=best + by)
        if play.kind == "score":
            best = min(best, play.val_bpb)
        write_json(state_path, {"played": number + 1, "best": best})
    return play


def _play_of(item: Any) -> Play:
    play = Play(item) if isinstance(item, str) else Play(**item)
    if play.kind not in KINDS:
        raise ValueError(f"no such kind: {play.kind}")
    return play


@dataclass(frozen=True)
class Pull:
    """One constant's part: weight * log(value / best)^2 bpb above the least there is."""

    best: float
    weight: float


@dataclass(frozen=True)
class Surface:
    """Plays a run as its constants say.

    Attributes:
        least: val_bpb with every constant at its best.
        sd: Standard deviation of a run, in bpb; drawn from code and seed, so that a repeat repeats.
        pulls: The constants that matter.
        crash_above: Constants and the value above which memory runs out.
    """

    least: float = 1.9
    sd: float = 0.0005
    pulls: Mapping[str, Pull] = field(default_factory=dict)
    crash_above: Mapping[str, float] = field(default_factory=dict)

    def play(self, launch: Launch) -> Play:
        """Scores a launch's train.py, at its pocket settings, by its constants."""
        text = (launch.root / TARGET).read_bytes()
        known = evaluate_constants(parse(text), {"PROFILE.name": "pocket", "OFFICIAL": False})
        values = {name: number for name, value in known.items() if (number := as_number(value)) is not None}
        if any(values.get(name, 0.0) > limit for name, limit in self.crash_above.items()):
            return Play("oom")
        true = self.least
        for name, pull in self.pulls.items():
            value = values.get(name, pull.best)
            true += pull.weight * (math.log(max(value, 1e-9) / pull.best) ** 2)
        seed = hashlib.sha256(f"{fingerprint(text)} {launch.seed}".encode()).digest()
        noise = random.Random(seed).gauss(0.0, self.sd)
        return Play("score", val_bpb=round(true + noise, 6), peak_vram_mb=1000.0 * values.get("DEPTH", 4.0))


def _play_for(path: Path, launch: Launch) -> Play:
    """Returns the play of a launch, from a file that holds a list of plays or a surface.

    Raises:
        ConfigurationError: if it holds neither.
    """
    value = read_json(path)
    if value is None or "surface" not in value:
        return _next_play(path)
    try:
        parts = dict(value["surface"])
        pulls = {str(name): Pull(**pull) for name, pull in dict(parts.pop("pulls", {})).items()}
        return Surface(pulls=pulls, **parts).play(launch)
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"{path} describes no surface ({error}).", "See research/runs/scripted.py.") from None


class ScriptedBackend(Backend):
    """Plays outcomes instead of running the command.

    Args:
        environment: Variables of the processes; AUTORESEARCH_SCRIPT names the file with the plays.
    """

    name = "scripted"

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)

    def check(self, launch: Launch) -> None:
        """Raises ConfigurationError without a script."""
        if not self._environment.get(ENV_SCRIPT):
            raise ConfigurationError("There is no script to play.", f"Set {ENV_SCRIPT} to a JSON list of plays.")

    def knows_price(self, gpu: str) -> bool:
        """Returns False: plays cost nothing."""
        return False

    def run(
        self, launch: Launch, emit: Callable[[bytes], None], say: Callable[[str], None], stop: StopRequest
    ) -> CommandResult:
        """Plays the next outcome; see research.runs.backend."""
        play = _play_for(Path(self._environment[ENV_SCRIPT]), launch)
        if play.kind == "infrastructure":
            return CommandResult.failed("infrastructure", "scripted: the infrastructure failed")
        if play.kind == "capacity":
            return CommandResult.failed("capacity", "scripted: no GPU within the queue timeout")
        if play.limit_s is not None:
            launch = replace(launch, timeout_s=play.limit_s)
        command = (sys.executable, "-I", "-S", str(_PLAYER), json.dumps(asdict(play)))
        return run_process(launch, command, self._environment, lambda: gpu.Watch(None), emit, stop)
