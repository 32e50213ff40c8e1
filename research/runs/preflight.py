"""Refuses launches that must not be made, before they cost GPU time, with the reason and what to type next."""

from __future__ import annotations

import hashlib
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from research.code.fingerprint import fingerprint
from research.code.imports import defined_names, module_imports
from research.code.syntax_tree import parse
from research.core import git
from research.core.commands import (
    MAX_NAMED,
    commit_command,
    first_commit_command,
    git_commit,
    paths_to_type,
    put_away_command,
)
from research.core.commit_message import EXPERIMENT
from research.core.contract import BRANCHES, PROTECTED
from research.core.errors import ResearchError
from research.core.records import Run
from research.core.text import first_few

TARGET = "train.py"
COMMAND = ("uv", "run", "train.py")
"""The one command that is recorded."""
BENCHMARK = ("prepare.py", "research/benchmark")
"""The files that a contract's fingerprint covers: scores are compared only where these are the same."""


class Refused(ResearchError):
    """Nothing was launched, because what would run is not what would be recorded."""

    exit_code = 3


@dataclass(frozen=True)
class Candidate:
    """A commit that may be launched, with everything about its code that is read before."""

    commit: git.Commit
    branch: str  # the current one, "" when detached
    text: bytes  # train.py as it lies in the work tree
    fingerprint: str  # hash of its syntax tree
    train_sha256: str
    benchmark_sha256: str  # hash of prepare.py and research/benchmark in the commit
    harness: str  # hash of the protected files in the commit
    paths: tuple[str, ...]  # files that the commit changed against its parent
    additions: int  # lines that it added to train.py
    deletions: int

    @property
    def is_experiment(self) -> bool:
        """Return whether the commit's subject marks it as an experiment."""
        return self.commit.subject.startswith(EXPERIMENT)


def examine(root: Path, rev: str | None = None) -> Candidate:
    """Read a commit, or by default HEAD with the work tree's train.py, as a candidate; nothing of it is run.

    Raises:
        Refused: if there is no commit, no train.py, or one that does not parse.
        GitError: if git fails.
    """
    where = git.head(root)
    name = rev or where.commit
    if name is None:
        try:
            git.find_root(root)
        except git.GitError as error:
            raise Refused(error.what, error.next) from None
        then = f"Commit train.py first: {first_commit_command(root)}"
        raise Refused("This repository has no commit yet.", then)
    commit = git.commit(root, name)
    text = git.blob(root, commit.hash, TARGET) if rev else _read(root / TARGET)
    if text is None:
        raise Refused(f"There is no {TARGET} in {root}.", "Change into the repository that holds it.")
    try:
        identity = fingerprint(text)
    except SyntaxError as error:
        line = f" in line {error.lineno}" if error.lineno else ""
        then = f"Mend it, then type: {git_commit(root)} --amend --no-edit -- {TARGET}"
        raise Refused(f"{TARGET} does not parse: {error.msg}{line}.", then) from None
    changes = {change.path: change for change in git.changes(root, commit)}
    mine = changes.get(TARGET)
    return Candidate(
        commit=commit,
        branch=where.branch,
        text=text,
        fingerprint=identity,
        train_sha256=hashlib.sha256(text).hexdigest(),
        benchmark_sha256=_digest(root, commit.hash, BENCHMARK),
        harness=_digest(root, commit.hash, PROTECTED),
        paths=tuple(changes),
        additions=mine.additions if mine else 0,
        deletions=mine.deletions if mine else 0,
    )


def _digest(root: Path, rev: str, paths: tuple[str, ...]) -> str:
    return hashlib.sha256(git.tree_listing(root, rev, paths)).hexdigest()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def check_tree(root: Path) -> None:
    """Refuse a train.py or a protected file that differs from HEAD or is staged."""
    if changed := git.differing(root, (TARGET, *PROTECTED)):
        shown = ", ".join(first_few(changed, MAX_NAMED))
        raise Refused(f"{shown} {'differ' if len(changed) > 1 else 'differs'} from HEAD.", _mended(root, changed))


def _mended(root: Path, changed: Sequence[str]) -> str:
    """Return what to type about files that differ: only train.py may be an experiment."""
    if secret := git.hidden(root, tuple(changed)):
        flags = ("assume-unchanged", "skip-worktree")
        show = " && ".join(f"git update-index --no-{flag} -- {shlex.join(secret)}" for flag in flags)
        return f"Git was told not to look at {', '.join(secret[:MAX_NAMED])}. Type: {show}"
    if list(changed) == [TARGET]:
        back = f"git restore --staged --worktree {TARGET}"
        return f"Type: {commit_command(root)}; or put it back: {back}; or --allow-dirty runs it unscored."
    return f"Type: {_put_away(changed)}; or --allow-dirty runs it unscored."


def _put_away(changed: Sequence[str]) -> str:
    """Return the command that puts changes of other files than train.py away."""
    paths = [path for path in changed if path != TARGET]
    return put_away_command(paths_to_type(paths))


def check_commit(root: Path, candidate: Candidate, baseline: Run | None, known: bool) -> None:
    """Refuse a commit that touches more than train.py, or whose protected files are not the baseline's.

    Other files are allowed without a baseline, since the commit becomes it, and to a known commit, measured before.
    """
    others = [path for path in candidate.paths if path != TARGET]
    is_foreign = baseline and baseline.harness and baseline.harness != candidate.harness
    if others and not known and (candidate.is_experiment or (baseline and not is_foreign)):
        then = f"Commit an experiment on top of it: {commit_command(root)}"
        if candidate.is_experiment:
            again = f" && {_commit_again(root, candidate)}" if TARGET in candidate.paths else ""
            then = f"Make it a commit of {TARGET} alone: git reset --soft HEAD^ && {_put_away(others)}{again}"
        raise Refused(f"HEAD touches more than {TARGET}: {', '.join(others[:MAX_NAMED])}.", then)
    if baseline and is_foreign:
        what = f"prepare.py or the harness is not the baseline's ({baseline.run})."
        raise Refused(what, _start_branch(candidate, candidate.harness))


def _commit_again(root: Path, candidate: Candidate) -> str:
    return f"{git_commit(root)} -m {shlex.quote(candidate.commit.subject)} -- {TARGET}"


def _start_branch(candidate: Candidate, token: str) -> str:
    branch = f"{candidate.branch or BRANCHES + 'new'}-{token[:4]}"
    return f"Start a branch with a baseline of its own, and launch again: git checkout -b {branch}"


def check_parent(root: Path, candidate: Candidate, measured: Sequence[Run]) -> None:
    """Refuse an experiment that would be credited with what another kind of commit below it did to train.py.

    What was measured are the counted runs, of other branches too, in order of start.
    """
    commits = {run.commit for run in measured}
    below = candidate.commit
    while below.parent and below.parent not in commits:
        below = git.commit(root, below.parent)
        if below.subject.startswith(EXPERIMENT):
            continue
        if _fingerprint(root, below.hash) in {run.fingerprint for run in measured}:
            return
        what = (
            f"HEAD stands on {below.hash[:7]}, which changed {TARGET}, was not measured, and is no {EXPERIMENT} "
            "commit: the run would credit both changes to this experiment."
        )
        head = candidate.commit.hash
        base = next((run.commit[:7] for run in reversed(measured) if git.is_ancestor(root, run.commit, head)), None)
        if base is None:
            raise Refused(what, _start_branch(candidate, head))
        again = _commit_again(root, candidate)
        raise Refused(what, f"Make both one experiment on {base}: git reset --soft {base} && {again}")


def _fingerprint(root: Path, commit: str) -> str | None:
    """Return the fingerprint of a commit's train.py, None without one that can be read."""
    try:
        return fingerprint(git.blob(root, commit, TARGET) or b"")
    except SyntaxError:
        return None


def check_imports(root: Path, candidate: Candidate, environment: Mapping[str, str]) -> None:
    """Refuse a train.py that imports, in any case, a module or a name of a local module that can't be found."""
    for item in module_imports(parse(candidate.text)):
        top = item.module.split(".")[0]
        imports = f"{TARGET} line {item.line} imports"
        local = next((path for path in (f"{top}.py", f"{top}/__init__.py") if (root / path).is_file()), None)
        if local is None:
            if not is_installed(root, top, environment):
                what = f"{imports} {item.module}, which is not installed."
                raise Refused(what, "Use what is there: experiments add no dependencies.")
        elif not git.is_tracked(root, local):
            what = f"{imports} {item.module} from {local}, which is not in the commit."
            raise Refused(what, f"Put its content into {TARGET}, or delete {local}.")
        elif local == f"{item.module}.py" and (missing := _missing(root / local, item.names)):
            what = f"{imports} {', '.join(missing)} from {item.module}, which has no such name."
            raise Refused(what, f"See what {local} offers: grep -n '^def\\|^[A-Z_]* =' {local}")


def _missing(path: Path, names: Sequence[str]) -> list[str]:
    """List the names that a local module does not define; none where that can't be known."""
    try:
        defined = defined_names(parse(path.read_bytes()))
    except (OSError, SyntaxError):
        return []
    return [name for name in names if defined is not None and name != "*" and name not in defined]


def is_installed(root: Path, name: str, environment: Mapping[str, str]) -> bool:
    """Check, without importing anything, whether a top-level module is built in, installed, or about to be by uv."""
    if name in sys.stdlib_module_names:
        return True
    venv = root / (environment.get("UV_PROJECT_ENVIRONMENT") or ".venv")
    settings = _read(venv / "pyvenv.cfg")
    places = list(venv.glob("lib/python3*/site-packages"))
    links = [link for place in places for link in place.glob("*.pth")]  # of editable installs
    for link in links:
        places += [link.parent / line for line in link.read_text("utf-8", "replace").splitlines() if line.strip()]
    if settings is None or re.search(rb"include-system-site-packages\s*=\s*true", settings, re.I):
        places += [Path(entry) for entry in sys.path if entry]
    if PathFinder.find_spec(name, [str(place) for place in places]) is not None:
        return True
    wanted = re.escape(name).replace("_", "[-_.]")
    declared = (_read(root / "pyproject.toml") or b"").decode("utf-8", "replace")
    return settings is None and bool(re.search(rf"[\"']{wanted}\s*[\"'<>=!~;\[ ]", declared, re.I))
