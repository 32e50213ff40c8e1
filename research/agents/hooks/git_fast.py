"""Where a work tree stands, read from git's own files: for hooks, which can't wait for a git process.

Only what is plain is read; whatever is packed, or written in a way that is not known here, is asked of git after all.
"""

from __future__ import annotations

import os


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return ""


def git_folders(root: str) -> tuple[str, str]:
    """The work tree's own git folder, and the one that all work trees share."""
    place = os.path.join(root, ".git")
    if not os.path.isdir(place):
        line = _first_line(place)
        if not line.startswith("gitdir:"):
            return place, place
        place = os.path.normpath(os.path.join(root, line[len("gitdir:") :].strip()))
    shared = _first_line(os.path.join(place, "commondir"))
    return place, os.path.normpath(os.path.join(place, shared)) if shared else place


def branch_of(root: str) -> str:
    """The branch, "" on a detached HEAD or without one."""
    line = _first_line(os.path.join(git_folders(root)[0], "HEAD"))
    mark = "ref: refs/heads/"
    if line == f"{mark}.invalid":  # refs are kept elsewhere
        return str(_ask(root).branch)
    return line[len(mark) :] if line.startswith(mark) else ""


def commit_of(root: str) -> str:
    """HEAD's full hash, "" in a repository without commits."""
    own, shared = git_folders(root)
    line = _first_line(os.path.join(own, "HEAD"))
    if not line.startswith("ref: "):
        return line if len(line) in (40, 64) else str(_ask(root).commit or "")
    name = line[len("ref: ") :]
    loose = _first_line(os.path.join(shared, name))
    if loose:
        return loose
    try:
        with open(os.path.join(shared, "packed-refs"), encoding="utf-8", errors="replace") as file:
            for packed in file:
                if packed.rstrip().endswith(" " + name):
                    return packed.split(" ", 1)[0]
    except OSError:
        pass
    return str(_ask(root).commit or "")


def _ask(root: str):  # type: ignore[no-untyped-def]
    from pathlib import Path

    from research.core import git

    return git.head(Path(root))


def _object(root: str, name: str) -> bytes | None:
    """An object's content, None where it is packed."""
    import zlib

    try:
        with open(os.path.join(git_folders(root)[1], "objects", name[:2], name[2:]), "rb") as file:
            return zlib.decompress(file.read()).split(b"\0", 1)[1]
    except (OSError, zlib.error, IndexError):
        return None


def subject_of(root: str, commit: str) -> str:
    """A commit's subject."""
    content = _object(root, commit)
    if content is None:
        from pathlib import Path

        from research.core import git

        return git.commit(Path(root), commit).subject
    message = content.split(b"\n\n", 1)[1] if b"\n\n" in content else b""
    lines = message.decode("utf-8", "replace").strip().split("\n\n", 1)[0].split("\n")
    return " ".join(line.strip() for line in lines)


def differs(root: str, commit: str, path: str) -> bool:
    """Whether a file at the top of the work tree is not the commit's."""
    try:
        with open(os.path.join(root, path), "rb") as file:
            content = file.read()
    except OSError:
        content = b""
    content_of_commit = _object(root, commit)
    tree = None
    if content_of_commit and content_of_commit.startswith(b"tree "):
        tree = _object(root, content_of_commit[5:].split(b"\n", 1)[0].decode())
    if tree is None:
        from pathlib import Path

        from research.core import git

        committed = git.blob(Path(root), commit, path) or b""
        return committed.replace(b"\r\n", b"\n") != content.replace(b"\r\n", b"\n")
    name = _entry(tree, path.encode(), len(commit) // 2)
    return name not in [_blob_name(text, len(commit)) for text in (content, content.replace(b"\r\n", b"\n"))]


def _entry(tree: bytes, path: bytes, size: int) -> str:
    """The object that a tree has under a name."""
    at = 0
    while at < len(tree):
        stop = tree.index(b"\0", at)
        if tree[at:stop].split(b" ", 1)[1] == path:
            return tree[stop + 1 : stop + 1 + size].hex()
        at = stop + 1 + size
    return ""


def _blob_name(content: bytes, digits: int) -> str:
    text = b"blob %d\0" % len(content) + content
    if digits != 40:
        from hashlib import sha256

        return sha256(text).hexdigest()
    try:
        from _sha1 import sha1  # type: ignore[import-not-found]  # OpenSSL loads slowly
    except ImportError:
        from hashlib import sha1
    return str(sha1(text).hexdigest())
