"""Whether a module can be found where ``uv run`` would look, without importing anything."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

_BUILT_IN = frozenset(sys.stdlib_module_names) | {"__future__"}


def is_installed(root: Path, name: str, environment: Mapping[str, str]) -> bool:
    """Checks whether a top-level module is built in, installed, or about to be installed by uv.

    Args:
        root: The work tree, whose .venv uv uses.
        name: Top-level name of the module.
        environment: Variables that move the virtual environment.
    """
    if name in _BUILT_IN:
        return True
    venv = _venv(root, environment)
    if venv is None:
        # uv is going to make the environment from pyproject.toml, or there is none and the interpreter's own counts.
        return _is_declared(root, name) or any(_holds(Path(entry), name) for entry in sys.path if entry)
    sites = [*venv.glob("lib/python3*/site-packages"), *venv.glob("Lib/site-packages")]
    sites += [extra for site in sites for extra in _linked(site)]
    if _shares_system(venv):
        sites += [Path(entry) for entry in sys.path if entry]
    return any(_holds(site, name) for site in sites)


def _venv(root: Path, environment: Mapping[str, str]) -> Path | None:
    named = environment.get("UV_PROJECT_ENVIRONMENT")
    venv = root / named if named else root / ".venv"
    return venv if (venv / "pyvenv.cfg").is_file() else None


def _shares_system(venv: Path) -> bool:
    text = (venv / "pyvenv.cfg").read_text("utf-8", "replace")
    return re.search(r"include-system-site-packages\s*=\s*true", text, re.I) is not None


def _linked(site: Path) -> list[Path]:
    """Lists the folders that .pth files add (editable installs); their import lines can't be followed unexecuted."""
    found = []
    for path in site.glob("*.pth"):
        for line in path.read_text("utf-8", "replace").splitlines():
            if line.strip() and not line.startswith(("import ", "import\t", "#")):
                found.append(site / line.strip())
    return found


def _holds(site: Path, name: str) -> bool:
    if (site / name).is_dir() or (site / f"{name}.py").is_file():
        return True
    return any((site / f"{name}{suffix}").is_file() for suffix in EXTENSION_SUFFIXES)


def _is_declared(root: Path, name: str) -> bool:
    """Checks whether pyproject.toml asks for a package of about this name; Python 3.10 has no TOML parser."""
    try:
        text = (root / "pyproject.toml").read_text("utf-8", "replace")
    except OSError:
        return False
    wanted = re.escape(name).replace("_", "[-_.]")
    return re.search(rf"[\"']{wanted}\s*[\"'<>=!~;\[ ]", text, re.I) is not None
