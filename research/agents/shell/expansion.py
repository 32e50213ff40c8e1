"""What plain commands print and plain expansions come to: enough to follow text that flows into another command."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from research.agents.shell.evaluate import Act, Walk


MARKS = {"*": "\ue000", "?": "\ue001", "[": "\ue002", "{": "\ue003", "}": "\ue004", ",": "\ue005"}
"""What stands for an unquoted sign in a word."""
PLAIN = {mark: char for char, mark in MARKS.items()}
FIELDS = 2000
"""Words that one pattern may come to."""


def output_of(act: Act, walk: Walk) -> str | None:
    """What a command would print, where that is plain from its words."""
    name, arguments = (act.argv[0] if act.argv else ""), act.argv[1:]
    if name == "echo":
        words = [word for word in arguments if word not in ("-n", "-e", "-ne", "-en", "-E")]
        return " ".join(words).replace("\\n", "\n" if len(words) < len(arguments) else "\\n") + "\n"
    if name == "printf" and arguments:
        text = arguments[0].replace("\\n", "\n").replace("\\t", "\t").replace("\\0", "\n")
        for word in arguments[1:]:
            text = text.replace("%s", word, 1) if "%s" in text else text + word
        return text
    if name == "tee" or (name == "cat" and all(word == "-" for word in arguments)):
        return act.stdin
    if name == "cat" and (act.pipes or act.redirects):
        texts = [walk.text_of(word) for word in arguments if not word.startswith("-")]
        return None if None in texts else "".join(text or "" for text in texts)
    if name == "ls" and act.pipes and arguments and not any(word.startswith("-") for word in arguments):
        return "\n".join(arguments) + "\n"
    return None


def trimmed(value: str, rest: str) -> str | None:
    """${X#pattern}, ${X%pattern} and ${X/old/new} for patterns without signs; None where that is not plain."""
    sign, pattern = rest[:1], rest[1:].lstrip(rest[:1])
    if any(char in pattern for char in "*?[$\0") or sign not in ("#", "%", "/"):
        return None
    if sign == "/":
        old, _, new = pattern.partition("/")
        return value.replace(old, new, -1 if rest[:2] == "//" else 1) if old else None
    return value.removeprefix(pattern) if sign == "#" else value.removesuffix(pattern)


def plain(field: str) -> str:
    """A word with its unquoted signs as they were typed."""
    for mark, char in PLAIN.items():
        field = field.replace(mark, char)
    return field


def braces(field: str) -> list[str]:
    """{a,b} written out; what is no such list stays as it is."""
    done: list[str] = []
    waiting = [field]
    while waiting and len(done) + len(waiting) < FIELDS:
        field = waiting.pop()
        start = field.find("\ue003")
        stop = field.find("\ue004", start)
        if start < 0 or stop < 0 or "\ue005" not in field[start:stop]:
            done.append(field)
            continue
        start = field.rfind("\ue003", 0, stop)
        options = field[start + 1 : stop].split("\ue005")
        waiting += [field[:start] + option + field[stop + 1 :] for option in reversed(options)]
    return done + waiting[::-1]


def fits(name: str, pattern: str) -> bool:
    """Whether a name fits a shell pattern; plain ones are judged without fnmatch, which loads slowly."""
    if not any(char in pattern for char in "?["):
        stars = pattern.count("*")
        if stars == 0:
            return name == pattern
        if stars == 1 and pattern[0] == "*":
            return name.endswith(pattern[1:])
        if stars == 1 and pattern[-1] == "*":
            return name.startswith(pattern[:-1])
    from fnmatch import fnmatchcase

    return fnmatchcase(name, pattern)


def globbed(field: str, cwd: str) -> list[str]:
    """The files that a word with unquoted signs means, as a shell lists them."""
    found = ["/" if field.startswith("/") else ""]
    for segment in field.strip("/").split("/"):
        name, paths = plain(segment), found
        if name == segment:
            found = [os.path.join(place, name) for place in paths]
            continue
        found = []
        for place in paths:
            try:
                names = sorted(os.listdir(os.path.join(cwd, place)))
            except OSError:
                continue
            seen = [each for each in names if each[0] != "." or name[0] == "."]
            found += [os.path.join(place, each) for each in seen if fits(each, name)]
        found = found[:FIELDS]
    return [each for each in found if os.path.lexists(os.path.join(cwd, each))]
