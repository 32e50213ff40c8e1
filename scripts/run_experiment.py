#!/usr/bin/env python3
"""Runs a command on this machine or at Modal and records what `uv run train.py` measured.

    python scripts/run_experiment.py --backend local -- uv run train.py > run.log 2>&1

Works with any Python from 3.10 on, without this project installed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from research.lab.runner import main

if __name__ == "__main__":
    sys.exit(main())
