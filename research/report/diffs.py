"""What every experiment changed in train.py, as a unified difference: from runs' folders, else from git; bounded."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

from research.core import git
from research.core.errors import ResearchError
from research.core.paths import LabPaths
from research.core.records import Run
from research.core.settings import SETTINGS
from research.runs.preflight import TARGET

ReadSource = Callable[[str], str | None]
"""The train.py of a commit, None where it is unknown."""

_CONTEXT_LINES = 3
_SOURCE_BYTES = 2_000_000  # a train.py is 30 kB; what is a hundred times that is not read onto a page


def source_reader(paths: LabPaths, runs: Iterable[Run]) -> ReadSource:
    """Reads a commit's train.py from the folder of a run of it, else from git."""
    folder_of = {run.commit: run.folder for run in runs if run.commit and run.folder}

    @lru_cache(maxsize=256)
    def read(commit: str) -> str | None:
        folder = folder_of.get(commit)
        content = _read_file(paths.runs / folder / TARGET) if folder else None
        if content is None and commit:
            try:
                content = git.blob(paths.root, commit, TARGET)
            except ResearchError:
                content = None
        return content.decode("utf-8", "replace") if content is not None else None

    return read


def _read_file(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.stat().st_size <= _SOURCE_BYTES else None
    except OSError:
        return None


def differences(runs: Iterable[Run], read: ReadSource) -> dict[str, str]:
    """Commit to its difference, the latest first until the page is full; baselines change nothing."""
    found: dict[str, str] = {}
    left = SETTINGS.diffs_chars
    for run in reversed(list(runs)):
        if not run.commit or not run.parent or run.commit in found or not run.subject.startswith("exp:"):
            continue
        before, after = read(run.parent), read(run.commit)
        if before is None or after is None:
            continue
        text = difference(before, after)
        if len(text) > left:
            break
        if text:
            left -= len(text)
            found[run.commit] = text
    return found


def difference(before: str, after: str, limit: int = SETTINGS.diff_chars) -> str:
    """A unified difference of two texts without its two head lines, cut where it is longer than the limit."""
    old, new = before.splitlines(), after.splitlines()
    # A common beginning and end cost difflib most of its time, and lines that repeat there mislead it.
    head = _same(old, new)
    tail = min(_same(old[::-1], new[::-1]), min(len(old), len(new)) - head)
    skip, spare = max(0, head - _CONTEXT_LINES), max(0, tail - _CONTEXT_LINES)
    old, new = old[skip : len(old) - spare], new[skip : len(new) - spare]
    lines = list(difflib.unified_diff(old, new, n=_CONTEXT_LINES, lineterm=""))[2:]
    shown: list[str] = []
    size = 0
    for place, line in enumerate(lines):
        line = _moved(line, skip) if line.startswith("@@") else line[:500]
        size += len(line) + 1
        if size > limit:
            return "\n".join([*shown, f"@@ and {len(lines) - place} more lines @@"])
        shown.append(line)
    return "\n".join(shown)


def _same(one: list[str], other: list[str]) -> int:
    """How many lines two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _moved(head: str, by: int) -> str:
    """A hunk's head with line numbers that count the beginning left out."""
    parts = head.split(" ")
    for place in (1, 2):
        sign, _, rest = parts[place][:1], "", parts[place][1:]
        start, comma, count = rest.partition(",")
        parts[place] = f"{sign}{int(start) + by}{comma}{count}"
    return " ".join(parts)
