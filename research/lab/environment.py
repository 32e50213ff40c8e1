"""Starts the runner over in the project's own environment where the Python that was typed lacks a package.

Only the standard library may be loaded here: people type `python`, and that need not be the Python that `uv sync`
installed into.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path


def enter_environment(root: Path, package: str) -> bool:
    """Start this process over under the Python of a repository's .venv if only that one can have a package.

    Args:
        root: The repository.
        package: What is needed.

    Returns:
        Whether the package is here; where it is not, there is no other Python to start.
    """
    if find_spec(package) is not None:
        return True
    python = root / ".venv" / "bin" / "python"
    elsewhere = Path(sys.prefix).resolve() != (root / ".venv").resolve()
    if elsewhere and python.exists():
        os.execv(python, [str(python), *sys.argv])
    return False
