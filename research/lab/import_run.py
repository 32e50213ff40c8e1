"""Imports a finished run's folder, or a bare log, that a person names."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from research.core import contract
from research.core.errors import ResearchError
from research.lab.lab import Lab
from research.runs import hand_made
from research.runs.log import read_log
from research.runs.preflight import TARGET
from research.store.db import Store

_START = re.compile(r"\[run\] start (\S+)\s*\Z")


def import_run(lab: Lab, store: Store, path: Path) -> list[str]:
    """Import a finished run from its folder, a file in it, or a log alone; return its name if it is new.

    Raises:
        ResearchError: if the path holds no finished run.
        OSError: if it can't be read.
    """
    folder = path.absolute() if path.is_dir() else path.absolute().parent
    if path.is_dir() or (folder / contract.SCORE_FILE).is_file():
        return _import_folder(lab, store, folder)
    log = read_log(path)
    for line in (*log.head, *log.lines) if log else ():
        if (match := _START.match(line)) and store.run(match[1]):
            lab.say(f"{path} is the output of {match[1]}, which is recorded")
            return []
    run = hand_made.run_of_log(path, lab.paths.root, lab.now_utc())
    same = (one for one in store.runs() if one.folder and (one.contract, one.metrics) == (run.contract, run.metrics))
    if run.metrics and (known := next(same, None)):
        lab.say(f"{path} has the summary of {known.run}, which is recorded")
        return []
    digest = run.facts["log_sha256"]
    with store.write():  # whoever imports the same log at this moment waits, and then sees it
        if any(other.facts.get("log_sha256") == digest for other in store.runs()):
            return []
        new = lab.import_run(store, run, None)
    if new:
        place = lab.paths.runs / run.run
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place / contract.RUN_LOG)
    return new


def _import_folder(lab: Lab, store: Store, folder: Path) -> list[str]:
    if folder.parent != lab.paths.runs:
        place = lab.paths.runs / f"{contract.HAND_PREFIX}{folder.name.removeprefix(contract.HAND_PREFIX)}"
        if not place.exists():
            if not (folder / contract.SCORE_FILE).is_file():
                raise ResearchError(f"{folder} holds no score.json.", "Give a finished run's folder.")
            _copy(folder, place)
        folder = place
    if folder.name in store.folders():
        return []
    return lab.import_run(store, hand_made.run_of_folder(folder, lab.paths.root, lab.now_utc()), folder)


def _copy(folder: Path, place: Path) -> None:
    """Copy a run's folder, whole or not at all, so that a torn copy is never taken for the run."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".copy-") as work:
        draft = Path(work) / place.name
        draft.mkdir()
        for part in (contract.RUN_LOG, TARGET, contract.SCORE_FILE):
            if (folder / part).is_file():
                shutil.copyfile(folder / part, draft / part)
        try:
            draft.rename(place)
        except OSError:
            if not place.exists():  # else another lab was faster
                raise
