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
from pathlib import Path
from typing import Final

from research.runs.modal import client, settings

TOOL_TAG: Final = "tool"
TOOL: Final = "autoresearch"
TAG_CHARS: Final = 63  # Modal's own limit


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


def launcher_tags() -> dict[str, str]:
    """Return the tags by which this process is recognised as a launcher.

    Its number means the same process only within one boot and process namespace ("world"), and only together with the
    time it began ("born", 0 where that is not known), since numbers are used again.
    """
    world, pid = hashlib.sha256(), os.getpid()
    with suppress(OSError):
        world.update(Path("/proc/sys/kernel/random/boot_id").read_bytes())
    with suppress(OSError):
        world.update(os.readlink("/proc/self/ns/pid").encode())
    return {
        "host": tag_text(socket.gethostname()),
        "world": world.hexdigest()[:16],
        "pid": str(pid),
        "born": str(max(0, birth_of(pid))),
    }


def sandbox_name(commit: str | None, run: str, attempt: int) -> str:
    """Name a sandbox <commit8>-<run>-<attempt>; "worktree" stands for a run without a commit."""
    return tag_text(f"{(commit or 'worktree')[:8]}-{run}-{attempt}")


def tags_for(run: str, commit: str | None, launcher: Mapping[str, str]) -> dict[str, str]:
    """Return a sandbox's tags: whose it is, and how to recognise its launcher."""
    return {TOOL_TAG: TOOL, "run": tag_text(run), "commit": tag_text(commit or "worktree"), **launcher}


def is_orphan(tags: Mapping[str, str], here: Mapping[str, str], birth: Callable[[int], int]) -> bool:
    """Say whether the launcher that a sandbox's tags name is gone, as seen from the process with the tags `here`.

    A launcher that cannot be judged from here (another machine, another boot, another container) counts as alive: its
    sandbox ends by itself at its time limit.
    """
    pid, born = tags.get("pid", ""), tags.get("born", "")
    elsewhere = any(tags.get(name) != here[name] for name in ("host", "world"))
    if elsewhere or not (pid.isdigit() and born.isdigit()):
        return False
    now = birth(int(pid))
    return now == -1 or (now > 0 and int(born) > 0 and now != int(born))


async def end_orphans(cloud: client.Cloud) -> list[str]:
    """End every orphan of this machine; return the names of their runs.

    Raises:
        Exception: whatever the client raises; what was ended stays ended.
    """
    here, ended = launcher_tags(), []
    for sandbox in await cloud.running({TOOL_TAG: TOOL, "host": here["host"]}):
        tags = await sandbox.get_tags.aio()
        if is_orphan(tags, here, birth_of):
            await sandbox.terminate.aio()
            ended.append(tags.get("run", sandbox.object_id))
    return ended


def reap(root: Path, env: Mapping[str, str] | None = None) -> list[str]:
    """End sandboxes whose launcher on this machine is gone, whatever work tree they came from; for --reap.

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
