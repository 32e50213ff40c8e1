"""Lets a coding client edit for a night: a fresh session in a work tree of its own, asked only for one commit.

It launches nothing and judges nothing. The result is looked up in git: exactly one new commit, an exp: subject,
train.py alone, and a program that differs from its parent's. Everything that goes wrong is a Trouble.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from research.agents.clients.base import ENV_DRIVEN, NOTHING_USED, Client, FailedAttempt, SessionEnd, Trouble, Usage
from research.agents.night.editors import NoCandidate, ProposedCommit
from research.code import fingerprint
from research.core import git
from research.core.commit_message import EXPERIMENT, FREE
from research.core.errors import ConfigurationError
from research.core.records import Plan
from research.core.settings import SETTINGS
from research.core.text import clean, count_of
from research.lab.lab import Lab
from research.lab.worktrees import checked_out
from research.runs.backend import StopRequest
from research.runs.preflight import TARGET
from research.verdict.models import Memory

_SERVICE = frozenset({Trouble.limit, Trouble.service})
"""Failures of the service, which end by themselves."""
_EDITOR = frozenset({Trouble.missing, Trouble.login, Trouble.stopped, Trouble.crash, Trouble.timeout})
"""Failures of the client, not of the idea."""
_REPEATED = (_SERVICE | _EDITOR) - {Trouble.timeout}
"""Failures that another attempt at once would only repeat."""

_DETAIL_CHARS = 200
"""Characters of a session's last message that an error message quotes."""


GiveUp = Callable[[Sequence[str]], "Trouble | None"]
"""A function of a session's lines so far that returns why it has to be killed, None while it may go on."""
Launch = Callable[[Sequence[str], Path, str, Mapping[str, str], GiveUp], SessionEnd]
"""A function that runs a session, by its command line, folder, prompt, variables and GiveUp."""


def launch_process(
    command: Sequence[str], place: Path, prompt: str, environment: Mapping[str, str], give_up: GiveUp
) -> SessionEnd:
    """Run a session in a process group of its own; whatever it leaves running is ended with it."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given:
        given.write(prompt.encode())
        given.seek(0)
        child = subprocess.Popen(
            list(command), cwd=place, stdin=given, stdout=out, stderr=err, env=dict(environment),
            start_new_session=True,
        )  # fmt: skip
        killed = None
        try:
            while child.poll() is None and not (killed := give_up(_lines(out))):
                time.sleep(SETTINGS.client_poll_s)
        finally:
            _end(child)
        return SessionEnd(None if killed else child.returncode, _lines(out), "\n".join(_lines(err)), killed)


def _lines(file: IO[bytes]) -> tuple[str, ...]:
    """Return the lines that the child has written so far, without moving the position in the file, which it shares."""
    size = os.fstat(file.fileno()).st_size
    return tuple(os.pread(file.fileno(), size, 0).decode("utf-8", "replace").splitlines())


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a session that is going on, then what is left of its group, which would run beside the measurement."""
    gone = contextlib.suppress(ProcessLookupError, PermissionError)  # the latter of a group of zombies, on macOS
    if child.poll() is None:
        with gone:
            os.killpg(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(SETTINGS.kill_grace_s)
    with gone:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


class ClientEditor:
    """An editor that asks a coding client for one idea at a time, and finds its commit in the lab's repository.

    Args:
        client: The client.
        lab: The lab.
        launch: Runs a session.

    Raises:
        ConfigurationError: if the client is not installed.
    """

    def __init__(self, client: Client, lab: Lab, launch: Launch = launch_process) -> None:
        self.name = client.name
        self._client, self._lab, self._root, self._launch = client, lab, lab.paths.root, launch
        if client.program(lab.environment) is None:
            raise ConfigurationError(f"{client.name} is not installed.", f"Type: {client.install}")

    def edit(self, plan: Plan, memory: Memory, seed: int, stop: StopRequest) -> ProposedCommit:
        """Carry out a plan by the client."""
        known = memory.incumbent or memory.baseline
        parent = git.resolve(self._root, plan.parent or (known.commit if known else "HEAD"))
        if parent is None:
            raise NoCandidate(f"the plan starts from {plan.parent}, which is not in this repository")
        brief = plan.details.get("brief") or plan.reason
        return self.propose(parent, brief, plan.emitter or FREE, lambda: stop.requested() is not None)

    def propose(self, parent: str, brief: str, emitter: str, stop: Callable[[], bool]) -> ProposedCommit:
        """Ask for a commit on a parent until there is a candidate or the attempts are used up.

        Raises:
            NoCandidate: with the last attempt's trouble; nothing in the repository was moved.
        """
        usage, prompt, attempts = NOTHING_USED, prompt_of(brief, emitter), SETTINGS.client_attempts
        for number in range(1, attempts + 1):
            found, used = self._attempt(parent, prompt, stop)
            usage += used
            if isinstance(found, git.Commit):
                return ProposedCommit(found.hash, found.subject, usage)
            failed, why = found, found.trouble.value
            self._lab.say(f"{self.name}, attempt {number} of {attempts}: {why}. {failed.detail}".strip())
            if number == attempts or failed.trouble in _REPEATED or stop():
                break
            prompt = prompt_of(f"{brief.strip()}\n\nAn earlier attempt failed: {why}. Avoid that.", emitter)
        detail = f": {failed.detail}" if failed.detail else ""
        raise NoCandidate(
            f"{self.name}: {why}{detail} ({count_of(number, 'attempt')})",
            "service" if failed.trouble in _SERVICE else "editor" if failed.trouble in _EDITOR else "idea",
            failed.limit_ends,
            usage,
        )

    def _attempt(self, parent: str, prompt: str, stop: Callable[[], bool]) -> tuple[git.Commit | FailedAttempt, Usage]:
        """Ask once; return the commit or what went wrong, and the usage. How the session ended does not matter."""
        client, root = self._client, self._root
        environment = {**git.author(root), **self._lab.environment, ENV_DRIVEN: "1"}
        program = client.program(environment)
        if program is None:
            return FailedAttempt(Trouble.missing, client.install), NOTHING_USED
        deadline = time.monotonic() + SETTINGS.client_minutes * 60

        def give_up(lines: Sequence[str]) -> Trouble | None:
            if time.monotonic() > deadline:
                return Trouble.timeout
            if stop():
                return Trouble.stopped
            return Trouble.tokens if client.usage(lines).tokens > SETTINGS.client_tokens else None

        with checked_out(root, parent, "client") as place:
            end = self._launch(client.command(program, place, git.folders(place)), place, prompt, environment, give_up)
            found = _inspect(root, place, parent)
        if isinstance(found, FailedAttempt) and found.trouble is Trouble.no_commit:
            failed = client.failure(end, self._lab.clock()) or found
            found = replace(failed, detail=clean(" ".join(failed.detail.split()), _DETAIL_CHARS))
        return found, client.usage(end.lines)


def prompt_of(brief: str, emitter: str) -> str:
    """Return the prompt for the agent: the brief, and the order to make one commit, whose subject names the emitter."""
    return (
        f"{brief.strip()}\n\n"
        f"Carry out this one idea: edit {TARGET} only, then make exactly one commit:\n"
        f"git commit -m '{EXPERIMENT} WHAT [emitter={emitter}]' -- {TARGET}\n"
        f"Do not run {TARGET}, do not install anything, change no other file. A driver measures the commit. "
        f"Check the syntax with `python3 -m py_compile {TARGET}`. Then end your turn with one sentence."
    )


def _inspect(root: Path, place: Path, parent: str) -> git.Commit | FailedAttempt:
    """Return the commit that the work tree is at now, or what is wrong with it."""
    head = git.head(place).commit
    if head is None or head == parent:
        changed = ", ".join(git.changed_files(place)[:5])
        return FailedAttempt(Trouble.no_commit, f"changed but not committed: {changed}" if changed else "")
    commit = git.commit(root, head)
    if commit.parent != parent:
        return FailedAttempt(Trouble.two_commits)
    others = [change.path for change in git.changes(root, commit) if change.path != TARGET]
    if others:
        return FailedAttempt(Trouble.other_files, ", ".join(others[:5]))
    if not commit.subject.startswith(EXPERIMENT):
        return FailedAttempt(Trouble.subject, commit.subject[:80])
    text, before = git.blob(root, head, TARGET) or b"", git.blob(root, parent, TARGET) or b""
    try:
        is_same = fingerprint.fingerprint(text) == fingerprint.fingerprint(before)
    except SyntaxError as error:
        return FailedAttempt(Trouble.unreadable, f"line {error.lineno}")
    return FailedAttempt(Trouble.same_code) if is_same else commit
