"""Writes and reads the records in a run's own folder, so that the memory can be rebuilt from folders alone.

results/runs/RUN/
    run.log, train.py, score.json   the output, the source, the score (made by the command)
    start.json                      the start record
    finish.json                     the finish record; blanks until then, reserved before launch
    verdicts.json                   every verdict on the run
    alive                           locked while the runner, or what it launched, lives
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from research.core.files import fill_reserved, is_held, read_json, reserve, write_json
from research.core.records import Run, Verdict
from research.core.settings import SETTINGS
from research.store.rows import from_plain, to_plain

START, FINISH, VERDICTS, ALIVE = "start.json", "finish.json", "verdicts.json", "alive"


def write_start(folder: Path, run: Run) -> None:
    """Write the start record and set disk space aside for the finish record."""
    write_json(folder / START, to_plain(run))
    reserve(folder / FINISH, SETTINGS.reserve_bytes)


def write_finish(folder: Path, run: Run) -> None:
    """Write the finish record into the space set aside."""
    fill_reserved(folder / FINISH, to_plain(run))


def read_run(folder: Path) -> Run | None:
    """Read the run from its folder: finished if the finish record is whole, else as started; None without records."""
    for name in (FINISH, START):
        plain = read_json(folder / name)
        if plain:
            try:
                return from_plain(Run, plain)
            except ValueError:
                continue
    return None


def write_verdicts(folder: Path, verdicts: Sequence[Verdict]) -> None:
    """Write every verdict on the run, oldest first."""
    write_json(folder / VERDICTS, {"verdicts": [to_plain(verdict) for verdict in verdicts]})


def read_verdicts(folder: Path) -> list[Verdict]:
    """Read the verdicts that the folder holds."""
    plain = read_json(folder / VERDICTS) or {}
    found = []
    for item in plain.get("verdicts", []):
        try:
            found.append(from_plain(Verdict, item))
        except (ValueError, AttributeError, TypeError):
            continue
    return found


def is_alive(folder: Path) -> bool:
    """Check whether the run's runner, or anything it launched, still runs."""
    return is_held(folder / ALIVE)
