"""Plays a list of outcomes with real processes, so that a whole night runs in seconds and meets every kind of end."""

from __future__ import annotations

import hashlib
import json
import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from research.code.constants import as_number, evaluate_constants
from research.code.fingerprint import fingerprint
from research.code.syntax_tree import parse
from research.core import contract
from research.core.clock import system_clock, utc
from research.core.errors import ConfigurationError
from research.core.files import held, read_json, write_json
from research.core.records import Metrics
from research.runs.backend import Backend, CommandResult, EndKind, Launch, StopRequest
from research.runs.local import run_process
from research.runs.preflight import TARGET

ENV_SCRIPT = "AUTORESEARCH_SCRIPT"
"""The variable that names a JSON file: a list of plays, each a kind or an object, whose count of played ones is kept
beside it; or an object with "surface", which scores train.py by its constants: see _on_surface()."""

ENV_CARD = "AUTORESEARCH_SCRIPT_CARD"
"""The variable that numbers the card that plays, from 0."""
CONTRACT = "scripted-000000000000"
RELATIVE = {"win": -0.002, "loss": 0.003, "noise": 0.0001}
"""Kinds that are a score relative to the best so far, with the distance in bpb that holds unless the play names one."""
FAILURES = {
    "oom": (1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 0 bytes free."),
    "assertion": (1, "AssertionError: TOTAL_BATCH_SIZE must be a multiple of 131072"),
    "import": (1, "ModuleNotFoundError: No module named 'flash_attn'"),
    "shape": (1, "RuntimeError: mat1 and mat2 shapes cannot be multiplied (64x512 and 640x512)"),
    "error": (1, "KeyError: 'lr'"),
    "nan": (contract.EXIT_DIVERGED, "FAIL"),
    "no_data": (contract.EXIT_NO_DATA, "the data is missing: uv run prepare.py"),
    "killed": (137, ""),
    "timeout": (-1, ""),
}
"""Kinds without a score: exit code (-1: it never ends), and the last line that holds unless the play names one."""
UNSTARTED: Mapping[EndKind, str] = {
    "infrastructure": "the infrastructure failed",
    "capacity": "no GPU within the queue timeout",
}
"""Kinds of which no process is started."""
KINDS = ("score", "probe", *RELATIVE, *FAILURES, *UNSTARTED)

_START_BPB = 1.0
_PLAYER = Path(__file__).with_name("scripted_player.py")


@dataclass(frozen=True)
class Play:
    """One scripted outcome."""

    kind: str  # one of KINDS
    val_bpb: float = _START_BPB
    by: float | None = None  # distance in bpb from the best so far, for the relative kinds; None takes the kind's own
    contract: str = CONTRACT
    peak_vram_mb: float = 2048.0
    params_m: float = 1.0
    steps: int = 1  # lines of progress before the end
    step_s: float = 0.0  # seconds between them
    limit_s: float | None = None  # time limit of this play, None for the launch's
    says: str = ""  # last line of a failure, "" for the kind's own

    def ending(self) -> tuple[int, str]:
        """Return the exit code of train.py, and what it prints at its end."""
        own = (
            f"contract: {self.contract}\ncausal_check: {'fail' if self.kind == 'probe' else 'pass'}\nloss_check: pass\n"
        )
        if self.kind == "score":
            nine = Metrics(self.val_bpb, 1.0, 1.5, self.peak_vram_mb, 0.0, 0.1, 10, self.params_m, 4)
            return contract.EXIT_SCORED, nine.as_block() + own
        if self.kind == "probe":
            return contract.EXIT_PROBE_FAILED, f"{contract.SUMMARY_MARK}\n{own}"
        exit_code, last = FAILURES[self.kind]
        trace = (
            f'Traceback (most recent call last):\n  File "{TARGET}", line 7, in <module>\n' if exit_code == 1 else ""
        )
        return exit_code, f"{trace}{self.says or last}\n"

    def score(self, launch: Launch) -> dict[str, Any] | None:
        """Return the score.json that prepare.py would leave, None for none."""
        if self.kind not in ("score", "probe"):
            return None
        value = self.val_bpb if self.kind == "score" else None
        return {
            "schema": contract.SCORE_SCHEMA,
            "status": contract.SCORED if self.kind == "score" else contract.PROBE_FAILED,
            **dict.fromkeys(("val_bpb", "val_bpb_exact", "audit_bpb", "audit_bpb_exact"), value),
            "contract": self.contract,
            "device": {"class": "scripted"},
            "seed": launch.seed,
            "train_py_sha256": hashlib.sha256((launch.run_dir / TARGET).read_bytes()).hexdigest(),
            "started_utc": utc(system_clock()),
            "peak_vram_mb": self.peak_vram_mb,
        }


def _next_play(path: Path) -> Play:
    """Take the next play of a list; several processes may share it, each play is played once.

    Raises:
        ConfigurationError: if the file is no list of plays, or all were played.
    """
    try:
        plays = [Play(item) if isinstance(item, str) else Play(**item) for item in json.loads(path.read_text("utf-8"))]
        if unknown := {play.kind for play in plays} - {*KINDS}:
            raise ValueError(f"no such kind: {', '.join(sorted(unknown))}")
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{path} is no script of plays ({error}).", "It is a JSON list.") from None
    state_path = path.with_name(path.name + ".played")
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


def _on_surface(surface: Mapping[str, Any], launch: Launch, card: int = 0) -> Play:
    """Return a play that scores a launch's train.py by its constants, as the pocket profile sets them.

    Args:
        surface: "least", val_bpb with every constant at its best; "sd", the standard deviation of a run in bpb, drawn
            from code and seed, so that a repeat repeats; "pulls", the constants that matter, each with its "best" value
            and the "weight" of log(value / best)^2 in bpb; "crash_above", constants and the value above which memory
            runs out; "cards", what val_bpb is larger by on each of as many cards.
        launch: What is played.
        card: Index of the card that plays it.
    """
    text = (launch.root / TARGET).read_bytes()
    known = evaluate_constants(parse(text), {"PROFILE.name": "pocket", "OFFICIAL": False})
    values = {name: number for name, value in known.items() if (number := as_number(value)) is not None}
    if any(values.get(name, 0.0) > limit for name, limit in surface.get("crash_above", {}).items()):
        return Play("oom")
    true = surface.get("least", 1.9) + surface.get("cards", [0.0])[card]
    for name, pull in surface.get("pulls", {}).items():
        value = values.get(name, pull["best"])
        true += pull["weight"] * math.log(max(value, 1e-9) / pull["best"]) ** 2
    seed = hashlib.sha256(f"{fingerprint(text)} {launch.seed}".encode()).digest()
    noise = random.Random(seed).gauss(0.0, surface.get("sd", 0.0005))
    return Play("score", val_bpb=round(true + noise, 6), peak_vram_mb=1000.0 * values.get("DEPTH", 4.0))


class ScriptedBackend(Backend):
    """The backend "scripted", which plays outcomes instead of running the command, from the file of ENV_SCRIPT."""

    name = "scripted"

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)

    def check(self, launch: Launch) -> None:
        if not self._environment.get(ENV_SCRIPT):
            raise ConfigurationError("There is no script to play.", f"Set {ENV_SCRIPT} to a JSON list of plays.")

    def device(self) -> str:
        return self._environment.get(ENV_CARD, "")

    def places(self, workers: int | None) -> Sequence[Mapping[str, str]]:
        """Return a card of the surface for every worker; nothing where the script names none."""
        script = read_json(Path(self._environment.get(ENV_SCRIPT, ""))) or {}
        cards = len(script.get("surface", {}).get("cards", ()))
        return [{ENV_CARD: str(n)} for n in range(cards)][:workers] if cards else super().places(workers)

    def knows_price(self, gpu: str) -> bool:
        return False  # plays cost nothing

    def run(
        self, launch: Launch, emit: Callable[[bytes], None], say: Callable[[str], None], stop: StopRequest
    ) -> CommandResult:
        path = Path(self._environment[ENV_SCRIPT])
        value = read_json(path)
        try:
            if value and "surface" in value:
                play = _on_surface(value["surface"], launch, int(self.device() or 0))
            else:
                play = _next_play(path)
        except (AttributeError, KeyError, TypeError) as error:
            what = f"{path} describes no surface ({error!r})."
            raise ConfigurationError(what, "See _on_surface in research/runs/scripted.py.") from None
        for kind, why in UNSTARTED.items():
            if play.kind == kind:
                return CommandResult.failed(kind, f"scripted: {why}")
        if play.limit_s is not None:
            launch = replace(launch, timeout_s=play.limit_s)
        exit_code, text = play.ending()
        told = {"kind": play.kind, "steps": play.steps, "step_s": play.step_s, "text": text, "exit": exit_code}
        words = json.dumps({**told, "score": play.score(launch)})
        return run_process(launch, (sys.executable, "-I", "-S", str(_PLAYER), words), self._environment, emit, stop)
