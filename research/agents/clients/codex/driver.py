"""One idea by Codex: a fresh ``codex exec`` in a work tree of its own, asked only to edit train.py and commit.

It launches nothing and judges nothing. What it came to is looked at in git, not believed: exactly one new commit, an
exp: subject, train.py alone, and a program that differs from its parent's. Whatever goes wrong has a name.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from research.agents.hooks.git_fast import git_folders
from research.code import fingerprint
from research.core import git
from research.core.settings import SETTINGS
from research.runs.preflight import TARGET

ENV_CODEX = "AUTORESEARCH_CODEX"
"""The codex program, where it is not on PATH."""
ENV_DRIVEN = "AUTORESEARCH_DRIVEN"
"""Tells the hooks that a driver runs, judges and settles."""


class Trouble(str, Enum):
    """Why an attempt came to no candidate."""

    missing = "codex is not installed"
    rate_limit = "the service refused because of a limit"
    login = "codex is not logged in"
    refusal = "codex declined"
    no_commit = "no commit was made"
    two_commits = "more than one commit was made"
    other_files = "the commit touches other files"
    subject = "the commit is no exp: commit"
    same_code = "the program is the same as before"
    unreadable = "train.py does not parse"
    timeout = "codex took too long"
    tokens = "codex used too many tokens"
    stopped = "the night was asked to stop"
    crash = "codex failed"


WAITS = frozenset({Trouble.rate_limit, Trouble.crash})
"""Failures of the service, for which waiting may help."""
HOPELESS = frozenset({Trouble.missing, Trouble.login, Trouble.stopped})
"""Failures that another attempt would only repeat."""


class CodexFailed(Exception):
    """No attempt came to a candidate.

    Args:
        trouble: The last attempt's.
        detail: What was seen, bounded.
        attempts: How many were made.
    """

    def __init__(self, trouble: Trouble, detail: str, attempts: int) -> None:
        super().__init__(f"{trouble.value}{': ' + detail if detail else ''} ({attempts} attempts)")
        self.trouble, self.detail, self.attempts = trouble, detail, attempts


@dataclass(frozen=True)
class Proposal:
    """A commit that changes train.py alone; its subject, its parent, and the tokens it took."""

    commit: str
    subject: str
    parent: str
    tokens: int


@dataclass(frozen=True)
class Ended:
    """How one codex exec ended: exit code (None when killed), its JSON lines, its stderr, and why it was killed."""

    code: int | None
    lines: tuple[str, ...]
    stderr: str
    killed: Trouble | None = None


Launcher = Callable[[Sequence[str], Path, str, Mapping[str, str], float, Callable[[], bool]], Ended]
"""Runs a command: words, folder, stdin, variables, seconds, and whether to give up."""


@dataclass(frozen=True)
class Task:
    """What Codex is asked for: the commit to start from, the brief, the emitter for the subject's tag."""

    parent: str
    brief: str
    emitter: str


@dataclass(frozen=True)
class World:
    """What a driver needs of the world; tests give their own."""

    launch: Launcher
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = lambda line: None
    stop: Callable[[], bool] = lambda: False


def find_codex(environment: Mapping[str, str]) -> str | None:
    """The codex program."""
    named = environment.get(ENV_CODEX)
    return shutil.which(named or "codex", path=environment.get("PATH"))


def prompt_of(task: Task) -> str:
    """What Codex is told: the brief, and the one thing to do with it."""
    return (
        f"{task.brief.strip()}\n\n"
        f"Carry out this one idea: edit {TARGET} only, then make exactly one commit:\n"
        f"git commit -m 'exp: WHAT YOU CHANGED [emitter={task.emitter}]' -- {TARGET}\n"
        "Do not run train.py, do not install anything, change no other file. A driver measures the commit. "
        "Check the syntax with `python -m py_compile train.py`. Then end your turn with one sentence."
    )


def command_of(codex: str, place: Path, folders: Sequence[str], options: Sequence[str] = ()) -> list[str]:
    """The command line: the work tree and the git folders can be written, nothing else; nobody is asked."""
    roots = json.dumps(list(folders))
    return [
        codex, "exec", "--json", "--skip-git-repo-check", "-C", str(place), "-s", "workspace-write",
        "-c", f"sandbox_workspace_write.writable_roots={roots}", "-c", 'approval_policy="never"', *options, "-",
    ]  # fmt: skip


class CodexDriver:
    """Gets proposals from Codex.

    Args:
        root: The repository.
        environment: Variables for codex.
        world: Launcher, clock and words.
        options: More options of codex exec (a model, a profile).
    """

    def __init__(
        self, root: Path, environment: Mapping[str, str], world: World | None = None, options: Sequence[str] = ()
    ) -> None:
        self._root, self._environment = root, {**environment, ENV_DRIVEN: "1"}
        self._world = world or World(launch_process)
        self._options = tuple(options)

    def propose(self, task: Task, attempts: int = SETTINGS.codex_attempts) -> Proposal:
        """Asks until there is a candidate or the attempts are used up.

        Raises:
            CodexFailed: with the last attempt's trouble; nothing in the repository was moved.
        """
        codex = find_codex(self._environment)
        if codex is None:
            raise CodexFailed(Trouble.missing, "npm install -g @openai/codex, then: codex login", 0)
        wait_s, brief = SETTINGS.codex_backoff_s, task.brief
        trouble, detail = Trouble.crash, ""
        for number in range(1, attempts + 1):
            asked = Task(task.parent, brief, task.emitter)
            found = self._once(codex, asked)
            if isinstance(found, Proposal):
                return found
            trouble, detail = found
            self._world.say(f"codex, attempt {number} of {attempts}: {trouble.value}. {detail}".strip())
            if trouble in HOPELESS or self._world.stop():
                raise CodexFailed(trouble, detail, number)
            if number == attempts:
                break
            if trouble in WAITS:
                self._world.sleep(wait_s)
                if self._world.stop():
                    raise CodexFailed(Trouble.stopped, "", number)
                wait_s = min(2 * wait_s, SETTINGS.max_codex_backoff_s)
            else:
                brief = f"{task.brief.strip()}\n\nAn earlier attempt failed: {trouble.value}. Avoid that."
        raise CodexFailed(trouble, detail, attempts)

    def _once(self, codex: str, task: Task) -> Proposal | tuple[Trouble, str]:
        with _work_tree(self._root, task.parent) as place:
            command = command_of(codex, place, git_folders(str(place)), self._options)
            limit_s = SETTINGS.codex_minutes * 60
            ended = self._world.launch(command, place, prompt_of(task), self._environment, limit_s, self._world.stop)
            tokens = tokens_of(ended.lines)
            found = _inspect(self._root, place, task.parent, tokens)
            if isinstance(found, Proposal):
                return found  # a commit that is right is right, however codex ended
            trouble = _named(ended)
            if trouble is not None and found[0] is Trouble.no_commit:
                return trouble, _detail(ended)
            return found


def _inspect(root: Path, place: Path, parent: str, tokens: int) -> Proposal | tuple[Trouble, str]:
    """Looks at what is in the work tree now."""
    head = git.head(place).commit
    if head is None or head == parent:
        changed = ", ".join(git.changed_files(place)[:5])
        return Trouble.no_commit, f"changed but not committed: {changed}" if changed else ""
    commit = git.commit(root, head)
    if commit.parent != parent:
        return Trouble.two_commits, ""
    others = [change.path for change in git.changes(root, commit) if change.path != TARGET]
    if others:
        return Trouble.other_files, ", ".join(others[:5])
    if not commit.subject.startswith("exp:"):
        return Trouble.subject, commit.subject[:80]
    text, before = git.blob(root, head, TARGET) or b"", git.blob(root, parent, TARGET) or b""
    try:
        if fingerprint.fingerprint(text) == fingerprint.fingerprint(before):
            return Trouble.same_code, ""
    except SyntaxError as error:
        return Trouble.unreadable, f"line {error.lineno}"
    return Proposal(head, commit.subject, parent, tokens)


_LIMIT = re.compile(r"rate.?limit|usage limit|quota|too many requests|\b429\b|overloaded|\b503\b", re.I)
_LOGIN = re.compile(r"\b401\b|not logged in|unauthorized|login|api key", re.I)
_REFUSED = re.compile(r"\bI (?:can(?:'|no)t|won't|am unable to|'m unable to)\b|cannot help with|policy", re.I)


def _named(ended: Ended) -> Trouble | None:
    """What an end without a commit was, None for an ordinary one."""
    if ended.killed:
        return ended.killed
    events: list[dict[str, Any]] = [event for event in map(_event, ended.lines) if event]
    errors = " ".join(json.dumps(event) for event in events if event.get("type") in ("error", "turn.failed"))
    if ended.code == 0 and not errors:
        last = [e["item"].get("text", "") for e in events if isinstance(e.get("item"), dict)]
        return Trouble.refusal if last and _REFUSED.search(str(last[-1])) else None
    text = f"{errors} {ended.stderr[-4000:]}"
    if _LIMIT.search(text):
        return Trouble.rate_limit
    return Trouble.login if _LOGIN.search(text) else Trouble.crash if ended.code else None


def _detail(ended: Ended) -> str:
    lines = [line for line in ended.stderr.strip().splitlines() if line.strip()]
    return " ".join("".join(c if c.isprintable() else " " for c in (lines or [""])[-1]).split())[:200]


def _event(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def tokens_of(lines: Sequence[str]) -> int:
    """Tokens that the turns said they used."""
    total = 0
    for event in map(_event, lines):
        usage = event.get("usage")
        if event.get("type") == "turn.completed" and isinstance(usage, dict):
            total += sum(int(usage.get(name) or 0) for name in ("input_tokens", "output_tokens"))
    return total


@contextmanager
def _work_tree(root: Path, parent: str) -> Iterator[Path]:
    """The parent in a work tree of its own, taken away again afterwards; its commits stay in the repository."""
    place = root / "worktrees" / f"codex-{parent[:12]}-{os.getpid()}-{time.monotonic_ns() % 10**6}"
    git.add_worktree(root, place, parent)
    try:
        yield place
    finally:
        git.remove_worktree(root, place)


def launch_process(
    command: Sequence[str], cwd: Path, stdin: str, environment: Mapping[str, str], limit_s: float,
    stop: Callable[[], bool],
) -> Ended:  # fmt: skip
    """Runs codex in a process group of its own, ended whole at the limit, when asked to stop, or when out of tokens."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given:
        given.write(stdin.encode())
        given.seek(0)
        child = subprocess.Popen(
            list(command), cwd=cwd, stdin=given, stdout=out, stderr=err, env=dict(environment), start_new_session=True
        )
        killed, deadline = None, time.monotonic() + limit_s
        while child.poll() is None:
            if time.monotonic() > deadline:
                killed = Trouble.timeout
            elif stop():
                killed = Trouble.stopped
            elif tokens_of(_lines(out)) > SETTINGS.codex_tokens:
                killed = Trouble.tokens
            if killed:
                _end(child)
                break
            time.sleep(0.2)
        return Ended(None if killed else child.returncode, _lines(out), "\n".join(_lines(err)), killed)


def _lines(file: object) -> tuple[str, ...]:
    size = os.fstat(file.fileno()).st_size  # type: ignore[attr-defined]
    return tuple(os.pread(file.fileno(), size, 0).decode("utf-8", "replace").splitlines())  # type: ignore[attr-defined]


def _end(child: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        try:
            child.wait(SETTINGS.kill_grace_s)
            break
        except subprocess.TimeoutExpired:
            continue
    child.wait()
