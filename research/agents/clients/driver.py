"""Gets one idea from a coding client: a fresh session in its own work tree, asked only to edit train.py and commit.

It launches nothing and judges nothing. What it came to is looked up in git: exactly one new commit, an exp: subject,
train.py alone, and a program that differs from its parent's. Whatever goes wrong has a name.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO

from research.agents.clients.base import ENV_DRIVEN, NOTHING_USED, Client, Failed, SessionEnd, Trouble, Usage
from research.code import fingerprint
from research.core import git
from research.core.clock import system_clock
from research.core.commit_message import EXPERIMENT
from research.core.settings import SETTINGS
from research.core.text import count_of
from research.runs.preflight import TARGET

WAITS = frozenset({Trouble.limit, Trouble.service})
"""Failures of the service, which end by themselves."""
OUTSIDE = frozenset({*WAITS, Trouble.missing, Trouble.login, Trouble.stopped, Trouble.crash})
"""Failures that are not the idea's: another attempt at once would only repeat them."""


class NoProposal(Exception):
    """No attempt came to a candidate.

    Args:
        client: Name of the client.
        failed: The last attempt.
        attempts: How many were made.
        usage: What they used.
    """

    def __init__(self, client: str, failed: Failed, attempts: int, usage: Usage = NOTHING_USED) -> None:
        detail = f": {failed.detail}" if failed.detail else ""
        super().__init__(f"{client}: {failed.trouble.value}{detail} ({count_of(attempts, 'attempt')})")
        self.trouble, self.limit_ends = failed.trouble, failed.limit_ends
        self.attempts, self.usage = attempts, usage


@dataclass(frozen=True)
class Task:
    """What a client is asked for: the commit to start from, the brief, the emitter for the subject's tag."""

    parent: str
    brief: str
    emitter: str


@dataclass(frozen=True)
class Proposal:
    """A commit that changes train.py alone; its subject, its parent, and what it took, failed attempts included."""

    commit: str
    subject: str
    parent: str
    usage: Usage = NOTHING_USED


@dataclass(frozen=True)
class Session:
    """One session to be launched: its command line, folder, prompt and variables."""

    command: Sequence[str]
    place: Path
    prompt: str
    environment: Mapping[str, str]


GiveUp = Callable[[Sequence[str]], Trouble | None]
"""Looks at a session's lines so far; returns why it has to be killed, None while it may go on."""


@dataclass(frozen=True)
class World:
    """What a driver needs of the world; tests give their own."""

    launch: Callable[[Session, GiveUp], SessionEnd]
    say: Callable[[str], None] = lambda line: None
    stop: Callable[[], bool] = lambda: False
    clock: Callable[[], datetime] = system_clock


def prompt_of(task: Task) -> str:
    """Return what the agent is told: the brief, and the one thing to do with it."""
    return (
        f"{task.brief.strip()}\n\n"
        f"Carry out this one idea: edit {TARGET} only, then make exactly one commit:\n"
        f"git commit -m '{EXPERIMENT} WHAT [emitter={task.emitter}]' -- {TARGET}\n"
        f"Do not run {TARGET}, do not install anything, change no other file. A driver measures the commit. "
        f"Check the syntax with `python3 -m py_compile {TARGET}`. Then end your turn with one sentence."
    )


class Driver:
    """Gets proposals from a client.

    Args:
        client: The client.
        root: The repository.
        environment: Variables for it.
        world: Launcher, clock and words.
        options: More options of its command line (a model, a profile).
    """

    def __init__(
        self,
        client: Client,
        root: Path,
        environment: Mapping[str, str],
        world: World | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self._client, self._root, self._options = client, root, tuple(options)
        self._environment = {**git.author(root), **environment, ENV_DRIVEN: "1"}
        self._world = world or World(launch_process)

    def propose(self, task: Task, attempts: int = SETTINGS.client_attempts) -> Proposal:
        """Ask until there is a candidate or the attempts are used up.

        Raises:
            NoProposal: with the last attempt's trouble; nothing in the repository was moved.
        """
        client, world = self._client, self._world
        program = client.program(self._environment)
        if program is None:
            raise NoProposal(client.name, Failed(Trouble.missing, client.install), 0)
        asked, usage, failed = task, NOTHING_USED, Failed(Trouble.crash)
        for number in range(1, attempts + 1):
            found, used = self._attempt(program, asked)
            usage += used
            if isinstance(found, Proposal):
                return replace(found, usage=usage)
            failed, trouble = found, found.trouble
            world.say(f"{client.name}, attempt {number} of {attempts}: {trouble.value}. {failed.detail}".strip())
            if trouble in OUTSIDE or world.stop():
                raise NoProposal(client.name, failed, number, usage)
            brief = f"{task.brief.strip()}\n\nAn earlier attempt failed: {trouble.value}. Avoid that."
            asked = replace(task, brief=brief)
        raise NoProposal(client.name, failed, attempts, usage)

    def _attempt(self, program: str, task: Task) -> tuple[Proposal | Failed, Usage]:
        """Ask once; a commit that is right is right, however the session ended."""
        client = self._client
        deadline = time.monotonic() + SETTINGS.client_minutes * 60

        def give_up(lines: Sequence[str]) -> Trouble | None:
            if time.monotonic() > deadline:
                return Trouble.timeout
            if self._world.stop():
                return Trouble.stopped
            return Trouble.tokens if client.usage(lines).tokens > SETTINGS.client_tokens else None

        with _work_tree(self._root, task.parent) as place:
            command = client.command(program, place, git.folders(place), self._options)
            end = self._world.launch(Session(command, place, prompt_of(task), self._environment), give_up)
            found = _inspect(self._root, place, task.parent)
        if isinstance(found, Failed) and found.trouble is Trouble.no_commit:
            failed = client.failure(end, self._world.clock())
            found = replace(failed, detail=_one_line(failed.detail)) if failed else found
        return found, client.usage(end.lines)


def _inspect(root: Path, place: Path, parent: str) -> Proposal | Failed:
    """Return the proposal that is in the work tree now, or what is wrong with it."""
    head = git.head(place).commit
    if head is None or head == parent:
        changed = ", ".join(git.changed_files(place)[:5])
        return Failed(Trouble.no_commit, f"changed but not committed: {changed}" if changed else "")
    commit = git.commit(root, head)
    if commit.parent != parent:
        return Failed(Trouble.two_commits)
    others = [change.path for change in git.changes(root, commit) if change.path != TARGET]
    if others:
        return Failed(Trouble.other_files, ", ".join(others[:5]))
    if not commit.subject.startswith(EXPERIMENT):
        return Failed(Trouble.subject, commit.subject[:80])
    text, before = git.blob(root, head, TARGET) or b"", git.blob(root, parent, TARGET) or b""
    try:
        if fingerprint.fingerprint(text) == fingerprint.fingerprint(before):
            return Failed(Trouble.same_code)
    except SyntaxError as error:
        return Failed(Trouble.unreadable, f"line {error.lineno}")
    return Proposal(head, commit.subject, parent)


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


@contextmanager
def _work_tree(root: Path, parent: str) -> Iterator[Path]:
    """Check the parent out into a work tree that is removed afterwards; its commits stay in the repository."""
    place = root / "worktrees" / f"client-{parent[:12]}-{os.getpid()}-{time.monotonic_ns() % 10**6}"
    git.add_worktree(root, place, parent)
    try:
        yield place
    finally:
        git.remove_worktree(root, place)


def launch_process(session: Session, give_up: GiveUp) -> SessionEnd:
    """Run a session in a process group of its own, which is ended whole when it has to be given up."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given:
        given.write(session.prompt.encode())
        given.seek(0)
        child = subprocess.Popen(
            list(session.command), cwd=session.place, stdin=given, stdout=out, stderr=err,
            env=dict(session.environment), start_new_session=True,
        )  # fmt: skip
        killed = None
        while child.poll() is None and killed is None:
            if killed := give_up(_lines(out)):
                _end(child)
            else:
                time.sleep(SETTINGS.client_poll_s)
        return SessionEnd(None if killed else child.returncode, _lines(out), "\n".join(_lines(err)), killed)


def _lines(file: IO[bytes]) -> tuple[str, ...]:
    """Read what the child has written so far; its place in the file, which we share, stays where it is."""
    size = os.fstat(file.fileno()).st_size
    return tuple(os.pread(file.fileno(), size, 0).decode("utf-8", "replace").splitlines())


def _end(child: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(SETTINGS.kill_grace_s)
            return
    child.wait()
