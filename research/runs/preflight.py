"""Refuses, before anything costs GPU time, what must not run, each with its reason and what to type next."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from research.code import fingerprint as source
from research.code.syntax_tree import parse
from research.core import git
from research.core.commands import commit_command, git_commit, put_away_command
from research.core.commit_message import EXPERIMENT, emitter_of
from research.core.contract import BRANCHES, PROTECTED
from research.core.errors import ResearchError
from research.core.records import Run
from research.core.text import first_few
from research.runs.modules import is_installed

TARGET = "train.py"
_NAMED = 5
"""Files that a message names one by one."""
BENCHMARK = ("prepare.py", "research/benchmark")
"""What a contract's fingerprint covers: scores are compared only where these are the same."""

COMMAND = ("uv", "run", "train.py")
"""The one command that is recorded."""


class Refused(ResearchError):
    """Nothing was launched, because what would run is not what would be recorded."""

    exit_code = 3


@dataclass(frozen=True)
class Candidate:
    """What would run.

    Attributes:
        commit: HEAD's commit, None in a repository without commits.
        branch: Its branch, "" when detached.
        text: train.py as it lies in the work tree.
        fingerprint: Hash of its syntax tree.
        train_sha256: Hash of its bytes.
        benchmark_sha256: Hash of prepare.py and research/benchmark, "" without either.
        harness: Hash of prepare.py and the harness in the commit.
        paths: Paths that the commit changed against its parent.
        additions: Lines that it added to train.py.
        deletions: Lines that it deleted from train.py.
    """

    commit: git.Commit
    branch: str
    text: bytes
    fingerprint: str
    train_sha256: str
    benchmark_sha256: str
    harness: str
    paths: tuple[str, ...]
    additions: int
    deletions: int

    @property
    def is_experiment(self) -> bool:
        """Whether the commit's subject marks it as one."""
        return self.commit.subject.startswith(EXPERIMENT)

    @property
    def emitter(self) -> str | None:
        """The emitter that the subject's tag names."""
        return emitter_of(self.commit.subject)


def harness_digest(root: Path, rev: str) -> str:
    """Hashes the protected files in a commit."""
    return hashlib.sha256(git.tree_listing(root, rev, PROTECTED)).hexdigest()


def examine(root: Path, rev: str | None = None) -> Candidate:
    """Reads what would run, without running any of it.

    Args:
        root: The work tree.
        rev: A commit to read instead of the work tree's train.py at HEAD.

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
        raise Refused(
            "This repository has no commit yet.", f"Commit train.py first: git add -A && {git_commit(root)} -m base"
        )
    commit = git.commit(root, name)
    text = git.blob(root, commit.hash, TARGET) if rev else _read(root / TARGET)
    if text is None:
        raise Refused(f"There is no {TARGET} in {root}.", "Change into the repository that holds it.")
    try:
        fingerprint = source.fingerprint(text)
    except SyntaxError as error:
        line = f" in line {error.lineno}" if error.lineno else ""
        then = f"Mend it, then type: {git_commit(root)} --amend --no-edit -- {TARGET}"
        raise Refused(f"{TARGET} does not parse: {error.msg}{line}.", then) from None
    changes = git.changes(root, commit)
    mine = next((change for change in changes if change.path == TARGET), git.Change(TARGET, 0, 0))
    return Candidate(
        commit=commit,
        branch=where.branch,
        text=text,
        fingerprint=fingerprint,
        train_sha256=hashlib.sha256(text).hexdigest(),
        benchmark_sha256=_digest(_committed(root, commit.hash) if rev else _present(root)),
        harness=harness_digest(root, commit.hash),
        paths=tuple(change.path for change in changes),
        additions=mine.additions,
        deletions=mine.deletions,
    )


def _committed(root: Path, rev: str) -> dict[str, bytes]:
    """Read the files of the benchmark in a commit."""
    entries = git.tree_listing(root, rev, BENCHMARK).decode("utf-8", "surrogateescape").split("\0")
    paths = [entry.partition("\t")[2] for entry in entries if entry]
    return {path: git.blob(root, rev, path) or b"" for path in paths}


def _present(root: Path) -> dict[str, bytes]:
    """Read the files of the benchmark as they are in the work tree."""
    found = [root / name for name in BENCHMARK if (root / name).is_file()]
    found += [path for name in BENCHMARK for path in sorted((root / name).rglob("*.py"))]
    return {path.relative_to(root).as_posix(): _read(path) or b"" for path in found}


def _digest(files: Mapping[str, bytes]) -> str:
    """Return a hash of files' names and contents, "" for none."""
    digest = hashlib.sha256()
    for path, content in sorted(files.items()):
        digest.update(f"{path} {hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest() if files else ""


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def check_tree(root: Path, candidate: Candidate) -> None:
    """Checks that what runs is what the commit holds.

    Raises:
        Refused: if train.py or a protected file (PROTECTED) differs from HEAD or is staged.
    """
    changed = git.differing(root, (TARGET, *PROTECTED))
    committed = {TARGET: git.blob(root, candidate.commit.hash, TARGET), **_committed(root, candidate.commit.hash)}
    present = {TARGET: candidate.text, **_present(root)}
    for path in sorted({*committed, *present}):
        if _lines(committed.get(path)) != _lines(present.get(path)) and path not in changed:
            changed = (*changed, path)  # git has been set not to look at it
    if changed:
        shown = ", ".join(first_few(changed, 5))
        raise Refused(f"{shown} {'differ' if len(changed) > 1 else 'differs'} from HEAD.", _mended(root, changed))


def _mended(root: Path, changed: Sequence[str]) -> str:
    """Says what to type about files that differ: only train.py may be an experiment."""
    if secret := git.hidden(root, tuple(changed)):
        flags = ("assume-unchanged", "skip-worktree")
        show = " && ".join(f"git update-index --no-{flag} -- {shlex.join(secret)}" for flag in flags)
        return f"Git was told not to look at {', '.join(secret[:5])}. Type: {show}"
    if set(changed) == {TARGET}:
        back = f"git restore --staged --worktree {TARGET}"
        return f"Type: {commit_command(root)}; or put it back: {back}; or --allow-dirty runs it unscored."
    return f"Type: {_put_away(changed)}; or --allow-dirty runs it unscored."


def _put_away(changed: Sequence[str]) -> str:
    """Returns the command that puts changes of other files than train.py away."""
    paths = [path for path in changed if path != TARGET]
    return put_away_command(paths if len(paths) <= _NAMED else sorted({path.split("/")[0] for path in paths}))


def _lines(content: bytes | None) -> bytes | None:
    return None if content is None else content.replace(b"\r\n", b"\n")


def check_commit(root: Path, candidate: Candidate, baseline: Run | None, known: bool) -> None:
    """Checks that an experiment changes train.py alone.

    Args:
        root: The work tree.
        candidate: What would run.
        baseline: The baseline that it would be compared with, None when it becomes the baseline itself.
        known: Whether this very commit was measured before.

    Raises:
        Refused: if HEAD touches more, or its prepare.py or harness are not the baseline's.
    """
    others = [path for path in candidate.paths if path != TARGET]
    if others and not known and (baseline or candidate.is_experiment):
        then = f"Commit an experiment on top of it: {commit_command(root)}"
        if candidate.is_experiment:
            again = f" && {git_commit(root)} -m {shlex.quote(candidate.commit.subject)} -- {TARGET}"
            again = again if TARGET in candidate.paths else ""
            then = f"Make it a commit of {TARGET} alone: git reset --soft HEAD^ && {_put_away(others)}{again}"
        raise Refused(f"HEAD touches more than {TARGET}: {', '.join(others[:_NAMED])}.", then)
    if baseline and baseline.harness and baseline.harness != candidate.harness:
        branch = f"{candidate.branch or BRANCHES + 'new'}-{candidate.harness[:4]}"
        raise Refused(
            f"prepare.py or the harness is not the baseline's ({baseline.run}).",
            f"Start a branch with a baseline of its own, and launch again: git checkout -b {branch}",
        )


def check_parent(root: Path, candidate: Candidate, measured: Sequence[Run]) -> None:
    """Checks that an experiment is not credited with what another kind of commit below it did to train.py.

    Args:
        root: The work tree.
        candidate: What would run.
        measured: The counted runs, of other branches too, in order of start.

    Raises:
        Refused: if the experiment stands on a commit that is none and whose train.py was not measured.
    """
    commits, programs = {run.commit for run in measured}, {run.fingerprint for run in measured}
    parent = candidate.commit.parent
    while parent and parent not in commits:
        below = git.commit(root, parent)
        if not below.subject.startswith(EXPERIMENT):
            if _program(root, parent) not in programs:
                raise Refused(
                    f"HEAD stands on {parent[:7]}, which changed {TARGET}, was not measured, and is no {EXPERIMENT} "
                    "commit: the run would credit both changes to this experiment.",
                    _on_measured(root, candidate, measured),
                )
            return
        parent = below.parent


def _program(root: Path, commit: str) -> str | None:
    """Returns the fingerprint of a commit's train.py, None without one that can be read."""
    try:
        return source.fingerprint(git.blob(root, commit, TARGET) or b"")
    except SyntaxError:
        return None


def _on_measured(root: Path, candidate: Candidate, measured: Sequence[Run]) -> str:
    """Says how HEAD becomes one experiment on a commit that was measured, or the baseline of a branch of its own."""
    head = candidate.commit
    base = next((run.commit for run in reversed(measured) if git.is_ancestor(root, run.commit, head.hash)), None)
    if base is None:
        branch = f"{candidate.branch or BRANCHES + 'new'}-{head.hash[:4]}"
        return f"Start a branch with a baseline of its own, and launch again: git checkout -b {branch}"
    again = f"{git_commit(root)} -m {shlex.quote(head.subject)} -- {TARGET}"
    return f"Make both one experiment on {base[:7]}: git reset --soft {base[:7]} && {again}"


def check_imports(root: Path, candidate: Candidate, environment: Mapping[str, str]) -> None:
    """Checks that what train.py imports in any case is there.

    Raises:
        Refused: if a module, or a name of a local module, can't be found.
    """
    for item in source.imports(parse(candidate.text)):
        top = item.module.split(".")[0]
        local = next((path for path in (f"{top}.py", f"{top}/__init__.py") if (root / path).is_file()), None)
        if local is None:
            if not is_installed(root, top, environment):
                raise Refused(
                    f"{TARGET} line {item.line} imports {item.module}, which is not installed.",
                    "Use what is there: experiments add no dependencies.",
                )
            continue
        if not git.is_tracked(root, local):
            raise Refused(
                f"{TARGET} line {item.line} imports {item.module} from {local}, which is not in the commit.",
                f"Put its content into {TARGET}, or delete {local}.",
            )
        _check_names(root / local, item)


def _check_names(path: Path, item: source.Import) -> None:
    """Checks that the names taken from a local module are defined there."""
    if "." in item.module:
        return
    try:
        names = source.defined_names(parse(path.read_bytes()))
    except (OSError, SyntaxError):
        return
    if path.name == "__init__.py" or names is None:
        return
    missing = [name for name in item.names if name != "*" and name not in names]
    if missing:
        raise Refused(
            f"{TARGET} line {item.line} imports {', '.join(missing)} from {item.module}, which has no such name.",
            f"See what {path.name} offers: grep -n '^def\\|^[A-Z_]* =' {path.name}",
        )
