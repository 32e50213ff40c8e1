"""Finds sandboxes whose launcher is gone, and ends them.

A launcher that was killed cannot end its sandbox, which then bills on until its own time limit. While a launcher lives
it holds a lock on this machine for its sandbox. The next launch here, or --reap, ends every sandbox whose lock is here
and nobody holds it.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from research.core.files import FileLock, is_held
from research.core.paths import machine_home
from research.runs.modal import client, settings

TAG_CHARS: Final = 63  # Modal's own limit


def tag_text(text: str) -> str:
    """Return a text as Modal takes it for a tag's value."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:TAG_CHARS] or "none"


def sandbox_name(commit: str | None, run: str, attempt: int) -> str:
    """Name a sandbox <commit8>-<run>-<attempt>; "worktree" stands for a run without a commit."""
    return tag_text(f"{(commit or 'worktree')[:8]}-{run}-{attempt}")


def our_tags() -> dict[str, str]:
    """Return the tags by which the sandboxes of this machine are found."""
    return {"tool": "autoresearch", "host": tag_text(socket.gethostname())}


def tags_for(name: str, run: str, commit: str | None) -> dict[str, str]:
    """Return a sandbox's tags."""
    return {**our_tags(), "name": name, "run": tag_text(run), "commit": tag_text(commit or "worktree")}


def _lock_path(name: str, env: Mapping[str, str]) -> Path:
    # The folder may be shared by several machines over a network file system.
    return machine_home(env) / "locks" / f"modal-{name}-{our_tags()['host']}.lock"


@contextmanager
def launcher_lock(cloud: client.Cloud, name: str, env: Mapping[str, str]) -> Iterator[None]:
    """Hold the lock that shows that a sandbox's launcher lives; without one no other launcher ends the sandbox."""
    lock = FileLock(_lock_path(name, env))
    with suppress(OSError):
        lock.acquire()
    try:
        yield
    finally:
        if not cloud.left_behind:
            with suppress(OSError):
                lock.path.unlink()
        lock.release()


async def end_orphans(cloud: client.Cloud, env: Mapping[str, str]) -> list[str]:
    """End every orphan of this machine; return the names of their runs."""
    ended = []
    async for sandbox in cloud.modal.Sandbox.list.aio(app_id=cloud.app.app_id, tags=our_tags()):
        tags = await sandbox.get_tags.aio()
        lock = _lock_path(tag_text(tags.get("name", "")), env)
        if lock.exists() and not is_held(lock):
            await sandbox.terminate.aio()
            lock.unlink(missing_ok=True)
            ended.append(tags["run"])
    return ended


def reap(env: Mapping[str, str]) -> list[str]:
    """Connect and end every orphan of this machine, whatever work tree it came from; return the names of their runs.

    Raises:
        ConfigurationError: if there is no modal package or no token.
        CloudError: if Modal does not answer as it should.
    """
    client.require_token()
    cloud = client.Cloud(settings.names_from(env).app, settings.LIMITS, None, print)

    async def work() -> list[str]:
        await cloud.connect()
        return await cloud.finish(end_orphans(cloud, env), settings.LIMITS.call_s, "looking for orphans")

    return asyncio.run(work())
