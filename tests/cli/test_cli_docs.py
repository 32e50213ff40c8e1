"""docs/cli.md says what the verbs say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_current():
    script = ROOT / "scripts" / "make_cli_docs.py"
    done = subprocess.run([sys.executable, str(script), "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + "Type: uv run scripts/make_cli_docs.py"
