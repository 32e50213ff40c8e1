"""The rules of the house: import order, file size, no torch, standard library below the views, clean linters."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "research"

# Rooms from left to right: a module imports from its own room and from those before it.
ROOMS = (
    {"contract", "records", "settings", "errors", "repo", "source", "files", "places", "clock"},
    {"store"},
    {"runs"},
    {"verdict"},
    {"memory"},
    {"search"},
    {"lab", "launching", "settling", "replicating", "taking_in", "runner"},
    {"agents"},
    {"views"},
    {"cli", "cli_kit", "__main__"},
)

MODULES = sorted(PACKAGE.rglob("*.py"))
CODE = sorted([*MODULES, *(ROOT / "scripts").glob("*.py"), *(ROOT / "tests").rglob("*.py")])
MAX_LINES = 400

# Packages that are imported by the rooms that show things, by the Modal backend, and by the built-in mutator.
VIEWS = ("cli", "views")


def room(name: str) -> int:
    """Place of a module, by the first part of its name below research."""
    first = "cli" if name.startswith("cli_") else name
    for place, names in enumerate(ROOMS):
        if first in names:
            return place
    raise AssertionError(f"research.{name} stands in no room: name it in ROOMS")


def imported(path: Path) -> set[str]:
    """Every module that a file imports, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_name(path: Path) -> str:
    """First part of a module's name below research; "" for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_leftward(path: Path):
    name = own_name(path)
    if not name:
        return
    for module in imported(path):
        parts = module.split(".")
        if parts[0] == "research" and len(parts) > 1 and _is_module(parts[1]):
            assert room(parts[1]) <= room(name), f"{name} imports {module}"


def _is_module(name: str) -> bool:
    return (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_torch_and_the_standard_library_alone(path: Path):
    tops = {module.split(".")[0] for module in imported(path)}
    assert "torch" not in tops
    foreign = tops - set(sys.stdlib_module_names) - {"research", "__future__"}
    name = own_name(path)
    if name.startswith(VIEWS) or name == "agents":
        return
    if path.name.startswith("modal") and path.parent.name == "runs":
        foreign -= {"modal", "modal_proto", "grpclib"}
    assert not foreign


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_small_and_say_why_they_exist(path: Path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "a module begins with a sentence on why it exists"


def test_git_and_sql_have_one_home():
    for path in MODULES:
        text = path.read_text("utf-8")
        name = str(path.relative_to(PACKAGE))
        if name != "repo.py" and not name.startswith("runs/modal"):
            assert '["git"' not in text, f"{name} calls git"
        if not name.startswith("store/"):
            assert "sqlite3" not in imported(path), f"{name} speaks SQL"


@pytest.mark.parametrize(
    "command", [["ruff", "check", "research", "scripts", "tests"], ["mypy"]], ids=lambda command: command[0]
)
def test_linters_are_content(command: list[str]):
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
