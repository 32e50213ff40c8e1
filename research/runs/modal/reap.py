"""Names and tags that let a sandbox be found again, and the end of those whose launcher is gone.

A launcher that was killed cannot end its sandbox, which then bills on until its own time limit. The next launch on
the same machine, or --reap, looks for such orphans.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from research.runs.modal import client, settings

TOOL_TAG: Final = "tool"
TOOL: Final = "autoresearch"
TAG_CHARS: Final = 63  # Modal's own limit


@dataclass(frozen=True)
class Process:
    """A launcher.

    Attributes:
        host: The machine's name.
        world: Hash of boot and process namespace: only within the same one does a number mean the same process.
        pid: Its number.
        born: When it began, in the kernel's ticks since boot; 0 where that is not known. Numbers are used again.
    """

    host: str
    world: str
    pid: int
    born: int


def tag_text(text: str) -> str:
    """Return a text as Modal takes it for a tag's value."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:TAG_CHARS] or "none"


def birth_of(pid: int) -> int:
    """Return when a process began, in ticks since boot: 0 where that cannot be read, -1 without such a process."""
    with suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = text.rpartition(")")[2].split()
        return -1 if fields[0] in ("Z", "X") else int(fields[19])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return -1
    except OSError:
        pass
    return 0


def this_process() -> Process:
    """Describe the process that runs this."""
    world = hashlib.sha256()
    with suppress(OSError):
        world.update(Path("/proc/sys/kernel/random/boot_id").read_bytes())
    with suppress(OSError):
        world.update(os.readlink("/proc/self/ns/pid").encode())
    return Process(tag_text(socket.gethostname()), world.hexdigest()[:16], os.getpid(), max(0, birth_of(os.getpid())))


def sandbox_name(commit: str | None, run: str, attempt: int) -> str:
    """Name a sandbox <commit8>-<run>-<attempt>; "worktree" stands for a run without a commit."""
    return tag_text(f"{(commit or 'worktree')[:8]}-{run}-{attempt}")


def tags_for(run: str, commit: str | None, by: Process) -> dict[str, str]:
    """Return a sandbox's tags: whose it is, and how to recognise its launcher."""
    return {
        TOOL_TAG: TOOL,
        "run": tag_text(run),
        "commit": tag_text(commit or "worktree"),
        "host": by.host,
        "world": by.world,
        "pid": str(by.pid),
        "born": str(by.born),
    }


def is_orphan(tags: Mapping[str, str], here: Process, birth: Callable[[int], int]) -> bool:
    """Say whether the launcher that these tags name is gone.

    A launcher that cannot be judged from here (another machine, another boot, another container) counts as alive: its
    sandbox ends by itself at its time limit.

    Args:
        tags: Of the sandbox.
        here: The process that asks.
        birth: As birth_of.
    """
    pid, born = tags.get("pid", ""), tags.get("born", "")
    if (tags.get("host"), tags.get("world")) != (here.host, here.world) or not (pid.isdigit() and born.isdigit()):
        return False
    now = birth(int(pid))
    return now == -1 or (now > 0 and int(born) > 0 and now != int(born))


async def end_orphans(cloud: client.Cloud) -> list[str]:
    """End every orphan of this machine; return the names of their runs.

    Raises:
        Exception: whatever the client raises; what was ended stays ended.
    """
    here = this_process()
    ended = []
    for sandbox in await cloud.running({TOOL_TAG: TOOL, "host": here.host}):
        tags = await sandbox.get_tags.aio()
        if is_orphan(tags, here, birth_of):
            await sandbox.terminate.aio()
            ended.append(tags.get("run", sandbox.object_id))
    return ended


def reap(root: Path, env: Mapping[str, str] | None = None) -> list[str]:
    """End sandboxes whose launcher on this machine is gone; for the runner's --reap.

    Args:
        root: The work tree (an app is looked at as a whole, whatever tree its sandboxes were launched from).
        env: The environment, by default this process's.

    Returns:
        The names of their runs.

    Raises:
        ConfigurationError: no modal package or no token.
        CloudError: Modal does not answer as it should.
    """
    names = settings.names_from(os.environ if env is None else env)
    client.require_token()
    try:
        return asyncio.run(end_orphans(client.Cloud(names.app)))
    except Exception as error:
        what = f"Orphans could not be looked for ({client.describe(error)})."
        raise client.CloudError(client.failure_kind(error), what) from error
