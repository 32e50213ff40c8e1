"""Read a command line into its simple commands: words, redirections, the folder it runs in, and what wraps it.

The standard library's shlex is not used: it reads a quoted `>` as an operator, so that `grep '>' prepare.py` would look
like a write, and it takes tens of milliseconds for a long line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice

MAX_TOKENS = 400
"""Tokens of a line that are read: more than people type, few enough to take milliseconds; the rest is not judged."""
_SHELLS = frozenset({"bash", "sh", "dash", "zsh"})
_OPENS, _CLOSES = frozenset({"{", "if", "do"}), frozenset({"}", "fi", "done"})
"""Words that begin and end a group of commands, which one `&` behind it sends to the background as a whole."""
_RESERVED = frozenset({"if", "then", "elif", "else", "do", "while", "until", "!", "{", "}", "fi", "done"})
_UVX = "--from --with -p --python"
_WRAPPERS = {
    "env": "-u -C", "sudo": "-u -g", "nohup": "", "setsid": "", "nice": "-n", "ionice": "-c -n", "timeout": "-k -s",
    "stdbuf": "-i -o -e", "xargs": "-I -n -P -L -d", "command": "", "exec": "", "time": "-f -o", "taskset": "",
    "flock": "-w", "uvx": _UVX, "uv tool run": _UVX, "poetry run": "", "conda run": "-n -p",
    "uv run": "--with --with-requirements --extra --group --env-file --python -p --directory --project",
}  # fmt: skip
"""Programs that run another command, with their options that take a value."""
_TAKES_A_WORD = frozenset({"timeout", "taskset", "flock"})
"""Those of them with a word of their own before the command."""
_HEREDOC = re.compile(r"(?<!<)<<-?[ \t]*(['\"]?)([A-Za-z_]\w*)\1")
_BODY = "\ue000"
"""Marks the place of a heredoc's body; a character that nobody types."""
_TOKEN = re.compile(
    r"""[ \t\r]+ | \\\n | (?<![^\s;&|()])\#[^\n]*
    | (?P<redirect>\d?(?:&>>?|>>|>\||>&|<<<|<<-?|<>|<&|[<>]))
    | (?P<operator>&&|\|\||;;|\|&|[;&|()\n])
    | (?P<word>(?:[^\s'"\\;&|()<>]|'[^']*'|"(?:[^"\\]|\\.)*"|\\.|['"\\])+)""",
    re.S | re.X,
)
_QUOTED = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)""", re.S)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


@dataclass(frozen=True)
class Redirect:
    """One redirection: the descriptor before the sign ("" for none), the sign, and the word behind it."""

    descriptor: str
    sign: str
    target: str

    @property
    def writes(self) -> bool:
        """Return whether it writes a file."""
        return ">" in self.sign and (self.sign != ">&" or not self.target.rstrip("-").isdigit())


@dataclass(frozen=True)
class Command:
    """One simple command of a line.

    Attributes:
        words: The program and its arguments, without quotes, assignments and wrappers.
        cwd: The folder it runs in, None where a `cd` leads somewhere unknown.
        environment: Variables of the shell.
        line: The whole line.
        wrappers: The words taken off before the program: `env`, `timeout 900`, `uv run --frozen`.
        redirects: Its redirections, in order.
        stdin: The text of a heredoc or a here-string.
        feeder: The program whose output is piped into it.
        piped: Whether its output goes into a pipe.
        background: Whether it is sent to the background.
    """

    words: tuple[str, ...]
    cwd: str | None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    line: str = ""
    wrappers: tuple[str, ...] = ()
    redirects: tuple[Redirect, ...] = ()
    stdin: str = ""
    feeder: str = ""
    piped: bool = False
    background: bool = False

    @cached_property
    def name(self) -> str:
        """Return the program without its folder."""
        return self.words[0].rsplit("/", 1)[-1] if self.words else ""

    @cached_property
    def operands(self) -> tuple[str, ...]:
        """Return the words after the program that are no options."""
        return tuple(word for word in self.words[1:] if word == "-" or not word.startswith("-"))

    def has(self, letters: str, *names: str) -> bool:
        """Return whether an option is given: a letter, alone or among others, or a long name."""
        options = [word.split("=")[0] for word in self.words[1:] if word.startswith("-")]
        return any(word in names or (word[1] != "-" and set(letters) & set(word)) for word in options if len(word) > 1)

    def value(self, *names: str) -> str:
        """Return the value of an option, as the next word or behind "=", "" without one."""
        for place, word in enumerate(self.words):
            name, sign, value = word.partition("=")
            if name in names:
                return value if sign else "".join(self.words[place + 1 : place + 2])
        return ""

    def path(self, word: str) -> str:
        """Return the absolute path that a word names, "" where only a shell could tell."""
        if "$" in word:
            known = {**self.environment, "PWD": self.cwd or "$"}
            word = _VARIABLE.sub(lambda found: known.get(found[1] or found[2], "$"), word)
        if word == "~" or word.startswith("~/"):
            word = self.environment.get("HOME", "$") + word[1:]
        if "$" in word or "`" in word or not word or (self.cwd is None and not word.startswith("/")):
            return ""
        return os.path.normpath(os.path.join(self.cwd or "/", word))


def read_line(line: str, cwd: str | None, environment: Mapping[str, str]) -> list[Command]:
    """Return the simple commands of a line, in order.

    Args:
        line: What would be given to a shell.
        cwd: Where, None if that is unknown.
        environment: Variables of the shell, as far as known.
    """
    text, bodies = _cut_heredocs(line.replace(_BODY, ""))
    reader = _Reader(cwd, environment, line, bodies)
    for kind, value in islice(_tokens(text), MAX_TOKENS):
        getattr(reader, kind)(value)
    reader.operator(";")
    return reader.commands


def script_of(command: Command) -> str | None:
    """Return what a shell is given to run, behind -c or on its input; None for other programs and for files."""
    if command.name not in _SHELLS:
        return None
    for place, word in enumerate(command.words[1:], 1):
        if word.startswith("-") and not word.startswith("--") and "c" in word:
            return "".join(command.words[place + 1 : place + 2])
    return None if command.operands else command.stdin


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    for found in _TOKEN.finditer(text):
        if found.lastgroup:
            yield found.lastgroup, _unquoted(found[0]) if found.lastgroup == "word" else found[0]


def _unquoted(word: str) -> str:
    def inner(found: re.Match[str]) -> str:
        if found[2] is not None:
            return re.sub(r'\\(["\\$`\n])', r"\1", found[2])
        return found[1] if found[1] is not None else found[3]

    return _QUOTED.sub(inner, word)


def _cut_heredocs(text: str) -> tuple[str, list[str]]:
    """Take the bodies of heredocs out of a text; a mark with the body's number stays behind the sign."""
    lines, place = text.split("\n"), 0
    kept: list[str] = []
    bodies: list[str] = []
    last = {line.strip(): number for number, line in enumerate(lines)}
    while place < len(lines):
        line = lines[place]
        place += 1
        for found in _HEREDOC.finditer(line):
            if last.get(found[2], -1) >= place:
                end = next(number for number in range(place, len(lines)) if lines[number].strip() == found[2])
                line = line.replace(found[0], f"<<{_BODY}{len(bodies)}", 1)
                bodies.append("\n".join(lines[place:end]))
                place = end + 1
        kept.append(line)
    return "\n".join(kept), bodies


class _Reader:
    """Gathers tokens into commands, and follows `cd` into folders and out of subshells."""

    def __init__(self, cwd: str | None, environment: Mapping[str, str], line: str, bodies: list[str]) -> None:
        self.commands: list[Command] = []
        self._cwd = self._last_cwd = cwd
        self._environment, self._line, self._bodies = environment, line, bodies
        self._outside: list[tuple[str | None, str, list[str], list[Redirect]]] = []
        self._lists = [0]  # of each open group, the number of the first command that an `&` would send away
        self._feeder = ""
        self._begin([], [])

    def _begin(self, words: list[str], redirects: list[Redirect]) -> None:
        self._words, self._redirects, self._sign, self._stdin = words, redirects, "", ""

    def word(self, word: str) -> None:
        """Add a word to the command or the redirection at hand."""
        sign, self._sign = self._sign, ""
        if sign.startswith("<<"):
            number = word.removeprefix(_BODY)
            self._stdin = word if sign == "<<<" else self._bodies[int(number)] if number != word else ""
        elif sign:
            descriptor = sign[0] if sign[0].isdigit() else ""
            self._redirects.append(Redirect(descriptor, sign.removeprefix(descriptor), word))
        elif self._words or not (word in _RESERVED or _ASSIGNMENT.match(word)):
            self._words.append(word)
        elif word in _OPENS:
            self._lists.append(len(self.commands))
        elif word in _CLOSES:
            self._close_group()

    def _close_group(self) -> None:
        if len(self._lists) > 1:
            self._lists.pop()

    def redirect(self, sign: str) -> None:
        """Begin a redirection, which the next word ends."""
        self._sign = sign

    def operator(self, sign: str) -> None:
        """End the command at hand, or begin or end a subshell or a substitution in it."""
        if sign == "(":
            self._outside.append((self._cwd, self._feeder, self._words, self._redirects))
            self._feeder = ""
            self._lists.append(len(self.commands))
            return self._begin([], [])
        pipes = sign in ("|", "|&")
        if self._words or self._redirects:
            self._finish(pipes)
        if sign == "&":
            start = self._lists[-1]
            self.commands[start:] = [replace(each, background=True) for each in self.commands[start:]]
        if sign in ("&", ";", ";;", "\n"):
            self._lists[-1] = len(self.commands)
        if sign == ")" and self._outside:
            self._close_group()
            self._cwd, self._feeder, words, redirects = self._outside.pop()
            return self._begin(words, redirects)
        if sign != "\n" or self._words:
            self._feeder = self.commands[-1].name if pipes and self.commands else ""
        return self._begin([], [])

    def _finish(self, pipes: bool) -> None:
        words, wrappers = _unwrap(self._words)
        command = Command(
            tuple(words), self._cwd, self._environment, self._line, tuple(wrappers), tuple(self._redirects),
            self._stdin, self._feeder, pipes,
        )  # fmt: skip
        self.commands.append(command)
        if command.name in ("cd", "pushd"):
            target = (*command.operands, "~")[0]
            place = self._last_cwd if target == "-" else command.path(target) or None
            self._last_cwd, self._cwd = self._cwd, place


def _unwrap(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the command that wrappers run, and the words of the wrappers."""
    taken: list[str] = []
    while words:
        heads = (" ".join([words[0].rsplit("/", 1)[-1], *words[1:length]]) for length in (3, 2, 1))
        head = next((head for head in heads if head in _WRAPPERS), None)
        if head is None:
            break
        place, values = len(head.split()), _WRAPPERS[head].split()
        while place < len(words) and (words[place].startswith("-") or _ASSIGNMENT.match(words[place])):
            if words[place] in ("-m", "--module") and head == "uv run":
                words[place:] = ["python", *words[place:]]
                break
            place += 2 if words[place] in values else 1
        place += head in _TAKES_A_WORD
        taken, words = taken + words[:place], words[place:]
    return words, taken
