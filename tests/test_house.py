"""The house rules that a machine can check: import order, file size, no torch in the control plane, ruff and mypy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINE_LIMIT = 400
ROOMS = ("store", "runs", "verdict", "memory", "search", "lab", "agents", "views", "cli")
"""Leftward imports only: a room may import the nouns beside research/__init__.py and the rooms before it."""
FILES_OF = {"lab": ("lab", "launching", "planning", "replicating", "runner", "settling", "taking_in", "workplaces")}
"""Rooms that are files in research/ itself; cli is every cli*.py. The other files there are nouns."""

SOURCES = sorted((ROOT / "research").rglob("*.py"))


def room_of(module: str) -> int:
    """Place of research.<name>... in the order; -1 for the nouns."""
    name = module.split(".")[1] if "." in module else ""
    if name.startswith("cli") or name == "__main__":
        return ROOMS.index("cli")
    for room, files in FILES_OF.items():
        if name in files:
            return ROOMS.index(room)
    return ROOMS.index(name) if name in ROOMS else -1


def imports_of(path: Path) -> list[str]:
    """Modules that a file imports, those inside functions too; those for the type checker alone left out."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_go_leftward_and_never_to_torch(path: Path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for imported in imports_of(path):
        assert imported.split(".")[0] not in ("torch", "prepare", "train"), f"{module} imports {imported}"
        if imported.startswith("research"):
            assert room_of(imported) <= room_of(module), f"{module} imports {imported}, which is to its right"


def test_files_are_short():
    files = [*SOURCES, *(ROOT / "scripts").glob("*.py"), *(ROOT / "tests").rglob("*.py")]
    long = {p.name: n for p in files if (n := len(p.read_text().splitlines())) > LINE_LIMIT}
    assert not long
    assert len((ROOT / "train.py").read_text().splitlines()) <= 700


def test_modules_say_why_they_exist():
    assert [p.name for p in SOURCES if not ast.get_docstring(ast.parse(p.read_text()))] == []


@pytest.mark.parametrize("command", [["ruff", "check", "."], ["mypy"]], ids=lambda c: c[0])
def test_clean(command: list[str]):
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
