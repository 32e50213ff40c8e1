"""What experiments changed in train.py, read from git for the runs that a page shows it of; bounded in length."""

from __future__ import annotations

from pathlib import Path

from research.core import git
from research.core.errors import ResearchError
from research.core.settings import SETTINGS
from research.report.data import PageData
from research.runs.preflight import TARGET

_MAX_LINE_CHARS = 500


def differences(root: Path, data: PageData) -> dict[str, str]:
    """Return commit to its difference, for kept changes, near misses and the latest runs, until the page is full."""
    base = data.headline.baseline
    notable = [c.commit for c in data.candidates if c is not base and (c.decision == "keep" or c.is_near_miss)]
    latest = [r.run.commit for r in data.rows[-SETTINGS.diffs_latest :] if base is None or r.first != base.number]
    wanted = list(dict.fromkeys([*notable, *reversed(latest)]))
    try:
        patches = git.patches(root, wanted, TARGET)
    except ResearchError:
        return {}
    found: dict[str, str] = {}
    left = max(SETTINGS.diffs_chars, SETTINGS.page_chars - SETTINGS.row_chars * len(data.rows))
    for commit in filter(patches.get, wanted):
        found[commit] = bounded(patches[commit].splitlines())
        left -= len(found[commit])
        if left < 0:
            del found[commit]
            break
    return found


def bounded(lines: list[str], limit: int = SETTINGS.diff_chars) -> str:
    """Join the lines of a difference, cut where they are longer than the limit."""
    shown: list[str] = []
    size = 0
    for place, line in enumerate(lines):
        size += len(line[:_MAX_LINE_CHARS]) + 1
        if size > limit:
            return "\n".join([*shown, f"@@ and {len(lines) - place} more lines @@"])
        shown.append(line[:_MAX_LINE_CHARS])
    return "\n".join(shown)
