"""Starts the project's own Python where the one that was typed lacks a package."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

NEEDED = "numpy"
"""A package that judging a run loads; a bare Python lacks it."""


def use_project_python(root: Path) -> None:
    """Start this command again with the interpreter in .venv, if this one lacks a package and that one is there."""
    own = root / ".venv" / "bin" / "python"
    if importlib.util.find_spec(NEEDED) is None and own.exists() and Path(sys.prefix) != own.parent.parent:
        os.execv(own, [str(own), *sys.argv])
