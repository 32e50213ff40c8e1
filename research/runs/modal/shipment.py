"""What is uploaded for a run: the files of one commit, the image they need, and the data under a name of its content.

Never the work tree as it lies there: it holds secrets, results and files that somebody is writing. The data's folder
in the volume is named by a digest over every file's size, hash and time of change: other data is another folder, the
same data is found again, and a half-made upload is never taken for a whole one, since the manifest is committed after
all other files.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from research.core import git
from research.core.contract import ENV_PROFILE
from research.core.errors import ConfigurationError
from research.core.files import read_json, write_json
from research.core.paths import machine_home
from research.runs.modal import settings
from research.runs.modal.client import CloudError, describe, let_go, load_modal
from research.runs.modal.stream import LIST_FILE, TIMES_FILE

LOCK_FILE: Final = "uv.lock"
PROJECT_FILE: Final = "pyproject.toml"
KERNELS_EXTRA: Final = "hopper"
"""The extra of pyproject.toml that holds fast attention for GPUs from the H100 on."""

MANIFEST_FILE: Final = ".manifest.json"
PROBE_FILE: Final = ".probe"
HASHES_FILE: Final = ".sha256-cache.json"  # in $AUTORESEARCH_HOME
DIGEST_CHARS: Final = 32
"""Hex digits of a digest used as a folder's name: 128 bits."""
CHUNK_BYTES: Final = 1 << 20
BLOCK_BYTES: Final = 8 << 20  # what a version 2 volume is made of
BATCH_BLOCKS: Final = 64
"""Blocks under way at once: the client has 100 connections for all uploads, and a probe must find one free."""

OFFICIAL_ROOTS: Final = ("data", "tokenizer", "tokens")
POCKET_ROOTS: Final = ("pocket",)
HF_REPOSITORIES: Final = ("models--kernels-community--flash-attn3", "models--varunneal--flash-attention-3")
"""The FlashAttention 3 builds that train.py may ask the kernel hub for, as the Hugging Face cache names them."""

TRAINING_SHARD: Final = re.compile(r"shard_(\d{5})\b")
HELD_OUT_SHARDS: Final = (6541, 6542)  # audit and validation make the metric: they are hashed again in the sandbox
UNFINISHED: Final = (".tmp", ".part", ".incomplete", ".etag", ".lock")

# ---------------------------------------------------------------------------------------------------------------
# The commit and its image


@dataclass(frozen=True)
class Tree:
    """The files of a commit, and what decides how their image is built.

    Attributes:
        folder: Holds the files that run (absolute).
        label: "commit <hash>", or "work tree <hash of its tracked files>".
        files: How many; total_bytes how much.
        image_folder: Holds pyproject.toml, reduced to what the environment depends on, and uv.lock if there is one.
        python: The image's version, as "3.11".
        extras: Extras of the project to install.
        locked: Whether uv.lock is there.
        image_key: The same key means the same image.
    """

    folder: Path
    label: str
    files: int
    total_bytes: int
    image_folder: Path
    python: str
    extras: tuple[str, ...]
    locked: bool
    image_key: str

    @property
    def packages(self) -> str:
        """Say where the image's packages come from."""
        return "uv.lock" if self.locked else "no uv.lock: the pins of pyproject.toml, resolved in the image"


def pack(root: Path, commit: str | None, work: Path) -> Tree:
    """Fill an empty folder with a commit's files, or without one the tracked files as they lie, and the image's.

    Raises:
        GitError: git does not know the commit, or fails.
        ConfigurationError: the commit has no usable pyproject.toml.
    """
    folder, image = work / "tree", work / "image"
    folder.mkdir()
    image.mkdir()
    shipped = commit or git.snapshot(root)
    # tar keeps the commit's time: Modal refuses files that look younger than the start of its build.
    subprocess.run(["tar", "-x", "-C", str(folder)], input=git.archive(root, shipped), check=True)
    lock, project, version = (folder / name for name in (LOCK_FILE, PROJECT_FILE, ".python-version"))
    if not lock.exists() and (root / LOCK_FILE).is_file():
        shutil.copyfile(root / LOCK_FILE, lock)
        os.utime(lock, (0, 0))
    if not project.is_file():
        raise ConfigurationError(f"The commit has no {PROJECT_FILE}.", "Commit one: the image is built from it.")
    reduced, has_kernels = reduced_project(project.read_text(encoding="utf-8"))
    (image / PROJECT_FILE).write_text(reduced, encoding="utf-8")
    if lock.exists():
        shutil.copyfile(lock, image / LOCK_FILE)
    python = image_python(version.read_text(encoding="utf-8") if version.is_file() else "")
    key = hashlib.sha256(f"{python} {settings.UV_VERSION}\0".encode())
    for path in sorted(image.iterdir()):
        os.utime(path, (0, 0))
        key.update(hash_file(path).encode())
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    label = f"commit {commit}" if commit else f"work tree {shipped[:12]}"
    extras = (KERNELS_EXTRA,) if has_kernels else ()
    return Tree(folder, label, len(sizes), sum(sizes), image, python, extras, lock.exists(), key.hexdigest()[:12])


def image_python(text: str) -> str:
    """Return the image's Python for a .python-version file's text; one that Modal takes."""
    found = re.match(r"\s*(?:cpython-)?(\d+)\.(\d+)", text)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    return f"{version[0]}.{version[1]}" if version >= settings.OLDEST_PYTHON else settings.FALLBACK_PYTHON


def reduced_project(text: str) -> tuple[str, bool]:
    """Return pyproject.toml without what no environment depends on (a comment must not reinstall torch).

    Returns:
        The reduced text, and whether it declares the extra with the kernels.

    Raises:
        ConfigurationError: the text is no TOML, or has no project in it; or the modal package is missing.
    """
    load_modal()
    import toml  # comes with modal; Python 3.10 has no reader of its own

    try:
        whole: dict[str, Any] = toml.loads(text)
        project = whole["project"]
        extras = project.get("optional-dependencies", {})
    except (toml.TomlDecodeError, KeyError, AttributeError) as error:
        raise ConfigurationError(f"{PROJECT_FILE} cannot be used ({error}).", "Mend and commit it.") from None
    kept = ("name", "version", "requires-python", "dependencies", "optional-dependencies")
    reduced: dict[str, Any] = {
        "project": {key: project[key] for key in kept if key in project},
        "dependency-groups": whole.get("dependency-groups", {}),
        "tool": {"uv": whole.get("tool", {}).get("uv", {})},
    }
    return toml.dumps(reduced), KERNELS_EXTRA in extras


# ---------------------------------------------------------------------------------------------------------------
# The data: which files, and their hashes


@dataclass(frozen=True)
class Entry:
    """One file: its local path, its path in the volume's folder, size, sha256, time of change."""

    source: Path
    path: str
    size: int
    sha256: str
    mtime_ns: int


@dataclass(frozen=True)
class Manifest:
    """Files that are put into a volume together.

    Attributes:
        volume: Name of the volume.
        mount: Where their folder is mounted in the sandbox, read-only.
        entries: The files, by path.
    """

    volume: str
    mount: str
    entries: tuple[Entry, ...]

    @property
    def total_bytes(self) -> int:
        """Return the size of all files together."""
        return sum(e.size for e in self.entries)

    @property
    def text(self) -> bytes:
        """Return the manifest as it is stored: the same bytes mean the same files."""
        rows = {e.path: [e.size, e.sha256, e.mtime_ns] for e in self.entries}
        return json.dumps(rows, sort_keys=True, separators=(",", ":")).encode()

    @property
    def check_list(self) -> bytes:
        """Return the list of what the sandbox hashes again, in sha256sum's own format."""
        return "".join(f"{e.sha256}  {e.path}\n" for e in self.entries if decides_metric(e.path)).encode()

    @property
    def check_sha256(self) -> str:
        """Return the hash of that list."""
        return hashlib.sha256(self.check_list).hexdigest()

    @property
    def times(self) -> bytes:
        """Return the times of change to restore: prepare.py knows a shard that is tokenized already by its time."""
        timed = [e for e in self.entries if "data" in e.path.split("/")[:-1]]
        return "".join(f"{e.mtime_ns // 10**9}.{e.mtime_ns % 10**9:09d} {e.path}\n" for e in timed).encode()

    @property
    def digest(self) -> str:
        """Return the name of the folder in the volume."""
        return hashlib.sha256(self.text + self.check_sha256.encode()).hexdigest()[:DIGEST_CHARS]


def manifests(env: Mapping[str, str]) -> tuple[Manifest, ...]:
    """Hash what the sandbox needs of this machine: the data, and the kernels if they are here.

    Raises:
        ConfigurationError: there is no data, or a file cannot be shipped.
    """
    names, home = settings.names_from(env), machine_home(env)
    cache = HashCache(home / HASHES_FILE)
    data = home_files(home, env.get(ENV_PROFILE) or "official")
    found = [manifest_of(data, cache, names.data_volume, settings.HOME_MOUNT)]
    if kernels := hf_files(hf_hub_from(env)):
        found.append(manifest_of(kernels, cache, names.hf_volume, settings.HF_MOUNT))
    return tuple(found)


def hf_hub_from(env: Mapping[str, str]) -> Path:
    """Return the local Hugging Face hub cache."""
    if env.get("HF_HUB_CACHE"):
        return Path(env["HF_HUB_CACHE"]).expanduser().absolute()
    return Path(env.get("HF_HOME") or "~/.cache/huggingface").expanduser().absolute() / "hub"


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and not path.name.endswith(UNFINISHED) and path.is_file():
            yield path


def home_files(home: Path, profile: str) -> tuple[tuple[Path, str], ...]:
    """List the data of a profile: (local path, path in the sandbox's $AUTORESEARCH_HOME), without unfinished files.

    Raises:
        ConfigurationError: there is none.
    """
    roots = POCKET_ROOTS if profile == "pocket" else OFFICIAL_ROOTS
    found = [(path, path.relative_to(home).as_posix()) for root in roots for path in _walk(home / root)]
    needed = ("pocket/data/", "pocket/tokenizer/") if profile == "pocket" else ("data/", "tokenizer/")
    for start in needed:
        if not any(name.startswith(start) for _, name in found):
            command = f"Type: uv run prepare.py --profile {profile}"
            raise ConfigurationError(f"There is no {start.rstrip('/')} in {home}.", command)
    return tuple(found)


def hf_files(hub: Path) -> tuple[tuple[Path, str], ...]:
    """List the kernels in the local Hugging Face cache; blobs are left out, snapshots are followed to them."""
    found = []
    for name in HF_REPOSITORIES:
        for part in ("refs", "snapshots"):
            found += [(p, f"hub/{p.relative_to(hub).as_posix()}") for p in _walk(hub / name / part)]
    return tuple(found)


def decides_metric(path: str) -> bool:
    """Say whether a file has a say in what a run scores, other than as training data."""
    shard = TRAINING_SHARD.search(path)
    return shard is None or int(shard[1]) in HELD_OUT_SHARDS


def hash_file(path: Path) -> str:
    """Return a file's sha256, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _stamp(path: Path) -> list[int]:
    # The time of the last change to the inode cannot be set back, unlike that of the content.
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


class HashCache:
    """Remembers hashes by size and times, so that gigabytes are not read before every run.

    Args:
        file: Where they are kept; one that cannot be read or written costs time, nothing else.
        hash_file: Hashes a file.
    """

    def __init__(self, file: Path, hash_file: Callable[[Path], str] = hash_file) -> None:
        self._file = file
        self._hash_file = hash_file
        self._known: dict[str, Any] = read_json(file) or {}

    def sha256(self, path: Path) -> str:
        """Return a file's sha256, in hex."""
        match self._known.get(str(path)):
            case [stamp, str(digest)] if stamp == _stamp(path):
                return digest
        stamp = _stamp(path)  # before: a file that changes meanwhile is hashed again next time
        digest = self._hash_file(path)
        self._known[str(path)] = [stamp, digest]
        return digest

    def save(self) -> None:
        """Keep what was learned."""
        with suppress(OSError):
            write_json(self._file, self._known)


def manifest_of(files: tuple[tuple[Path, str], ...], cache: HashCache, volume: str, mount: str) -> Manifest:
    """Hash files, given as (local path, path in the folder), and save the cache of their hashes.

    Raises:
        ConfigurationError: a file cannot be read, or its name cannot be listed.
    """
    entries = []
    for source, path in sorted(files, key=lambda f: f[1]):
        if re.search(r"[\\\x00-\x1f]", path):
            raise ConfigurationError(f"The name of {source} has a character that cannot be shipped.", "Rename it.")
        try:
            stat = source.stat()
            entries.append(Entry(source, path, stat.st_size, cache.sha256(source), stat.st_mtime_ns))
        except OSError as error:
            raise ConfigurationError(f"{source} cannot be read ({error.strerror}).", "Mend its permissions.") from None
    cache.save()
    return Manifest(volume, mount, tuple(entries))


# ---------------------------------------------------------------------------------------------------------------
# The data: into its volume


async def seal(
    volume: Any, manifest: Manifest, limits: settings.Limits, say: Callable[[str], None], afresh: bool = False
) -> None:
    """Put the files into the volume under their digest, unless they are there and nobody found them altered.

    Raises:
        CloudError: the storage takes nothing, or a file changed meanwhile; what was uploaded is taken away again then.
    """
    folder = f"/{manifest.digest}"
    if not afresh:
        try:
            stored = await asyncio.wait_for(_read(volume, f"{folder}/{MANIFEST_FILE}"), limits.storage_silent_s)
        except asyncio.TimeoutError:
            raise _storage_out_of_reach(limits) from None
        if stored == manifest.text:
            return
    total_gb = manifest.total_bytes / 1e9
    say(f"uploading what Modal does not have yet of {len(manifest.entries)} files, {total_gb:.2f} GB")
    before = {e.source: _stamp(e.source) for e in manifest.entries}
    done_gb = 0.0
    for batch in batches(manifest.entries):
        await _upload(volume, {f"{folder}/{e.path}": e.source for e in batch}, limits, blocks_of(batch))
        done_gb += sum(e.size for e in batch) / 1e9
        if len(batch) < len(manifest.entries):
            say(f"uploaded {done_gb:.2f} of {total_gb:.2f} GB")
    if any(_stamp(e.source) != before[e.source] or e.mtime_ns != before[e.source][1] for e in manifest.entries):
        await volume.remove_file.aio(folder, recursive=True)
        what = "The data changed while it was uploaded."
        raise CloudError("configuration", what, "Let prepare.py finish, then try again.")
    own = {LIST_FILE: manifest.check_list, TIMES_FILE: manifest.times, MANIFEST_FILE: manifest.text}
    await _upload(volume, {f"{folder}/{name}": io.BytesIO(text) for name, text in own.items()}, limits, len(own))


def blocks_of(entries: Iterable[Entry]) -> int:
    """Count the blocks that files travel in."""
    return sum(max(1, -(-e.size // BLOCK_BYTES)) for e in entries)


def batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Split files into batches of few enough blocks; a file that has more of them is a batch of its own."""
    batch: list[Entry] = []
    for entry in entries:
        if batch and blocks_of([*batch, entry]) > BATCH_BLOCKS:
            yield batch
            batch = []
        batch.append(entry)
    yield batch


async def _read(volume: Any, path: str) -> bytes | None:
    try:
        return b"".join([piece async for piece in volume.read_file.aio(path)])
    except FileNotFoundError:
        return None


async def _put(volume: Any, files: Mapping[str, Path | io.BytesIO]) -> None:
    async with volume.batch_upload(force=True) as batch:
        for path, source in files.items():
            batch.put_file(source, path)


async def _upload(volume: Any, files: Mapping[str, Path | io.BytesIO], limits: settings.Limits, blocks: int) -> None:
    """Put files into a volume, and fail when its storage stops taking anything.

    The client tries a block again for more than eight minutes and says nothing meanwhile. So a few bytes that the
    storage cannot know yet are sent beside the upload again and again: when not even those arrive, nothing will.
    """
    upload = asyncio.ensure_future(_put(volume, files))
    arrived, trouble = time.monotonic(), ""
    try:
        while not upload.done() and blocks <= BATCH_BLOCKS:
            left = arrived + limits.storage_silent_s - time.monotonic()
            if left <= 0:
                raise _storage_out_of_reach(limits, trouble)
            probe = asyncio.ensure_future(_put(volume, {f"/{PROBE_FILE}": io.BytesIO(secrets.token_bytes(32))}))
            try:
                await asyncio.wait({upload, probe}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if probe.done() and (error := probe.exception()) is not None:
                    trouble = f" ({describe(error)})"
                elif probe.done():
                    arrived = time.monotonic()
            finally:
                await let_go(probe, limits.let_go_s)
            left = arrived + limits.storage_silent_s - time.monotonic()
            await asyncio.wait({upload}, timeout=min(limits.probe_pause_s, max(0.0, left)))
        await upload
    finally:
        await let_go(upload, limits.let_go_s)


def _storage_out_of_reach(limits: settings.Limits, trouble: str = "") -> CloudError:
    what = f"Uploads to Modal fail: its storage has answered nothing for {limits.storage_silent_s:g} s{trouble}."
    return CloudError("infrastructure", what, settings.UPLOAD_ADVICE)
