"""What plain commands print and plain expansions come to: enough to follow text that flows into another command."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from research.agents.shell.evaluate import Act, Walk


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
