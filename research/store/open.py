"""Opens the memory of a checkout; a damaged one is set aside and rebuilt from the runs' folders and results.tsv."""

from __future__ import annotations

import contextlib
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from research.core.files import held, read_json, write_json
from research.core.paths import LabPaths
from research.core.records import Idea, Run, Verdict
from research.core.settings import SETTINGS
from research.store import folders, ledger
from research.store.connect import StoreDamaged
from research.store.db import Store
from research.store.ledger_file import edit_check, import_ledger_lines

_FACTS = "facts.json"
_IDEAS = "ideas.json"
"""Files beside the memory that hold its named values and its queue of ideas too, for when it has to be rebuilt."""


def read_store(paths: LabPaths, wait_s: float = SETTINGS.busy_timeout_s) -> Store:
    """Open the memory as it is, an empty one where there is no file; make no files."""
    if not paths.memory.exists():
        return Store(None)
    if not _has_content(paths.memory):  # SQLite would take it for a new one and write its tables, which look like ours
        raise StoreDamaged(f"{paths.memory} is empty (0 bytes).")
    return Store(paths.memory, wait_s)


def open_store(paths: LabPaths, at_utc: str, say: Callable[[str], None]) -> Store:
    """Open the memory for reading and writing, made, upgraded or rebuilt as needed.

    A damaged file gets a name with the time; say() gets one sentence for the user when something was rebuilt.
    """
    paths.discovery.mkdir(parents=True, exist_ok=True)
    try:
        if _has_content(paths.memory):
            return Store(paths.memory)
    except StoreDamaged:
        pass
    with held(paths.discovery / ".memory.lock", SETTINGS.busy_timeout_s):
        try:
            if _has_content(paths.memory):
                return Store(paths.memory)  # somebody else made or mended it meanwhile
        except StoreDamaged as damage:
            aside = _set_aside(paths.memory, at_utc)
            say(f"{damage.what} It is kept as {aside.name}; the memory is rebuilt from results/runs and results.tsv.")
        draft = paths.memory.with_name(".memory.new")
        # A killed process leaves the log of a memory that is gone, which SQLite would play into the new one.
        for stale in (draft, *_companions(draft), *_companions(paths.memory)):
            stale.unlink(missing_ok=True)
        with Store(draft) as store:
            count = rebuild(store, paths, at_utc)
        draft.replace(paths.memory)  # closing the last connection has folded the log in
    if count:
        say(f"The new memory holds {count} runs.")
    return Store(paths.memory)


def keep_fact(store: Store, paths: LabPaths, name: str, value: str) -> None:
    """Set a named value in the memory and beside it, so that a rebuilt memory has it too."""
    store.set_fact(name, value)
    with contextlib.suppress(OSError):
        write_json(paths.discovery / _FACTS, {**(read_json(paths.discovery / _FACTS) or {}), name: value})


def keep_ideas(store: Store, paths: LabPaths) -> None:
    """Copy the queue of ideas beside the memory, so that a rebuilt one has it too."""
    ideas = [{name: value for name, value in vars(idea).items() if name != "run"} for idea in store.ideas()]
    with contextlib.suppress(OSError):
        write_json(paths.discovery / _IDEAS, {"ideas": ideas})


def _has_content(path: Path) -> bool:
    """Check that a file is there and not empty; ours is put in place whole, so something else emptied an empty one."""
    return path.exists() and path.stat().st_size > 0


def _companions(path: Path) -> tuple[Path, Path]:
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def _set_aside(path: Path, at_utc: str) -> Path:
    stamp = "".join(filter(str.isalnum, at_utc))
    aside = path.with_name(f"{path.name}.damaged-{stamp}-{secrets.token_hex(2)}")
    for source, target in zip((*_companions(path), path), (*_companions(aside), aside), strict=True):
        if source.exists():
            source.replace(target)
    return aside


def rebuild(store: Store, paths: LabPaths, at_utc: str) -> int:
    """Fill an empty store from the runs' folders, results.tsv and the files beside the memory; return how many runs."""
    found: list[tuple[Run, Path]] = []
    for folder in sorted(paths.runs.iterdir()) if paths.runs.is_dir() else []:
        run = folders.read_run(folder)
        if run and run.folder == folder.name:
            found.append((run, folder))
    lines = ledger.split(paths.ledger.read_bytes()) if paths.ledger.is_file() else ()
    with store.write():
        verdicts: list[Verdict] = []
        for run, folder in sorted(found, key=lambda item: item[0].finished_utc or "~"):
            if run.outcome is None:
                store.start_run(run)
            else:
                store.add_run(run)
                verdicts += folders.read_verdicts(folder) or _verdict_of_line(run, lines)
        for verdict in sorted(verdicts, key=lambda one: one.created_utc):  # the latest verdict decides the branch's tip
            store.add_verdict(verdict)
        import_ledger_lines(store, lines, at_utc, edit_check(store, lines))
        for name, value in (read_json(paths.discovery / _FACTS) or {}).items():
            store.set_fact(name, str(value))
        for item in (read_json(paths.discovery / _IDEAS) or {}).get("ideas", []):
            with contextlib.suppress(TypeError):
                store.add_idea(Idea(**item))
        store.replace_ledger(_in_file_order(store.ledger_entries(), lines))
    return len(store.runs())


def _in_file_order(entries: Sequence[tuple[str, bytes]], lines: Sequence[bytes]) -> list[tuple[str, bytes]]:
    """Return the rows of the ledger in the order of the file's lines, then those that the file does not hold."""
    places: dict[bytes, deque[int]] = {}
    for number, line in enumerate(lines):
        places.setdefault(line, deque()).append(number)

    def place(entry: tuple[str, bytes]) -> int:
        numbers = places.get(entry[1])
        return numbers.popleft() if numbers else len(lines)

    return sorted(entries, key=place)


def _verdict_of_line(run: Run, lines: tuple[bytes, ...]) -> list[Verdict]:
    """Return the verdict that only results.tsv still holds, [] where it says nothing of the run."""
    at_utc = run.finished_utc or run.started_utc
    verdict = Verdict(run.run, "keep", "ledger", "results.tsv says keep", at_utc, settled_utc=at_utc)
    return [verdict] if ledger.has_row(run) and ledger.render_row(run, True) in lines else []
