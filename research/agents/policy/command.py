"""Splits a shell line into its simple commands, by a tokenizer of its own: shlex takes a quoted `>` for an operator."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import NamedTuple

MAX_TOKENS = 400
"""Tokens of a line that are read: more than people type, few enough to take milliseconds; the rest is not judged."""
_OPENING, _CLOSING = frozenset({"if", "do", "{"}), frozenset({"fi", "done", "}"})
_RESERVED = frozenset({"then", "elif", "else", "while", "until", "!"}) | _OPENING | _CLOSING
_WRAPPERS = {
    "env": "-u -C", "sudo": "-u -g", "nohup": "", "setsid": "", "nice": "-n", "timeout": "-k -s", "time": "-f -o",
    "xargs": "-I -n -P -L -d", "command": "", "exec": "", "uvx": "--from --with -p --python",
    "uv run": "--with --with-requirements --extra --group --env-file --python -p --directory --project",
}  # fmt: skip
"""Programs that run another command, with their options that take a value."""
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


class Redirect(NamedTuple):
    """One redirection of a command."""

    descriptor: str  # the digit before the sign, "" for none
    sign: str  # such as ">" or ">>"
    target: str  # the word behind the sign

    @property
    def writes(self) -> bool:
        """Return whether it writes a file."""
        return ">" in self.sign and (self.sign != ">&" or not self.target.rstrip("-").isdigit())


@dataclass(frozen=True)
class Command:
    """One simple command of a line, without quotes and assignments."""

    words: tuple[str, ...]  # the program and its arguments
    cwd: str | None  # the folder that it runs in, None where a `cd` leads somewhere unknown
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # variables of its shell
    line: str = ""  # the whole line
    wrappers: tuple[str, ...] = ()  # words taken off before the program: `env`, `timeout 900`, `uv run --frozen`
    redirects: tuple[Redirect, ...] = ()
    stdin: str = ""  # the text of a heredoc or a here-string
    piped: bool = False  # whether its output goes into a pipe
    background: bool = False  # whether a `&` sends it, or the group that it is in, to the background

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
        known = {**self.environment, "PWD": self.cwd or "$"}
        word = re.sub(r"\A~(?=/|\Z)", "$HOME", word)
        word = _VARIABLE.sub(lambda found: known.get(found[1] or found[2], "$"), word)
        if "$" in word or "`" in word or not word or (self.cwd is None and not word.startswith("/")):
            return ""
        return os.path.normpath(os.path.join(self.cwd or "/", word))


def read_line(line: str, cwd: str | None, environment: Mapping[str, str]) -> list[Command]:
    """Return the simple commands of a line, in order; cwd is where it would run, None if that is unknown."""
    text, bodies = _cut_heredocs(line.replace(_BODY, ""))
    reader = _LineReader(Command((), cwd, environment, line), bodies)
    for found in islice(_TOKEN.finditer(text), MAX_TOKENS):
        if found.lastgroup == "redirect":
            reader.sign = found[0]
        elif found.lastgroup == "word":
            reader.take_word(_QUOTED.sub(_unquoted, found[0]))
        elif found.lastgroup == "operator":
            reader.take_operator(found[0])
    reader.take_operator(";")
    return reader.commands


class _LineReader:
    """A reader that collects the simple commands of a line, token by token."""

    def __init__(self, now: Command, bodies: list[str]) -> None:
        self.commands: list[Command] = []
        self.sign = ""  # sign of a redirection whose word comes next
        self._now, self._words = now, list[str]()  # the command that is being read, and its words so far
        self._bodies = bodies  # texts of the heredocs
        self._last_cwd = now.cwd  # the folder that `cd -` leads to
        self._outside: list[tuple[Command, list[str]]] = []  # commands that a subshell or a substitution interrupts
        self._depth = 0  # of groups such as { }
        self._first = 0  # index of the first of the commands that one `&` sends to the background

    def take_word(self, word: str) -> None:
        """Take a word: a redirection's, one of the command's, or a reserved one or an assignment before it."""
        if self.sign:
            self._now, self.sign = _redirected(self._now, self.sign, word, self._bodies), ""
        elif self._words or not (word in _RESERVED or _ASSIGNMENT.match(word)):
            self._words.append(word)
        else:
            self._depth += (word in _OPENING) - (word in _CLOSING)

    def take_operator(self, token: str) -> None:
        """Take an operator, which ends the command before it."""
        self.sign = ""
        if token == "(":
            self._outside.append((self._now, self._words))
        elif self._words or self._now.redirects:
            self._end_command(is_piped=token in ("|", "|&"))
        self._now, self._words = replace(self._now, redirects=(), stdin=""), []
        if token == "&":
            self.commands[self._first :] = [replace(one, background=True) for one in self.commands[self._first :]]
        if token == ")" and self._outside:
            self._now, self._words = self._outside.pop()
        elif token in (";", "\n", "&") and not self._outside and self._depth <= 0:
            self._first = len(self.commands)

    def _end_command(self, is_piped: bool) -> None:
        """Keep the command that was read; after a `cd` the next ones run elsewhere."""
        program, wrappers = _unwrap(self._words)
        done = replace(self._now, words=tuple(program), wrappers=tuple(wrappers), piped=is_piped)
        self.commands.append(done)
        if done.name in ("cd", "pushd"):
            target = (*done.operands, "~")[0]
            cwd = self._last_cwd if target == "-" else done.path(target) or None
            self._now, self._last_cwd = replace(self._now, cwd=cwd), done.cwd


def _redirected(command: Command, sign: str, word: str, bodies: list[str]) -> Command:
    """Return a command with one more redirection."""
    if sign.startswith("<<"):
        number = word.removeprefix(_BODY)
        return replace(command, stdin=word if sign == "<<<" else bodies[int(number)] if number != word else "")
    descriptor = sign[0] if sign[0].isdigit() else ""
    return replace(command, redirects=(*command.redirects, Redirect(descriptor, sign.removeprefix(descriptor), word)))


def script_of(command: Command) -> str:
    """Return the script that a shell is given behind -c or on its input; "" for other programs and for script files."""
    if command.name not in ("bash", "sh", "dash", "zsh"):
        return ""
    flags = [place for place, word in enumerate(command.words) if re.fullmatch(r"-\w*c\w*", word)]
    if flags:
        return "".join(command.words[flags[0] + 1 : flags[0] + 2])
    return "" if command.operands else command.stdin


def _unquoted(found: re.Match[str]) -> str:
    if found[2] is not None:
        return re.sub(r'\\(["\\$`\n])', r"\1", found[2])
    return found[1] if found[1] is not None else found[3]


def _cut_heredocs(text: str) -> tuple[str, list[str]]:
    """Return a text without the bodies of its heredocs, and the bodies; a mark with its number stands for each."""
    kept = ""
    bodies: list[str] = []
    while found := _HEREDOC.search(text):
        kept += f"{text[: found.start()]}<<{_BODY}{len(bodies)}"
        line, _, rest = text[found.end() :].partition("\n")
        end = re.search(rf"^[ \t]*{found[2]}[ \t]*$", rest, re.M)
        bodies.append(rest[: end.start()] if end else rest)
        text = f"{line}\n{rest[end.end() :] if end else ''}"
    return kept + text, bodies


def _unwrap(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the words of the command that wrappers run, and the words of the wrappers."""
    taken: list[str] = []
    while words:
        program = words[0].rsplit("/", 1)[-1]
        head = program if program in _WRAPPERS else " ".join([program, *words[1:2]])
        if head not in _WRAPPERS:
            break
        place, values = len(head.split()), _WRAPPERS[head].split()
        while place < len(words) and (words[place].startswith("-") or _ASSIGNMENT.match(words[place])):
            if words[place] in ("-m", "--module") and head == "uv run":
                words = [*words[:place], "python", *words[place:]]
                break
            place += 2 if words[place] in values else 1
        place += head == "timeout"  # how long
        taken, words = taken + words[:place], words[place:]
    return words, taken
