"""What git would change: protected files, kept commits, other people's repositories."""

from __future__ import annotations

from research.agents.policy.effects import DELETE, WRITE, Effect, has_flag, patched, value_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from research.agents.policy.protected import Where
    from research.agents.shell.evaluate import Act, Walk

_GLOBAL_VALUED = frozenset({"-C", "-c", "--git-dir", "--work-tree", "--namespace", "--exec-path", "--config-env"})


def split(argv: list[str]) -> tuple[list[str], list[str]]:
    """git's own options, and the subcommand with its words."""
    place = 1
    while place < len(argv) and argv[place].startswith("-"):
        place += 2 if argv[place] in _GLOBAL_VALUED else 1
    return argv[1:place], argv[place:]


def refused(act: Act, walk: Walk, where: Where) -> str | None:
    """Why a git command is off-limits, None if it is not."""
    options, words = split(act.argv)
    verb = words[0] if words else ""
    alias = next((word for word in options if word.startswith("alias.")), "")
    if {"--help", "-h"} & set(words):
        return None
    if verb == "config":
        alias = " ".join(words[1:]) if any(word.startswith("alias.") for word in words) else ""
    pushes = verb in ("push", "send-pack") or words[:2] in (["subtree", "push"], ["lfs", "push"], ["svn", "dcommit"])
    if pushes or "push" in alias or (alias and "!" in alias):
        return "Nothing is pushed from here: a person looks at the night's commits and pushes them. Go on locally."
    if verb in ("request-pull", "send-email"):
        return "Nothing is published from here; a person does that. Go on locally."
    if verb == "reset" and "--hard" in words:
        branch = walk.branch if walk.branch is not None else where.branch
        if not branch.startswith("autoresearch/"):
            return (
                "git reset --hard is for autoresearch/* branches only, and this is "
                f"{branch or 'a detached HEAD'}. Keep the work: git stash, or git reset --keep COMMIT."
            )
    if verb == "clean" and has_flag(words, "xX") and not has_flag(words, "n", "--dry-run"):
        return "git clean -x would delete results/ and the lab's memory. Without -x it deletes untracked files only."
    if verb == "stash" and has_flag(words, "a", "--all"):
        return "git stash -a would take results/ and the lab's memory away. Use git stash, or git stash -u."
    if verb == "update-ref" and any(word.startswith("refs/research") or word == "--stdin" for word in words):
        return "refs/research/ keeps every run's commit reachable; the runner writes it. Leave it alone."
    if verb in ("filter-branch", "filter-repo"):
        return "Rewriting history would take away commits that were measured. Add a commit instead."
    return None


def note_branch(act: Act, walk: Walk) -> None:
    """Remembers the branch that a command checks out."""
    _, words = split(act.argv)
    if words[:1] in (["checkout"], ["switch"]) and "--" not in words:
        named = value_of(words, "-b", "-B", "-c", "-C", "--orphan")
        places = [word for word in words[1:] if not word.startswith("-")]
        if named or len(places) == 1:
            walk.branch = named or places[0]


def effects(act: Act, walk: Walk) -> list[Effect]:
    """The files that a git command would write or delete in the work tree."""
    options, words = split(act.argv)
    verb = words[0] if words else ""
    folder = value_of(options, "-C")
    found = [Effect(WRITE, _at_top(place, walk), True) for place in _written(verb, words, act, walk)]
    if verb in ("rm", "mv"):
        found += [Effect(DELETE, word, True) for word in words[1:] if not word.startswith("-")]
    if folder:
        for effect in found:
            effect.word = effect.word if effect.word.startswith("/") else f"{folder}/{effect.word}"
    return found


def _at_top(word: str, walk: Walk) -> str:
    """A path with git's marks for the top of the work tree taken off."""
    for mark in (":/", ":(top)"):
        if word.startswith(mark):
            return f"{walk.root}/{word[len(mark) :]}".rstrip("/")
    return word


def _written(verb: str, words: list[str], act: Act, walk: Walk) -> list[str]:
    paths = words[words.index("--") + 1 :] if "--" in words else None
    if verb == "checkout":
        if paths is not None:
            return paths
        places = [word for word in words[1:] if not word.startswith("-")]
        if has_flag(words, "bB", "--orphan", "--detach"):
            return []
        return places[1:] if len(places) > 1 else [place for place in places if _is_path(place, walk)]
    if verb == "restore":
        if has_flag(words, "", "--staged") and not has_flag(words, "W", "--worktree"):
            return []
        if "-S" in words and "-W" not in words:
            return []
        return paths if paths is not None else _plain(words, ("-s", "--source"))
    if verb == "checkout-index":
        return ["."]
    if verb == "stash" and (words[1:2] == ["push"] or "--" in words):
        return paths if paths is not None else _plain(words[1:], ("-m", "--message"))
    if verb == "update-index" and any("assume" in word or "skip-worktree" in word for word in words):
        return _plain(words, ())
    if verb == "clean" and not has_flag(words, "n", "--dry-run"):
        return [place for place in (paths or _plain(words, ("-e",))) if place != "."]
    if verb in ("apply", "am"):
        text = (act.stdin or "") + "\n".join(walk.text_of(word) or "" for word in _plain(words, ("-p",)))
        below = value_of(words, "--directory")
        return [f"{below}/{place}" if below else place for place in patched(text)]
    if verb == "rm" or verb == "mv":
        return _plain(words, ())
    if verb == "show" or verb == "diff" or verb == "archive":
        target = value_of(words, "--output", "-o")
        return [target] if target else []
    return []


def _plain(words: list[str], valued: tuple[str, ...]) -> list[str]:
    found, place = [], 1
    while place < len(words):
        if words[place] in valued:
            place += 1
        elif not words[place].startswith("-"):
            found.append(words[place])
        place += 1
    return found


def _is_path(word: str, walk: Walk) -> bool:
    """Whether git checkout WORD means a file: it is there, or is the folder itself."""
    import os

    path = walk.path(word)
    return word.startswith((".", ":", "*")) or (path is not None and os.path.lexists(path))
