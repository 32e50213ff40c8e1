"""Plays a list of outcomes with real processes, so that a whole night runs in seconds and every ending can be met."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from research.core.errors import ConfigurationError
from research.core.files import held, read_json, write_json
from research.runs import gpu
from research.runs.backend import Backend, CommandResult, Launch, StopRequest
from research.runs.local import run_process

ENV_SCRIPT = "AUTORESEARCH_SCRIPT"
"""A JSON file: a list of plays, each a kind or an object, with how far it was played kept next to it; or an object
with "surface", the response to train.py's constants (research.runs.scripted_surface)."""

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


Player = Callable[[Launch], Play]
"""Chooses the play of a launch."""


class Script:
    """Plays a sequence, one after the other.

    Args:
        plays: The plays; kinds alone will do.
        best: val_bpb that the first relative play refers to.
    """

    def __init__(self, plays: Sequence[Play | str], best: float = _START_BPB) -> None:
        self._plays: Iterator[Play] = iter([Play(p) if isinstance(p, str) else p for p in plays])
        self._best = best

    def __call__(self, launch: Launch) -> Play:
        """The next play.

        Raises:
            ConfigurationError: when all were played.
        """
        play = next(self._plays, None)
        if play is None:
            raise ConfigurationError("The script has no more plays.", "Add some, or start anew.")
        play = absolute(play, self._best)
        if play.kind == "score":
            self._best = min(self._best, play.val_bpb)
        return play


def absolute(play: Play, best: float) -> Play:
    """A relative play as a score."""
    if play.kind not in RELATIVE:
        return play
    return replace(play, kind="score", val_bpb=best + (RELATIVE[play.kind] if play.by is None else play.by))


class ScriptFile:
    """Plays a JSON file; several processes may share it, each play is played once.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, launch: Launch) -> Play:
        """The next play; see Script."""
        state_path = self._path.with_name(self._path.name + ".played")
        try:
            plays = [_play_of(item) for item in json.loads(self._path.read_text("utf-8"))]
        except (OSError, ValueError, TypeError) as error:
            raise ConfigurationError(f"{self._path} is no script of plays ({error}).", "It is a JSON list.") from None
        with held(self._path.with_name(self._path.name + ".lock"), 10.0):
            state = read_json(state_path) or {"played": 0, "best": _START_BPB}
            number = int(state["played"])
            if number >= len(plays):
                raise ConfigurationError(f"{self._path} has no more plays.", "Add some, or delete its .played file.")
            play = absolute(plays[number], float(state["best"]))
            best = min(float(state["best"]), play.val_bpb) if play.kind == "score" else state["best"]
            write_json(state_path, {"played": number + 1, "best": best})
        return play


def _player_of(path: Path) -> Player:
    """What a script file holds: a list of plays, or a surface."""
    from research.runs.scripted_surface import surface_of

    value = read_json(path)
    if value is None or "surface" not in value:
        return ScriptFile(path)
    try:
        return surface_of(value["surface"])
    except (TypeError, ValueError, AttributeError) as error:
        what = f"{path} describes no surface ({error})."
        raise ConfigurationError(what, "See research/runs/scripted_surface.py.") from None


def _play_of(item: Any) -> Play:
    play = Play(item) if isinstance(item, str) else Play(**item)
    if play.kind not in KINDS:
        raise ValueError(f"no such kind: {play.kind}")
    return play


class ScriptedBackend(Backend):
    """Plays outcomes instead of running the command.

    Args:
        environment: Variables of the processes.
        player: Chooses the plays; by default the file that AUTORESEARCH_SCRIPT names.
    """

    name = "scripted"

    def __init__(self, environment: Mapping[str, str] | None = None, player: Player | None = None) -> None:
        self._environment = dict(os.environ if environment is None else environment)
        self._player = player

    def check(self, launch: Launch) -> None:
        """Raises ConfigurationError without a script."""
        if self._player is None and not self._environment.get(ENV_SCRIPT):
            raise ConfigurationError("There is no script to play.", f"Set {ENV_SCRIPT} to a JSON list of plays.")

    def run(
        self, launch: Launch, emit: Callable[[bytes], None], say: Callable[[str], None], stop: StopRequest
    ) -> CommandResult:
        """Plays the next outcome; see research.runs.backend."""
        player = self._player or _player_of(Path(self._environment[ENV_SCRIPT]))
        play = player(launch)
        if play.kind == "infrastructure":
            return CommandResult("infrastructure", 75, None, "scripted: the infrastructure failed")
        if play.kind == "capacity":
            return CommandResult("capacity", 69, None, "scripted: no GPU within the queue timeout")
        if play.limit_s is not None:
            launch = replace(launch, timeout_s=play.limit_s)
        command = (sys.executable, "-I", "-S", str(_PLAYER), json.dumps(asdict(play)))
        return run_process(launch, command, self._environment, lambda: gpu.Watch(None), emit, stop)
