"""Decides against what a run is watched, and whether it may be stopped."""

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
    """Returns what watches a run, None where there is nothing to compare it with.

    Args:
        lab: The lab.
        store: Its memory.
        start: The run's start record.
        contract: Its contract, None if it is not known yet.
        text: The train.py that runs.
        race: Whether it may be stopped at all.
    """
    if contract is None or not start.counted:
        return None
    history = [item for item in reads.history(store) if item.run.contract == contract]
    mine = [item for item in history if item.run.branch == start.branch]
    incumbent = lineage.incumbent(mine)
    if incumbent is None or lineage.is_same(incumbent, start):
        return None
    same = [one.run for one in mine if lineage.is_same(one.run, incumbent) and one.run.seed == start.seed]
    against = next((run for run in reversed(same) if lineage.is_evidence(run)), None)
    if against is None:
        return None
    found = store.run(against.run)
    folder = lab.paths.runs / (found.folder if found and found.folder else against.run)
    exempt = _exempt(start, any(lineage.is_same(item.run, start) for item in history), race)
    runs = [item.run for item in history]
    forecast = Forecast.of_runs(runs, is_pocket(runs))
    return Watch(against.run, curve_of(folder), forecast.predict, exempt, _incomparable(folder, text))


def _exempt(start: Run, is_known: bool, race: bool) -> str:
    """Returns why a run goes to the end whatever is foretold, "" for one that may be stopped."""
    if not race:
        return "not raced"
    if is_known:
        return "replicate"
    # The end of a run's name is random, and on record.
    is_drawn = int(start.run.rpartition("-")[2], 16) % SETTINGS.race_full_share == 0
    return "drawn to run to the end" if is_drawn else ""


def _incomparable(folder: Path, text: bytes) -> str:
    """Returns why the losses of a run can't be compared with those of one in a folder, "" where they can."""
    try:
        name = printed_loss.reached((folder / TARGET).read_bytes(), text)
    except OSError:
        return "the train.py of the run that it is compared with is gone"
    except SyntaxError:
        return "its train.py can't be compared"
    return f"its change reaches the printed loss ({name})" if name else ""
