"""Three-way merging of texts by lines: brings a recorded change onto another parent, or refuses where they meet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher


@dataclass(frozen=True)
class Hunk:
    """Lines start up to end of a base give way to new ones."""

    start: int
    end: int
    new: tuple[bytes, ...]


class Conflict(Exception):
    """Two changes touch the same lines in different ways."""


def hunks(base: Sequence[bytes], changed: Sequence[bytes]) -> list[Hunk]:
    """What changed, in pieces as small as can be: a run of edited lines of equal number is one piece a line."""
    found: list[Hunk] = []
    for what, i, j, k, m in SequenceMatcher(None, base, changed, autojunk=False).get_opcodes():
        if what == "equal":
            continue
        if j - i == m - k:
            found += [Hunk(i + n, i + n + 1, (changed[k + n],)) for n in range(j - i)]
        else:
            found.append(Hunk(i, j, tuple(changed[k:m])))
    return found


def applied(base: Sequence[bytes], changes: Sequence[Hunk]) -> bytes:
    """A base with some hunks, which must not overlap."""
    parts: list[bytes] = []
    at = 0
    for hunk in sorted(changes, key=lambda h: (h.start, h.end)):
        parts += [*base[at : hunk.start], *hunk.new]
        at = hunk.end
    return b"".join([*parts, *base[at:]])


def merged(base: bytes, ours: bytes, theirs: bytes) -> bytes:
    """Both changes of a base together; what both did alike counts once.

    Lines that stand next to each other may be changed by different sides (constants do); the same line may not.

    Raises:
        Conflict: where they can't be told apart.
    """
    lines = base.splitlines(keepends=True)
    left = hunks(lines, ours.splitlines(keepends=True))
    right = [hunk for hunk in hunks(lines, theirs.splitlines(keepends=True)) if hunk not in left]
    for one in left:
        for other in right:
            if _meet(one, other):
                raise Conflict(f"both change line {max(one.start, other.start) + 1}")
    return applied(lines, [*left, *right])


def _meet(one: Hunk, other: Hunk) -> bool:
    """Whether two hunks share a line, or insert at the same place."""
    if one.start == one.end or other.start == other.end:
        return one.start <= other.end and other.start <= one.end
    return one.start < other.end and other.start < one.end


def halves(changes: Sequence[Hunk]) -> Iterator[tuple[Hunk, ...]]:
    """Ways to take about half of a change: its first and second half, then every other piece."""
    if len(changes) < 2:
        return
    middle = (len(changes) + 1) // 2
    ways = [tuple(changes[:middle]), tuple(changes[middle:]), tuple(changes[::2]), tuple(changes[1::2])]
    yield from dict.fromkeys(ways)
