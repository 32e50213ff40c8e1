"""Records the night of a checkout as the one that ``research demo`` plays: its runs, verdicts, differences and curves.

Its runs and what was decided stay as they were; what the verdicts say of them is said by the rules of now. Without a
checkout, the recorded night is judged once more: needed whenever those rules have changed.

uv run scripts/record_demo.py [CHECKOUT]
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
from research.report.recording import DEMO, Recording, judged_again, lines_of, read_recording, record  # noqa: E402
from research.store.open import read_store  # noqa: E402


def main(argv: list[str]) -> int:
    """Write the recording and say how large it is."""
    if len(argv) > 1 or argv[:1] == ["--help"]:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        recording = judged_again(_recorded(Path(argv[0])) if argv else read_recording())
    except ResearchError as error:
        print(f"record_demo: {error.what} {error.next}", file=sys.stderr)
        return 1
    text = lines_of(recording)
    write_whole(DEMO, text.encode())
    print(f"{DEMO}: {len(text) / 1024:.0f} KiB, {len(recording.runs)} runs")
    return 0


def _recorded(checkout: Path) -> Recording:
    paths = LabPaths(find_root(checkout))
    with read_store(paths) as store:
        return record(store, paths, utc(system_clock()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
