"""The house rules that a machine can check: import order of the rooms, no torch in the control plane, ruff and mypy."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from research.core.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (
    "core", "code", "benchmark", "store", "runs", "verdict", "search", "simulator", "lab", "agents", "report", "cli",
)  # fmt: skip
"""The folders of research/, in the order in which they may import: each its own room and those before it."""

SOURCES = sorted((ROOT / "research").rglob("*.py"))


def imports_of(path: Path) -> list[str]:
    """Modules that a file imports, those inside functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


def test_the_package_root_holds_rooms_only():
    root = ROOT / "research"
    assert sorted(p.name for p in root.glob("*.py")) == ["__init__.py", "__main__.py"]
    folders = {p.relative_to(root).parts[0] for p in SOURCES if p.parent != root}
    assert folders <= set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_itself_and_the_rooms_before_it(room: str):
    """The benchmark is for prepare.py and train.py, since it imports torch; cards.py, which does not, is for all."""
    before = ROOMS[: ROOMS.index(room) + 1]
    allowed = {"benchmark"} if room == "benchmark" else {*before} - {"benchmark"}
    barred = {"prepare", "train"} | ({"torch"} if room != "benchmark" else set())
    for path in sorted((ROOT / "research" / room).rglob("*.py")):
        for imported in imports_of(path):
            top, _, rest = imported.partition(".")
            if top == "research" and not (rest == "benchmark.cards" and "benchmark" in before):
                assert rest.split(".")[0] in allowed, f"{path.relative_to(ROOT)} imports {imported}"
            assert top not in barred, f"{path.relative_to(ROOT)} imports {imported}"


def test_asking_about_cards_loads_no_torch():
    code = "import sys, research.benchmark.cards; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_modules_say_what_they_do():
    assert [p.name for p in SOURCES if not ast.get_docstring(ast.parse(p.read_text()))] == []


def test_every_threshold_is_at_home_in_one_room_with_its_reason_and_is_used():
    """A name in two files would win silently; a field nobody asks for would be tuned in vain."""
    sources = "".join(p.read_text() for p in SOURCES if p.parent.name != "settings")
    homes: dict[str, str] = {}
    for path in sorted((ROOT / "research/core/settings").glob("[!_]*.py")):
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
            assert re.search(rf"\.{name}\b", sources), f"nothing asks for {name}"
    assert set(homes) == set(Settings.__dataclass_fields__)


@pytest.mark.long
@pytest.mark.parametrize("command", [["ruff", "check", "."], ["mypy"]], ids=lambda c: c[0])
def test_clean(command: list[str]):
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
