"""What is protected, and what to say to whoever would change it.

Three areas. The *store* (results/, results.tsv) is written by the runner and the verbs, on every branch. The *harness*
(prepare.py, research/, scripts/, .codex/, pyproject.toml and the machine's data folder) is fixed while experiments run:
on autoresearch/* branches, and anywhere while autonomy is on; elsewhere people and their agents work on it. *Secrets*
(memory.db, and score.json and finish.json of a run's folder) hold audit scores, which nobody who chooses
experiments may see.
"""

from __future__ import annotations

import os

from research.agents.shell.evaluate import UNKNOWN
from research.agents.shell.expansion import fits

HARNESS = ("prepare.py", "research", "scripts", ".codex", "pyproject.toml")
STORE = ("results", "results.tsv")
_SECRET_NAMES = frozenset({"score.json", "finish.json"})
_LISTED = 4000
"""Files of a folder that are looked through for a name."""


class Where:
    """Where a command would run, and what is guarded there.

    Attributes:
        root: Top of the work tree.
        roots: The same with links resolved, and the main work tree's top where this is a linked one.
        branch: The branch, "" when detached.
        guarded: Whether the harness is protected.
        driven: Whether a driver started the agent, which then only edits and commits.
        data: The machine's folder of data and tokenizers.
        backend: Words after the runner's name that this lab uses.
    """

    __slots__ = ("backend", "branch", "data", "driven", "guarded", "root", "roots")

    def __init__(
        self, root: str, branch: str, guarded: bool, driven: bool = False, data: str = "", backend: str = ""
    ) -> None:
        self.root, self.branch, self.guarded, self.driven = root, branch, guarded, driven
        self.roots = list(dict.fromkeys((os.path.normpath(root), os.path.realpath(root), *_main_tree(root))))
        self.data, self.backend = data, backend

    @property
    def is_experimental(self) -> bool:
        """Whether the branch is one of experiments."""
        return self.branch.startswith("autoresearch/")


def _main_tree(root: str) -> tuple[str, ...]:
    """The main work tree of a linked one."""
    try:
        with open(os.path.join(root, ".git"), encoding="utf-8") as file:
            text = file.read(4096)
    except OSError:
        return ()
    place = text.removeprefix("gitdir:").strip()
    mark = "/.git/worktrees/"
    return (place[: place.index(mark)],) if mark in place else ()


def _guarded(where: Where) -> tuple[str, ...]:
    return STORE + HARNESS if where.guarded else STORE


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _spellings(path: str, links: dict[str, str]) -> list[str]:
    """A path, what links on the command line make of it, and where links on disk lead."""
    found = [path]
    for link, target in links.items():
        if _within(path, link):
            found.append(target + path[len(link) :])
    found += [os.path.realpath(each) for each in list(found)]
    return list(dict.fromkeys(found))


def area_of(path: str | None, where: Where, links: dict[str, str]) -> str | None:
    """The protected part that a path is, lies in, or None; a path whose beginning is unknown counts by its end."""
    if path is None:
        return None
    for spelling in _spellings(path, links):
        for root in where.roots:
            for name in _guarded(where):
                if _within(spelling, f"{root}/{name}"):
                    return name
        if where.guarded and where.data and _within(spelling, where.data):
            return where.data
    return None


def area_of_unknown(word: str, where: Where) -> str | None:
    """The protected part that a word with an unknown beginning would probably be."""
    tail = word.rsplit(UNKNOWN, 1)[-1].lstrip("/")
    parts = [part for part in tail.split("/") if part]
    if not parts or UNKNOWN not in word:
        return None
    return parts[0] if parts[0] in _guarded(where) and not word.startswith(("/tmp/", "/var/tmp/")) else None


def areas_under(path: str | None, where: Where, links: dict[str, str], with_store: bool = True) -> str | None:
    """A protected part that lies inside a folder; the store only where what git ignores is meant too."""
    if path is None:
        return None
    for spelling in _spellings(path, links):
        for root in where.roots:
            for name in _guarded(where):
                if not with_store and name in STORE:
                    continue
                place = f"{root}/{name}"
                if _within(place, spelling) and os.path.lexists(place):
                    return name
    return None


def is_secret(path: str | None, where: Where, links: dict[str, str]) -> bool:
    """Whether a file holds audit scores."""
    if path is None:
        return False
    for spelling in _spellings(path, links):
        base = os.path.basename(spelling)
        if not (base in _SECRET_NAMES or base.startswith(("memory.db", ".memory"))):
            continue
        if any(_within(spelling, f"{root}/results") for root in where.roots):
            return True
    return False


def fits_a_secret(pattern: str) -> bool:
    """Whether files with audit scores may be among those of a pattern."""
    return any(fits(name, pattern) for name in (*_SECRET_NAMES, "memory.db", "memory.db-wal"))


def named_under(start: str | None, pattern: str, where: Where) -> dict[str, str]:
    """Protected files below a folder whose names fit a pattern: one an area, its secrets first."""
    found: dict[str, str] = {}
    if start is None or not any(_within(root, start) or _within(start, root) for root in where.roots):
        return found
    if pattern in ("", "*"):
        area = area_of(start, where, {}) or areas_under(start, where, {})
        return {area: start if area_of(start, where, {}) else f"{start}/{area}"} if area else found
    seen = 0
    for folder, folders, files in os.walk(start):
        folders[:] = [name for name in folders if name not in (".git", ".venv", "__pycache__", "node_modules")]
        for name in (*files, *folders):
            seen += 1
            path = os.path.join(folder, name)
            area = area_of(path, where, {}) if fits(name, pattern) else None
            if area and (area not in found or is_secret(path, where, {}) > is_secret(found[area], where, {})):
                found[area] = path
        if seen > _LISTED:
            break
    return found


def refusal(area: str, where: Where) -> str:
    """What to say to whoever would change a protected part."""
    if area == "results.tsv":
        return (
            "results.tsv is the lab's ledger: the runner writes it. Run experiments through the runner, and type "
            "`uv run research settle` to carry a verdict out; to overrule one a person types `research decide`."
        )
    if area == "results":
        return (
            "results/ is the lab's memory: the runner and the verbs write it. Put scratch files under /tmp; "
            "`uv run research --help` lists the verbs that change records."
        )
    if area == where.data:
        return (
            "The data folder is the benchmark's and must not change between runs. If data is missing, ask the "
            "person to type `uv run prepare.py`."
        )
    if area == "prepare.py":
        return (
            "prepare.py is the fixed benchmark: changed, no score could be compared any more. Edit train.py only; "
            "what is needed from prepare.py can be done in train.py, or proposed to the person."
        )
    return (
        f"{area} belongs to the harness, which is fixed while experiments run. Edit train.py only; if the harness "
        "itself is broken, tell the person, who mends it on another branch with autonomy off."
    )


SECRET = (
    "This file holds audit scores, which nobody who chooses experiments may see. Use `uv run research last-review`, "
    "`uv run research summary --json`, results.tsv, or the run's run.log."
)
