"""Starts the project's own Python where the one that was typed is too old or lacks a package.

Written for Python 3.6 and later, since it is what an old one has to read.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Mapping, Tuple  # noqa: UP035

OLDEST = (3, 10)
"""The oldest Python that the project runs on, as pyproject.toml says."""
GET_UV = "curl -LsSf https://astral.sh/uv/install.sh | sh"
"""The command that installs uv; not by pip, which an environment of uv lacks."""
START_S = 10.0
"""Longest that an interpreter may take to say its version: a version manager's shim takes half a second."""
NEEDED = ("numpy", "rustbpe")
"""Packages that the project's own Python has: what judging a run loads, and one that hardly any other Python has."""


def use_project_python(root: Path) -> None:
    """Start this command again with the interpreter in .venv, or with uv's, if this one can't do the work.

    Exits 78 where this one is too old and there is no other.
    """
    is_old = sys.version_info < OLDEST
    if not is_old and all(map(importlib.util.find_spec, NEEDED)):
        return
    own = root / ".venv" / "bin" / "python"
    if own.exists() and Path(sys.prefix) != own.parent.parent:
        os.execv(str(own), [str(own), *sys.argv])
    if not is_old:
        return
    if shutil.which("uv"):
        os.execvp("uv", ["uv", "run", "--project", str(root), "python", *sys.argv])
    version = ".".join(map(str, sys.version_info[:2]))
    sys.stderr.write(
        f"[run] {sys.executable} is Python {version}; 3.10 is the oldest that works, and uv, which brings one, is not "
        f"installed. Type: {GET_UV}\n"
    )
    raise SystemExit(78)


def version_of(python: str, environment: Mapping[str, str]) -> Tuple[int, ...]:  # noqa: UP006
    """Return the version of an interpreter, as (3, 12); nothing where it does not start."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        said = subprocess.check_output(
            [python, "-I", "-c", code], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=START_S,
            env=dict(environment),
        )  # fmt: skip
        return tuple(int(part) for part in said.split(b"."))
    except (OSError, ValueError, subprocess.SubprocessError):
        return ()
