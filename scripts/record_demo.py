"""Records the night of a checkout as the one that ``research demo`` plays: its runs, verdicts, differences and curves.

uv run scripts/record_demo.py CHECKOUT
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this checkout's code, whatever is installed

from research.core.clock import system_clock, utc  # noqa: E402
from research.core.errors import ResearchError  # noqa: E402
from research.core.files import write_whole  # noqa: E402
from research.core.git import find_root  # noqa: E402
from research.core.paths import LabPaths  # noqa: E402
from research.report.recording import DEMO, read_recording, write_recording  # noqa: E402
from research.store.open import read_store  # noqa: E402


def main(argv: list[str]) -> int:
    """Write the recording and say how large it is."""
    if len(argv) != 1 or argv[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        paths = LabPaths(find_root(Path(argv[0])))
        with read_store(paths) as store:
            text = write_recording(store, paths, utc(system_clock()))
    except ResearchError as error:
        print(f"record_demo: {error.what} {error.next}", file=sys.stderr)
        return 1
    write_whole(DEMO, text.encode())
    print(f"{DEMO}: {len(text) / 1024:.0f} KiB, {len(read_recording().runs)} runs")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
