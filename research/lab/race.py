"""Picks the run whose training loss a new run is compared with, and decides whether the new run may be stopped."""

from __future__ import annotations

from pathlib import Path

from research.code import printed_loss
from research.core.records import Run
from research.core.settings import SETTINGS
from research.lab.lab import Lab
from research.runs.preflight import TARGET
from research.runs.racing import Watch, curve_of
from research.store import reads
from research.store.db import Store
from research.verdict import lineage
from research.verdict.forecast import Forecast
from research.verdict.noise import is_pocket


def watch_of(lab: Lab, store: Store, start: Run, contract: str | None, text: bytes, race: bool) -> Watch | None:
    """Return the watch of a run of this train.py, which may stop it if it races; None without a run to compare with."""
    if contract is None or not start.counted:
        return None
    judged = [item for item in reads.history(store) if item.run.contract == contract]
    history = [item.run for item in judged]
    incumbent = lineage.incumbent(lineage.of_contract(judged, start.branch, contract))
    if incumbent is None or lineage.is_same(incumbent, start):
        return None
    same = [run for run in history if lineage.is_same(run, incumbent) and run.branch == start.branch]
    against = lineage.latest_paired(same, start)
    if against is None:
        return None
    if not race:
        exempt = "not raced"
    elif any(lineage.is_same(run, start) for run in history):
        exempt = "replicate"
    else:  # the end of a run's name is random, and on record
        is_drawn = int(start.run.rpartition("-")[2], 16) % SETTINGS.race_full_share == 0
        exempt = "drawn to run to the end" if is_drawn else ""
    folder = lab.paths.runs / (against.folder or against.run)
    forecast = Forecast.of_runs(history, is_pocket(history))
    return Watch(against.run, curve_of(folder), forecast.predict, exempt, _incomparable(folder, text))


def _incomparable(folder: Path, text: bytes) -> str:
    """Return why the losses of a run can't be compared with those of one in a folder, "" where they can."""
    try:
        name = printed_loss.reached((folder / TARGET).read_bytes(), text)
    except OSError:
        return "the train.py of the run that it is compared with is gone"
    except SyntaxError:
        return "its train.py can't be compared"
    return f"its change reaches the printed loss ({name})" if name else ""
