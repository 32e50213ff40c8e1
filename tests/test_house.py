"""The house rules that a machine can check: import order, file size, no torch in the control plane, ruff and mypy."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from research.agents.hooks.events import CONTEXT_CHARS
from research.settings import SETTINGS, Settings

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


def test_every_threshold_is_at_home_in_one_room_with_its_reason_and_is_used():
    """A name in two files would win silently; a field nobody asks for would be tuned in vain."""
    sources = "".join(p.read_text() for p in SOURCES if p.parent.name != "settings")
    homes: dict[str, str] = {}
    for path in sorted((ROOT / "research/settings").glob("[!_]*.py")):
        assert path.stem in ROOMS
        (part,) = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
        fields, reasons = part.body[1::2], part.body[2::2]
        assert len(fields) == len(reasons)
        for field, reason in zip(fields, reasons, strict=True):
            assert isinstance(field, ast.AnnAssign)
            assert isinstance(reason, ast.Expr)
            assert isinstance(field.target, ast.Name)
            name = field.target.id
            assert name not in homes, f"{name} is in {homes[name]}.py and in {path.name}"
            homes[name] = path.stem
            assert re.search(rf"\.{name}\b", sources) or name == "context_chars", f"nothing asks for {name}"
    assert SETTINGS.context_chars == CONTEXT_CHARS, "hooks have no time to load the settings and keep a copy"
    assert set(homes) == set(Settings.__dataclass_fields__)


@pytest.mark.parametrize("command", [["ruff", "check", "."], ["mypy"]], ids=lambda c: c[0])
def test_clean(command: list[str]):
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
