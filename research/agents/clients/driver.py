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
from pathlib import Path
from typing import IO

from research.agents.clients.base import ENV_DRIVEN, Client, SessionEnd, Trouble
from research.code import fingerprint
from research.core import git
from research.core.commit_message import EXPERIMENT
from research.core.settings import SETTINGS
from research.runs.preflight import TARGET

WAITS = frozenset({Trouble.rate_limit, Trouble.crash})
"""Failures of the service, for which waiting may help."""
HOPELESS = frozenset({Trouble.missing, Trouble.login, Trouble.stopped})
"""Failures that another attempt would only repeat."""


class NoProposal(Exception):
    """No attempt came to a candidate.

    Args:
        client: Name of the client.
        trouble: The last attempt's.
        detail: What was seen, bounded.
        attempts: How many were made.
    """

    def __init__(self, client: str, trouble: Trouble, detail: str, attempts: int) -> None:
        super().__init__(f"{client}: {trouble.value}{': ' + detail if detail else ''} ({attempts} attempts)")
        self.trouble, self.detail, self.attempts = trouble, detail, attempts


@dataclass(frozen=True)
class Task:
    """What a client is asked for: the commit to start from, the brief, the emitter for the subject's tag."""

    parent: str
    brief: str
    emitter: str


@dataclass(frozen=True)
class Proposal:
    """A commit that changes train.py alone; its subject, its parent, and the tokens it took."""

    commit: str
    subject: str
    parent: str
    tokens: int


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
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = lambda line: None
    stop: Callable[[], bool] = lambda: False


def prompt_of(task: Task) -> str:
    """Return what the agent is told: the brief, and the one thing to do with it."""
    return (
        f"{task.brief.strip()}\n\n"
        f"Carry out this one idea: edit {TARGET} only, then make exactly one commit:\n"
        f"git commit -m '{EXPERIMENT} WHAT [emitter={task.emitter}]' -- {TARGET}\n"
        f"Do not run {TARGET}, do not install anything, change no other file. A driver measures the commit. "
        f"Check the syntax with `python -m py_compile {TARGET}`. Then end your turn with one sentence."
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
            raise NoProposal(client.name, Trouble.missing, client.install, 0)
        wait_s, asked = SETTINGS.client_backoff_s, task
        trouble, detail = Trouble.crash, ""
        for number in range(1, attempts + 1):
            found = self._attempt(program, asked)
            if isinstance(found, Proposal):
                return found
            trouble, detail = found
            world.say(f"{client.name}, attempt {number} of {attempts}: {trouble.value}. {detail}".strip())
            if trouble in HOPELESS or world.stop():
                raise NoProposal(client.name, trouble, detail, number)
            if trouble not in WAITS:
                brief = f"{task.brief.strip()}\n\nAn earlier attempt failed: {trouble.value}. Avoid that."
                asked = replace(task, brief=brief)
            elif number < attempts:
                world.sleep(wait_s)
                if world.stop():
                    raise NoProposal(client.name, Trouble.stopped, "", number)
                wait_s = min(2 * wait_s, SETTINGS.max_client_backoff_s)
        raise NoProposal(client.name, trouble, detail, attempts)

    def _attempt(self, program: str, task: Task) -> Proposal | tuple[Trouble, str]:
        """Ask once; a commit that is right is right, however the session ended."""
        deadline = time.monotonic() + SETTINGS.client_minutes * 60

        def give_up(lines: Sequence[str]) -> Trouble | None:
            if time.monotonic() > deadline:
                return Trouble.timeout
            if self._world.stop():
                return Trouble.stopped
            return Trouble.tokens if self._client.tokens(lines) > SETTINGS.client_tokens else None

        with _work_tree(self._root, task.parent) as place:
            command = self._client.command(program, place, git.folders(place), self._options)
            end = self._world.launch(Session(command, place, prompt_of(task), self._environment), give_up)
            found = _inspect(self._root, place, task.parent, self._client.tokens(end.lines))
        if isinstance(found, Proposal) or found[0] is not Trouble.no_commit:
            return found
        trouble = self._client.trouble(end)
        return (trouble, _last_line(end.stderr)) if trouble else found


def _inspect(root: Path, place: Path, parent: str, tokens: int) -> Proposal | tuple[Trouble, str]:
    """Return the proposal that is in the work tree now, or what is wrong with it."""
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
    if not commit.subject.startswith(EXPERIMENT):
        return Trouble.subject, commit.subject[:80]
    text, before = git.blob(root, head, TARGET) or b"", git.blob(root, parent, TARGET) or b""
    try:
        if fingerprint.fingerprint(text) == fingerprint.fingerprint(before):
            return Trouble.same_code, ""
    except SyntaxError as error:
        return Trouble.unreadable, f"line {error.lineno}"
    return Proposal(head, commit.subject, parent, tokens)


def _last_line(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.strip()]
    return " ".join("".join(c if c.isprintable() else " " for c in (lines or [""])[-1]).split())[:200]


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
