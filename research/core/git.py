"""Calls git, for every other module: reads what the repository holds, and makes the few changes that we make in it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from research.core.errors import ResearchError

GIT_TIMEOUT_S = 60.0
"""Limit of one git call: the slowest here takes well under a second; a network file system may take some."""

RUN_REFS = "refs/research/runs/"
"""Beginning of the names of the refs that keep every run's commit reachable."""


class GitError(ResearchError):
    """git is missing, refuses this repository, or failed."""


def _environment() -> Mapping[str, str]:
    # Hooks and aliases of an outer git command must not point us at another repository.
    hidden = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}


def _call(
    cwd: Path, *args: str, data: bytes | None = None, extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["git", "-C", str(cwd), *args],
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            timeout=GIT_TIMEOUT_S,
            env={**_environment(), **(extra or {})},
            check=False,
            start_new_session=True,  # a terminal's Ctrl-C is for us: a git that it ended would be a failure
        )
    except FileNotFoundError:
        raise GitError("git is not installed or not on PATH.", "Install git and try again.") from None
    except subprocess.TimeoutExpired:
        raise GitError(f"git {args[0]} did not answer within {GIT_TIMEOUT_S:.0f} s.", "Try again.") from None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _items(data: bytes) -> list[str]:
    """Split what an option -z separates by zero bytes."""
    return [item for item in _text(data).split("\x00") if item]


def find_root(cwd: Path) -> Path:
    """Find the top of the work tree that a folder is in."""
    done = _call(cwd, "rev-parse", "--show-toplevel")
    if done.returncode == 0:
        return Path(_text(done.stdout).rstrip("\n"))
    message = _text(done.stderr).strip()
    if "dubious ownership" in message:
        raise GitError(
            f"git refuses the repository at {cwd}: another user owns it.",
            "Type: git config --global --add safe.directory '*'",
        )
    raise GitError(f"{cwd} is not inside a git repository.", "Change into the repository (or: git init).")


def _ok(cwd: Path, *args: str, data: bytes | None = None, extra: Mapping[str, str] | None = None) -> bytes:
    """Return the output of a git call that has to work."""
    done = _call(cwd, *args, data=data, extra=extra)
    if done.returncode != 0:
        lines = [line for line in _text(done.stderr).splitlines() if line.strip()] or ["no message"]
        causes = [line for line in lines if not line.startswith(("warning:", "hint:"))] or lines
        raise GitError(f"git {args[0]} failed: {causes[0].rstrip('.')}.", "Mend that in git and try again.")
    return done.stdout


@dataclass(frozen=True)
class Head:
    """The commit and the branch that a work tree is at."""

    commit: str | None  # full hash, None without commits
    branch: str  # name, "" when detached


@dataclass(frozen=True)
class Commit:
    """One commit."""

    hash: str  # all 40 digits
    parent: str  # full hash of the first parent, "" for a root
    subject: str


@dataclass(frozen=True)
class FileChange:
    """The change that a commit made to one file against its first parent."""

    path: str
    additions: int  # lines, 0 for a binary file, like deletions
    deletions: int


def head(root: Path) -> Head:
    """Return the commit and branch of the work tree."""
    prefix = "refs/heads/"
    done = _call(root, "rev-parse", "HEAD", "--symbolic-full-name", "HEAD")
    if done.returncode == 0:
        commit, name = _text(done.stdout).splitlines()
        return Head(commit, name.removeprefix(prefix) if name.startswith(prefix) else "")
    name = _text(_call(root, "symbolic-ref", "-q", "HEAD").stdout).strip()  # no commit yet, or no repository
    return Head(None, name.removeprefix(prefix))


def resolve(root: Path, rev: str) -> str | None:
    """Return the full hash of the commit that a name means, None if it means none."""
    if rev.startswith("-"):
        return None
    done = _call(root, "rev-parse", "-q", "--verify", f"{rev}^{{commit}}")
    return _text(done.stdout).strip() if done.returncode == 0 else None


def commit(root: Path, rev: str) -> Commit:
    """Read one commit."""
    text = _text(_ok(root, "log", "-1", "--no-show-signature", "--format=%H%x00%P%x00%s", rev, "--"))
    name, parents, subject = text.rstrip("\n").split("\x00", 2)
    return Commit(name, parents.split(" ")[0], subject)


def changes(root: Path, of: Commit) -> tuple[FileChange, ...]:
    """List what a commit changed against its first parent; a root commit changed everything it holds."""
    base = [of.parent] if of.parent else [_text(_ok(root, "hash-object", "-t", "tree", "--stdin", data=b"")).strip()]
    found = []
    for line in _items(_ok(root, "diff-tree", "-r", "-z", "--no-renames", "--numstat", *base, of.hash, "--")):
        added, deleted, path = line.split("\t", 2)
        found.append(FileChange(path, *(int(n) if n.isdigit() else 0 for n in (added, deleted))))
    return tuple(found)


def differing(root: Path, paths: tuple[str, ...]) -> tuple[str, ...]:
    """List which of these files (or files under these folders) differ from HEAD, are staged, or hide from git.

    Untracked Python files count, since they would be imported, but not those in hidden folders, which are not.
    """
    listing = _ok(root, "status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--", *paths)
    found = [line for line in _items(listing) if line[:2] != "??" or (line.endswith(".py") and line[3] != ".")]
    return tuple(sorted({*(line[3:] for line in found), *hidden(root, paths)}))


def hidden(root: Path, paths: tuple[str, ...]) -> tuple[str, ...]:
    """List which of these files git was told not to look at (assume-unchanged, skip-worktree)."""
    return tuple(line[2:] for line in _items(_ok(root, "ls-files", "-v", "-z", "--", *paths)) if line[0] != "H")


def is_tracked(root: Path, path: str) -> bool:
    """Check whether HEAD's index knows this path."""
    return _call(root, "ls-files", "--error-unmatch", "--", path).returncode == 0


def blob(root: Path, rev: str, path: str) -> bytes | None:
    """Read a file's content in a commit, None if it is not there."""
    done = _call(root, "cat-file", "blob", f"{rev}:{path}")
    return done.stdout if done.returncode == 0 else None


def tree_listing(root: Path, rev: str, paths: tuple[str, ...]) -> bytes:
    """List modes, hashes and names of files in a commit: the same listing means the same content."""
    return _ok(root, "ls-tree", "-r", "-z", rev, "--", *paths)


def archive(root: Path, rev: str) -> bytes:
    """Return the files of a commit as a tar archive."""
    return _ok(root, "archive", "--format=tar", rev, "--")


def snapshot(root: Path) -> str:
    """Return a tree that holds the tracked files as they lie in the work tree; no branch and no file moves."""
    made = _text(_ok(root, "stash", "create", extra=author(root))).strip() or "HEAD"  # "" without changes
    return _text(_ok(root, "rev-parse", f"{made}^{{tree}}")).strip()


def keep_commit(root: Path, run: str, of: str) -> None:
    """Keep a run's commit reachable for good."""
    _ok(root, "update-ref", RUN_REFS + run, of)


def missing_commit(of: str) -> tuple[str, str]:
    """Return what to say where the commit of a run made elsewhere is not in the repository, and what to type."""
    fetch = f"git fetch PATH '{RUN_REFS}*:{RUN_REFS}*'"
    return f"The commit {of[:7]} is not in this repository.", f"Fetch it from the one that made it: {fetch}"


def branch_tip(root: Path, branch: str) -> str | None:
    """Return the full hash of a branch's tip, None without such a branch."""
    return resolve(root, f"refs/heads/{branch}")


def free_branch(root: Path, name: str) -> str:
    """Return the name for a new branch, with -2, -3 and so on where there is one of that name."""
    found, number = name, 1
    while branch_tip(root, found):
        number += 1
        found = f"{name}-{number}"
    return found


def is_ancestor(root: Path, older: str, newer: str) -> bool:
    """Check whether one commit is the other or an ancestor of it."""
    return _call(root, "merge-base", "--is-ancestor", older, newer).returncode == 0


def changed_files(root: Path) -> tuple[str, ...]:
    """List the tracked files that differ from HEAD or are staged."""
    listing = _ok(root, "status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=no")
    return tuple(line[3:] for line in _items(listing))


def how_to_clean(root: Path) -> str:
    """Return the commands after which no tracked file differs from HEAD; git stash leaves a submodule as it is."""
    listing = _ok(root, "status", "--porcelain=v2", "-z", "--no-renames", "--untracked-files=no")
    has_files = False
    staged: list[str] = []
    moved: list[str] = []
    edited: list[str] = []
    for line in _items(listing):
        if line[:2] != "1 ":
            continue
        # 1 <XY> <submodule: N... or S<commit><modified><untracked>> and five more words before the path
        _, xy, submodule, *_, path = line.split(" ", 8)
        if submodule[0] == "N":
            has_files = True
            continue
        if xy[0] != ".":
            staged.append(path)
        if xy[0] != "." or submodule[1] == "C":
            moved.append(path)
        if submodule[2] == "M":
            edited.append(path)
    steps = ["git stash"] if has_files else []
    steps += [f"git restore --staged {' '.join(staged)}"] if staged else []
    steps += [f"git -C {path} stash" for path in edited]
    steps += [f"git submodule update --init {' '.join(moved)}"] if moved else []
    return " && ".join(steps) or "git stash"


def unfinished(root: Path) -> str:
    """Name the operation that git is in the middle of ("merge", "rebase", ...), "" without one."""
    folder = Path(_text(_ok(root, "rev-parse", "--absolute-git-dir")).rstrip("\n"))
    signs = {
        "MERGE_HEAD": "merge", "rebase-merge": "rebase", "rebase-apply": "rebase",
        "CHERRY_PICK_HEAD": "cherry-pick", "REVERT_HEAD": "revert", "BISECT_LOG": "bisect",
    }  # fmt: skip
    return next((what for name, what in signs.items() if (folder / name).exists()), "")


def how_to_abort(doing: str) -> str:
    """Return the command that ends what git is in the middle of, as unfinished() names it."""
    return "git bisect reset" if doing == "bisect" else f"git {doing} --abort"


def folders(root: Path) -> tuple[Path, Path]:
    """Return the work tree's own git folder, and the one that all work trees share."""
    own, shared = _text(_ok(root, "rev-parse", "--absolute-git-dir", "--git-common-dir")).splitlines()
    return Path(own), (root / shared).resolve()


def worktree_of(root: Path, branch: str) -> Path | None:
    """Find the work tree that has this branch checked out, None if no one has."""
    place: Path | None = None
    for line in _items(_ok(root, "worktree", "list", "--porcelain", "-z")):
        if line.startswith("worktree "):
            place = Path(line[len("worktree ") :])
        elif line == f"branch refs/heads/{branch}":
            return place
    return None


def move_branch(root: Path, branch: str, new: str, old: str) -> None:
    """Set a branch to a commit; where it is checked out here, the clean work tree follows.

    Raises:
        GitError: if the branch is no longer at old, or if git can't make the work tree follow.
    """
    if head(root).branch != branch:
        _ok(root, "update-ref", "-m", "research settle", f"refs/heads/{branch}", new, old)
        return
    if branch_tip(root, branch) != old:
        raise GitError(f"{branch} moved while it was being settled.", "Type: uv run research settle")
    # To reset, a file that was saved unchanged or copied with its folder is an edited one until git has looked into it.
    _call(root, "update-index", "-q", "--refresh")
    _ok(root, "reset", "--quiet", "--keep", new)


def add_worktree(root: Path, place: Path, rev: str) -> None:
    """Check a commit out, detached, into a new folder."""
    _ok(root, "worktree", "add", "--quiet", "--detach", str(place), rev)


def remove_worktree(root: Path, place: Path) -> None:
    """Remove a work tree of ours, if it is there."""
    _call(root, "worktree", "remove", "--force", str(place))
    _call(root, "worktree", "prune")


def switch(root: Path, branch: str, is_new: bool = False) -> None:
    """Check out a branch; a new one is made at HEAD, and files stay as they are."""
    _ok(root, "switch", "--quiet", *(["--create"] if is_new else []), branch)


def checkout_detached(place: Path, rev: str) -> None:
    """Put a work tree of ours at a commit, whatever lay in it."""
    _ok(place, "checkout", "--quiet", "--force", "--detach", rev)
    _ok(place, "clean", "-fdxq", "--exclude=.venv")


def commit_file(root: Path, parent: str, path: str, content: bytes, message: str) -> str:
    """Make a commit that changes one top-level file of its parent, touching neither index nor work tree."""
    name = _text(_ok(root, "hash-object", "-w", "--stdin", data=content)).strip()
    entries = _ok(root, "ls-tree", "-z", parent).rstrip(b"\x00").split(b"\x00")
    ending = b"\t" + path.encode()
    mode = next((line.split(b" ")[0] for line in entries if line.endswith(ending)), b"100644")
    others = [line for line in entries if not line.endswith(ending)]
    listing = b"".join(line + b"\x00" for line in [*others, mode + b" blob " + name.encode() + ending])
    tree = _text(_ok(root, "mktree", "-z", data=listing)).strip()
    made = _ok(root, "commit-tree", tree, "-p", parent, data=message.encode(), extra=author(root))
    return _text(made).strip()


def merge_file(base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """Return two changes of a text together, None where they conflict."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (("ours", ours), ("base", base), ("theirs", theirs)):
            (Path(folder) / name).write_bytes(content)
        done = _call(Path(folder), "merge-file", "--stdout", "--quiet", "ours", "base", "theirs")
    return done.stdout if done.returncode == 0 else None


def author(root: Path) -> Mapping[str, str]:
    """Return the variables that name this tool as author, none where git knows one, so that a night needs no setup."""
    ident = ("var", "GIT_COMMITTER_IDENT")
    if _call(root, "-c", "user.useConfigOnly=true", *ident).returncode == 0:
        return {}
    if _call(root, *ident).returncode == 0 and _call(root, "config", "user.email").stdout:  # the name is the system's
        return {}
    roles = ("AUTHOR", "COMMITTER")
    names = {f"GIT_{role}_NAME": "autoresearch" for role in roles}
    return names | {f"GIT_{role}_EMAIL": "autoresearch@localhost" for role in roles}


def is_same_tree(root: Path, one: str, other: str) -> bool:
    """Check whether two commits hold the same files."""
    return _call(root, "diff-tree", "--quiet", "-r", one, other).returncode == 0


def patches(root: Path, commits: Iterable[str], path: str) -> dict[str, str]:
    """Return what each of these commits changed in one file, as hunks of a difference; unknown ones are left out."""
    names = "".join(f"{name}\n" for name in commits if name)
    options = ("--stdin", "-p", "--format=%x00%H", "--no-ext-diff", "--no-color", "--no-renames")
    text = _text(_call(root, "diff-tree", *options, "--", path, data=names.encode()).stdout)
    found = {}
    for part in text.split("\x00")[1:]:
        name, _, patch = part.partition("\n")
        _, hunk, rest = patch.partition("\n@@ ")
        if hunk:
            found[name] = "@@ " + rest.rstrip("\n")
    return found
