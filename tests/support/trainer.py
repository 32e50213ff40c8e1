"""A train.py as a module: its text executed under other constants, its main() not called."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from scripts.race import with_constants


def load_train(path: str | Path, constants: dict[str, str] | None = None) -> SimpleNamespace:
    """The names that a train.py defines, with constants at its top set to other expressions."""
    source = with_constants(Path(path).read_text(), constants or {})
    space = {"__name__": "train", "__file__": str(path)}
    exec(compile(source, str(path), "exec"), space)
    return SimpleNamespace(**space)
