"""Uploads what a run needs: the files of one commit, the image that they need, and the data.

The work tree is never uploaded as it lies there: it holds secrets, results and half-written files. The data's folder
in the volume is named by a digest over every file's size and hash, and the times of change of the text: other data is
another folder, the same data is found again, and a half-made upload is never taken for a whole one, since the manifest
is uploaded after all other files.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from research.core import git
from research.core.contract import ENV_PROFILE
from research.core.errors import ConfigurationError
from research.core.files import read_json, sha256_of, write_json
from research.core.paths import machine_home
from research.runs.modal import settings
from research.runs.modal.client import Cloud, CloudError
from research.runs.modal.stream import LIST_FILE, TIMES_FILE

LOCK_FILE: Final = "uv.lock"
PROJECT_FILE: Final = "pyproject.toml"
PYTHON_ASKED: Final = re.compile(r"\s*(?:cpython-)?(3\.(?:1[1-9]|[2-9]\d))\b")
"""The versions in .python-version that are followed: Modal 1.7 refuses images with a Python older than 3.11."""

MANIFEST_FILE: Final = ".manifest.json"
PROBE_FILE: Final = ".probe"
HASHES_FILE: Final = ".sha256-cache.json"  # in $AUTORESEARCH_HOME
DIGEST_CHARS: Final = 32  # hex digits of a folder's name: 128 bits
LARGE_BYTES: Final = 64 << 20  # from which a file is uploaded alone and its arrival is told: a minute on a slow line

OFFICIAL_ROOTS: Final = ("data", "tokenizer", "tokens")
HF_REPOSITORIES: Final = ("models--kernels-community--flash-attn3", "models--varunneal--flash-attention-3")
"""The FlashAttention 3 builds that train.py may ask the kernel hub for, as the Hugging Face cache names them."""

TRAINING_SHARD: Final = re.compile(r"shard_(\d{5})\b")
HELD_OUT_SHARDS: Final = (6541, 6542)  # audit and validation make the metric: they are hashed again in the sandbox
UNFINISHED: Final = (".tmp", ".part", ".incomplete", ".etag", ".lock")

# ---------------------------------------------------------------------------------------------------------------
# The commit and its image


@dataclass(frozen=True)
class Tree:
    """The files of a commit, and what decides how their image is built."""

    folder: Path  # that holds them
    label: str  # "commit <hash>", or "work tree <hash of its tracked files>"
    size: str  # number of files and megabytes, for people
    python: str  # version of Python in the image, as "3.11"
    packages: str  # where the image's packages come from, for people
    is_locked: bool  # whether uv.lock is there
    image_key: str  # the same key means the same image


def pack(root: Path, commit: str | None, folder: Path) -> Tree:
    """Fill an empty folder with a commit's files, or without one the tracked files as they lie, and uv.lock.

    Raises:
        GitError: git does not know the commit, or fails.
        ConfigurationError: the commit has no pyproject.toml.
    """
    shipped = commit or git.snapshot(root)
    # tar keeps the commit's time: Modal refuses files that look younger than the start of its build.
    subprocess.run(["tar", "-x", "-C", str(folder)], input=git.archive(root, shipped), check=True)
    lock, project, version = (folder / name for name in (LOCK_FILE, PROJECT_FILE, ".python-version"))
    if not lock.exists() and (root / LOCK_FILE).is_file():
        shutil.copyfile(root / LOCK_FILE, lock)
        os.utime(lock, (0, 0))
    if not project.is_file():
        raise ConfigurationError(f"The commit has no {PROJECT_FILE}.", "Commit one: the image is built from it.")
    asked = PYTHON_ASKED.match(version.read_text(encoding="utf-8")) if version.is_file() else None
    python = asked[1] if asked else settings.FALLBACK_PYTHON
    parts = (python, settings.UV_VERSION, *(sha256_of(path) for path in (project, lock) if path.exists()))
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Tree(
        folder,
        label=f"commit {commit}" if commit else f"work tree {shipped[:12]}",
        size=f"{len(sizes)} files, {sum(sizes) / 1e6:.1f} MB",
        python=python,
        is_locked=lock.exists(),
        packages="uv.lock" if lock.exists() else "no uv.lock: the pins of pyproject.toml, resolved in the image",
        image_key=hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12],
    )


# ---------------------------------------------------------------------------------------------------------------
# The data: which files, and their hashes


class ShippedFile(NamedTuple):
    """One file of the data."""

    path: str  # in the volume's folder
    source: Path  # on this machine
    state: str  # see state_of()
    size: int  # in bytes
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Files that are put into a volume together."""

    volume: str
    mount: str  # where their folder is mounted in the sandbox, read-only
    entries: tuple[ShippedFile, ...]

    @property
    def size(self) -> str:
        """Return the number of files and gigabytes, for people."""
        return f"{len(self.entries)} files, {sum(file.size for file in self.entries) / 1e9:.2f} GB"

    @cached_property
    def own_files(self) -> dict[str, bytes]:
        """Return the files of ours that are stored beside the data, by their names.

        They are the list of files that the sandbox hashes again, the times of change that it restores (prepare.py knows
        a shard that is tokenized already by its time), and last the manifest of all files.
        """
        checked = [f"{file.sha256}  {file.path}\n" for file in self.entries if decides_metric(file.path)]
        timed = [file for file in self.entries if "data" in file.path.split("/")[:-1]]
        times = [f"{file.mtime_ns // 10**9}.{file.mtime_ns % 10**9:09d} {file.path}\n" for file in timed]
        rows = {file.path: [file.size, file.sha256] for file in self.entries}
        texts = {LIST_FILE: "".join(checked), TIMES_FILE: "".join(times), MANIFEST_FILE: json.dumps(rows)}
        return {name: text.encode() for name, text in texts.items()}

    @property
    def check_sha256(self) -> str:
        """Return the hash of the list of what the sandbox hashes again."""
        return hashlib.sha256(self.own_files[LIST_FILE]).hexdigest()

    @property
    def digest(self) -> str:
        """Return the name of the folder in the volume."""
        return hashlib.sha256(b"\0".join(self.own_files.values())).hexdigest()[:DIGEST_CHARS]


def manifests(env: Mapping[str, str]) -> list[Manifest]:
    """Return the files that the sandbox needs of this machine, hashed: the data, and the kernels if they are here.

    Raises:
        ConfigurationError: there is no data, or a file of it cannot be read.
    """
    names, home = settings.names_from(env), machine_home(env)
    known = read_json(home / HASHES_FILE) or {}
    data, kernels = home_files(home, env.get(ENV_PROFILE) or "official"), hf_files(env)
    found = [Manifest(names.data_volume, settings.HOME_MOUNT, entries_of(data, known))]
    if kernels:
        found.append(Manifest(names.hf_volume, settings.HF_MOUNT, entries_of(kernels, known)))
    with suppress(OSError):
        write_json(home / HASHES_FILE, {file.state: file.sha256 for manifest in found for file in manifest.entries})
    return found


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and not path.name.endswith(UNFINISHED) and path.is_file():
            yield path


def home_files(home: Path, profile: str) -> list[tuple[Path, str]]:
    """List the data of a profile: (local path, path in the sandbox's $AUTORESEARCH_HOME), without unfinished files.

    Raises:
        ConfigurationError: there is none.
    """
    roots = ("pocket",) if profile == "pocket" else OFFICIAL_ROOTS
    found = [(path, path.relative_to(home).as_posix()) for root in roots for path in _walk(home / root)]
    for needed in ("pocket/data", "pocket/tokenizer") if profile == "pocket" else ("data", "tokenizer"):
        if not any(name.startswith(f"{needed}/") for _, name in found):
            command = f"Type: uv run prepare.py --profile {profile}"
            raise ConfigurationError(f"There is no {needed} in {home}.", command)
    return found


def hf_files(env: Mapping[str, str]) -> list[tuple[Path, str]]:
    """List the kernels in the local Hugging Face cache; blobs are left out, snapshots are followed to them."""
    hub = Path(env.get("HF_HUB_CACHE") or Path(env.get("HF_HOME") or "~/.cache/huggingface") / "hub").expanduser()
    folders = [hub / name / part for name in HF_REPOSITORIES for part in ("refs", "snapshots")]
    return [(path, f"hub/{path.relative_to(hub).as_posix()}") for folder in folders for path in _walk(folder)]


def decides_metric(path: str) -> bool:
    """Check whether a file decides what a run scores, other than as training data."""
    shard = TRAINING_SHARD.search(path)
    return shard is None or int(shard[1]) in HELD_OUT_SHARDS


def state_of(path: Path) -> str:
    """Return a text that changes with a file's content: size, times and inode, whose time cannot be set back."""
    stat = path.stat()
    return f"{path.absolute()} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def entries_of(files: list[tuple[Path, str]], known: Mapping[str, str]) -> tuple[ShippedFile, ...]:
    """Return files, given as (local path, path in the folder), with their hashes; one of a known state is not read."""
    entries = []
    for source, path in sorted(files, key=lambda file: file[1]):
        try:
            stat, state = source.stat(), state_of(source)
            sha256 = known.get(state) or sha256_of(source)
        except OSError as error:
            raise ConfigurationError(f"{source} cannot be read ({error.strerror}).", "Mend its permissions.") from None
        entries.append(ShippedFile(path, source, state, stat.st_size, stat.st_mtime_ns, sha256))
    return tuple(entries)


# ---------------------------------------------------------------------------------------------------------------
# The data: into its volume


async def seal(cloud: Cloud, volume: Any, manifest: Manifest, afresh: bool = False) -> None:
    """Put the files into the volume under their digest, unless they are there and nobody found them altered."""
    folder = f"/{manifest.digest}"

    async def put(files: Mapping[str, Path | bytes], limit_s: float, doing: str) -> None:
        async def work() -> None:
            async with volume.batch_upload(force=True) as batch:
                for path, source in files.items():
                    batch.put_file(io.BytesIO(source) if isinstance(source, bytes) else source, path)

        await cloud.finish(work(), limit_s, doing, settings.UPLOAD_ADVICE)

    async def stored_manifest() -> bytes | None:
        try:
            return b"".join([piece async for piece in volume.read_file.aio(f"{folder}/{MANIFEST_FILE}")])
        except FileNotFoundError:
            return None

    limits = cloud.limits
    looking = "looking for the data in its volume"
    stored = await cloud.finish(stored_manifest(), limits.first_bytes_s, looking, settings.UPLOAD_ADVICE)
    if stored == manifest.own_files[MANIFEST_FILE] and not afresh:
        return
    probe = {f"/{PROBE_FILE}": secrets.token_bytes(32)}  # what the storage has already, it is not sent
    await put(probe, limits.first_bytes_s, "uploading a few bytes")
    cloud.say(f"uploading what Modal does not have yet of {manifest.size}")
    targets = {f"{folder}/{file.path}": file for file in manifest.entries}
    small = {target: file.source for target, file in targets.items() if file.size < LARGE_BYTES}
    await put(small, limits.upload_s, "uploading the data")
    for target, entry in targets.items():
        if target not in small:
            await put({target: entry.source}, limits.upload_s, "uploading the data")
            cloud.say(f"uploaded {entry.path}")
    if any(state_of(file.source) != file.state for file in manifest.entries):
        what = "The data changed while it was uploaded."
        raise CloudError("configuration", what, "Let prepare.py finish, then try again.")
    own = {f"{folder}/{name}": text for name, text in manifest.own_files.items()}
    await put(own, limits.upload_s, "uploading the list of the data")
