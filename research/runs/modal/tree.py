"""What is shipped to a sandbox: the files of one commit, and the key of the image they need.

Never the work tree as it lies there: it holds secrets, results and files that somebody is writing.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from research.core import git
from research.core.errors import ConfigurationError
from research.runs.modal import settings
from research.runs.modal.client import load_modal

LOCK_FILE = "uv.lock"
PROJECT_FILE = "pyproject.toml"
KERNELS_EXTRA = "hopper"
"""The extra of pyproject.toml that holds FlashAttention 3."""


@dataclass(frozen=True)
class Tree:
    """A folder with what runs.

    Attributes:
        folder: Where the files lie (absolute).
        label: "commit <hash>", or "work tree <hash of its tracked files>".
        files: How many.
        total_bytes: How much.
        locked: Whether a uv.lock is among them.
    """

    folder: Path
    label: str
    files: int
    total_bytes: int
    locked: bool


def _git(root: Path, *args: str) -> bytes:
    done = subprocess.run(["git", "-C", str(root), *args], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        raise git.GitError(f"git {args[0]} failed: {lines[-1]}", "Mend that in git and try again.")
    return done.stdout


def _unpack(archive: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar.getmembers():
            target = folder / member.name
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
            elif member.issym():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(member.linkname)
            elif (content := tar.extractfile(member)) is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
                target.chmod(member.mode & 0o777)
                # Modal refuses files that look younger than the start of its build.
                os.utime(target, (member.mtime, member.mtime))


def _copy_tracked(root: Path, folder: Path) -> str:
    digest = hashlib.sha256()
    for name in sorted(filter(None, _git(root, "ls-files", "-z").decode("utf-8", "surrogateescape").split("\0"))):
        source, target = root / name, folder / name
        if not source.is_file():
            continue  # deleted in the work tree, or a submodule
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(source.stat().st_mode & 0o777)
        os.utime(target, (0, 0))
        digest.update(f"{name}\0".encode("utf-8", "surrogateescape") + hashlib.sha256(target.read_bytes()).digest())
    return digest.hexdigest()


def export(root: Path, commit: str | None, folder: Path) -> Tree:
    """Fills an empty folder with what is to run.

    Args:
        root: The work tree.
        commit: Ships this commit's files; None ships the tracked files as they lie in the work tree.
        folder: Where to; it exists and is empty.

    Raises:
        GitError: git does not know the commit, or fails.
    """
    if commit is None:
        label = f"work tree {_copy_tracked(root, folder)[:12]}"
    else:
        _unpack(_git(root, "archive", "--format=tar", commit), folder)
        label = f"commit {commit}"
    lock = folder / LOCK_FILE
    if not lock.exists() and (root / LOCK_FILE).is_file():
        shutil.copyfile(root / LOCK_FILE, lock)
        os.utime(lock, (0, 0))
    files = [p for p in folder.rglob("*") if p.is_file()]
    return Tree(folder, label, len(files), sum(p.stat().st_size for p in files), lock.exists())


# ---------------------------------------------------------------------------------------------------------------
# The image's part of it


@dataclass(frozen=True)
class ImageSpec:
    """What decides how an image is built.

    Attributes:
        folder: Holds pyproject.toml, reduced to what the environment depends on, and uv.lock if there is one.
        python: Its version, as "3.11".
        extras: Extras of the project to install.
        locked: Whether uv.lock is there; else the pins of pyproject.toml are resolved in the image.
        key: The same key means the same image.
    """

    folder: Path
    python: str
    extras: tuple[str, ...]
    locked: bool
    key: str


def image_python(text: str) -> str:
    """The image's Python for a .python-version file's text; one that Modal takes."""
    found = re.match(r"\s*(?:cpython-)?(\d+)\.(\d+)", text)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    return f"{version[0]}.{version[1]}" if version >= settings.OLDEST_PYTHON else settings.FALLBACK_PYTHON


def reduced_project(text: str) -> tuple[str, bool]:
    """pyproject.toml without what no environment depends on (a comment must not reinstall torch).

    Returns:
        The reduced text, and whether it declares the extra with the kernels.

    Raises:
        ConfigurationError: the text is no TOML, or has no project in it; or the modal package is missing.
    """
    load_modal()
    import toml  # comes with modal; Python 3.10 has no reader of its own

    try:
        whole: dict[str, Any] = toml.loads(text)
        project = whole["project"]
        extras = project.get("optional-dependencies", {})
    except (toml.TomlDecodeError, KeyError, AttributeError) as error:
        raise ConfigurationError(f"{PROJECT_FILE} cannot be used ({error}).", "Mend and commit it.") from None
    kept = ("name", "version", "requires-python", "dependencies", "optional-dependencies")
    reduced: dict[str, Any] = {
        "project": {key: project[key] for key in kept if key in project},
        "dependency-groups": whole.get("dependency-groups", {}),
        "tool": {"uv": whole.get("tool", {}).get("uv", {})},
    }
    return toml.dumps(reduced), KERNELS_EXTRA in extras


def image_spec(tree: Tree, folder: Path) -> ImageSpec:
    """Writes what the image depends on into an empty folder.

    Raises:
        ConfigurationError: the commit has no usable pyproject.toml.
    """
    source = tree.folder / PROJECT_FILE
    if not source.is_file():
        raise ConfigurationError(f"The commit has no {PROJECT_FILE}.", "Commit one: the image is built from it.")
    project, with_kernels = reduced_project(source.read_text(encoding="utf-8"))
    version_file = tree.folder / ".python-version"
    python = image_python(version_file.read_text(encoding="utf-8") if version_file.is_file() else "")
    written = [folder / PROJECT_FILE]
    written[0].write_text(project, encoding="utf-8")
    if tree.locked:
        written.append(folder / LOCK_FILE)
        shutil.copyfile(tree.folder / LOCK_FILE, written[1])
    digest = hashlib.sha256(f"{python} {settings.UV_VERSION}\0".encode())
    for path in written:
        os.utime(path, (0, 0))
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return ImageSpec(folder, python, (KERNELS_EXTRA,) if with_kernels else (), tree.locked, digest.hexdigest()[:12])
