#!/usr/bin/env python3
"""Runs a command on this machine or at Modal and records what `uv run train.py` measured.

    uv run python scripts/run_experiment.py --backend local -- uv run train.py > run.log 2>&1

Works with any Python from 3.10 on, without this project installed: it runs in the .venv of `uv sync` where that is
there, else it records the run, and the next `uv run research` judges it. An older Python hands over to one that uv has.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from research.core.interpreter import use_project_python  # noqa: E402

use_project_python(ROOT)

from research.lab.runner import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
