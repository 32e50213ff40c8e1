"""Follows a command line without running it: what each command's words come to, where it would run, what flows in.

Values that only running would tell are the character UNKNOWN inside a word, so that whoever judges can see them.
"""

from __future__ import annotations

import os

from research.agents.shell.commands import Group, Redirect, Simple, read
from research.agents.shell.expansion import FIELDS, MARKS, PLAIN, braces, globbed, output_of, plain, trimmed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from research.agents.shell.words import Word

    Judge = Callable[["Act", "Walk"], "str | None"]

UNKNOWN = "\0"
_DEPTH = 12
"""Nested shells deeper than this are not followed: nobody writes them."""
_STEPS = 5000
"""Commands that are followed: loops within loops of substitutions would keep the agent waiting."""
_CHARS = 100_000
"""Longest value of a variable; a longer one is as if unknown."""
_DECLARE = ("export", "declare", "local", "readonly", "typeset")


class Act:
    """One command as it would run.

    Attributes:
        argv: Its words after every expansion; empty for a bare redirection.
        redirects: Descriptor, operator, target and heredoc text of each redirection.
        cwd: Where it would run, None when unknown.
        stdin: What it would read, None when unknown.
        background: Whether it would be sent to the background.
        pipes: Whether its output would go into another command.
        piped: Whether another command's output would come in.
    """

    __slots__ = ("argv", "background", "cwd", "piped", "pipes", "redirects", "stdin")

    def __init__(self, argv: list[str], cwd: str | None) -> None:
        self.argv, self.cwd = argv, cwd
        self.redirects: list[tuple[str, str, str, str | None]] = []
        self.stdin: str | None = None
        self.background = self.pipes = self.piped = False

    def like(self, argv: list[str]) -> Act:
        """The same surroundings with other words."""
        other = Act(argv, self.cwd)
        other.redirects, other.stdin = self.redirects, self.stdin
        other.background, other.pipes, other.piped = self.background, self.pipes, self.piped
        return other


class Walk:
    """A walk through a command line.

    Args:
        judge: Looks at each command; what it returns ends the walk.
        cwd: Where the line would run.
        root: Top of the work tree.
        environment: Variables of the shell, as far as known.

    Attributes:
        files: Texts that earlier commands of the line would have written, by path.
        functions: Bodies of the functions that it defined, by name.
        links: Targets of symbolic links that they would have made.
        listing: Folders and name pattern of the last command that listed files into a pipe.
        fetched: Whether the command before fetches something from the network into a pipe.
        branch: The branch that they would have checked out, None for no change.
    """

    def __init__(self, judge: Judge, cwd: str | None, root: str, environment: dict[str, str]) -> None:
        self.judge, self.cwd, self.root, self.environment = judge, cwd, root, environment
        self.variables: dict[str, list[str]] = {}
        self.files: dict[str, str] = {}
        self.functions: dict[str, list[Simple | Group]] = {}
        self.links: dict[str, str] = {}
        self.branch: str | None = None
        self.listing: tuple[list[str], str] | None = None
        self.fetched = False
        self.depth = self.steps = 0
        self.background = False
        self._flow: str | None = None
        self._inner: str | None = None
        self._before: str | None = None

    # Scripts --------------------------------------------------------------------------------------------------

    def run(self, text: str) -> str | None:
        """Follows a script; returns the first refusal."""
        if self.depth >= _DEPTH:
            return None
        self.depth += 1
        try:
            return self._items(read(text))
        finally:
            self.depth -= 1

    def apart(self, text: str, background: bool = False, parameters: list[str] | None = None) -> str | None:
        """Follows a script in a shell of its own, with its $0, $1 ...: its cd and variables end with it."""
        cwd, variables, before = self.cwd, dict(self.variables), self.background
        self.background = before or background
        if parameters is not None:
            self.set_parameters(parameters)
        try:
            return self.run(text)
        finally:
            self.cwd, self.variables, self.background = cwd, variables, before

    def set_parameters(self, words: list[str]) -> None:
        """Gives $0, $1 ... and $@ their values."""
        for number, word in enumerate(words):
            self.variables[str(number)] = [word]
        self.variables["@"] = words[1:]

    def _call(self, act: Act) -> str | None:
        """Follows a function of this line's own."""
        body = self.functions.pop(act.argv[0], None) if act.argv else None
        if body is None:
            return None
        variables = dict(self.variables)
        self.set_parameters(act.argv)
        try:
            return self._items(body)
        finally:
            self.functions[act.argv[0]] = body  # not there meanwhile: one that calls itself would never end
            self.variables = variables

    def _items(self, items: list[Simple | Group]) -> str | None:
        for item in items:
            flow = self._flow if item.piped else None
            self._flow = None
            found = self._group(item, flow) if isinstance(item, Group) else self._simple(item, flow)
            if found:
                return found
        return None

    def _group(self, group: Group, flow: str | None) -> str | None:
        cwd, variables, before = self.cwd, dict(self.variables), self.background
        self.background = before or group.background
        self._flow = flow
        if group.function:
            self.functions[group.function] = group.body
        found = self._items(group.body)
        self.background = before
        if group.subshell:
            self.cwd, self.variables = cwd, variables
        if found or not group.redirects:
            return found
        around = Act([], self.cwd)
        around.redirects = [self._redirect(item) for item in group.redirects]
        return self.judge(around, self)

    def _simple(self, simple: Simple, flow: str | None) -> str | None:
        self.steps += 1
        if self.steps > _STEPS:
            return None
        self._inner = None
        argv = [field for word in simple.words for field in self.expand(word)]
        act = Act(argv, self.cwd)
        act.redirects = [self._redirect(item) for item in simple.redirects]
        if self._inner:
            return self._inner
        act.stdin = flow
        for _, op, target, text in act.redirects:
            if op in ("<<", "<<-"):
                act.stdin = text
            elif op == "<<<":
                act.stdin = target + "\n"
            elif op == "<":
                act.stdin = self.text_of(target)
        act.background, act.pipes = simple.background or self.background, simple.pipes
        act.piped = simple.piped
        if simple.loop is not None:
            self.variables[simple.loop] = argv[1:]
            return None
        self._assign(act)
        found = self.judge(act, self) or self._call(act)
        if found:
            return found
        self._follow(act)
        return None

    def _redirect(self, redirect: Redirect) -> tuple[str, str, str, str | None]:
        if redirect.op in ("<<", "<<-"):
            return redirect.fd, redirect.op, "", self._heredoc(redirect)
        return redirect.fd, redirect.op, " ".join(self.expand(redirect.target)), None

    def _heredoc(self, redirect: Redirect) -> str:
        text = redirect.text or ""
        if any(part[2] for part in redirect.target) or ("$" not in text and "`" not in text):
            return text
        items = read('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
        if not items or not isinstance(items[0], Simple) or not items[0].words:
            return text  # an unclosed bracket or backtick
        return "".join(self.expand(items[0].words[0]))

    # State ----------------------------------------------------------------------------------------------------

    def _assign(self, act: Act) -> None:
        """Takes assignments off the front; without a command they last."""
        taken = 0
        for word in act.argv:
            name, sign, value = word.partition("=")
            if not sign or not name.rstrip("+").isidentifier():
                break
            self.variables[name.rstrip("+")] = [value if len(value) <= _CHARS else UNKNOWN]
            taken += 1
        act.argv = act.argv[taken:]

    def _follow(self, act: Act) -> None:
        """What a harmless command changes for those after it."""
        name, arguments = (act.argv[0] if act.argv else ""), act.argv[1:]
        if name in ("cd", "pushd"):
            place = next((word for word in arguments if not word.startswith("-") or word == "-"), "~")
            if place == "~":
                place = self.environment.get("HOME", UNKNOWN)
            here = self.cwd
            self.cwd = self._before if place == "-" else None if UNKNOWN in place else self.path(place)
            self._before = here
        elif name == "popd":
            self.cwd = None
        elif name in _DECLARE:
            for word in arguments:
                variable, sign, value = word.partition("=")
                if sign:
                    self.variables[variable] = [value]
        elif name == "ln" and len(paths := [word for word in arguments if not word.startswith("-")]) == 2:
            self._link(paths[0], paths[1])
        elif name == "read":
            names = [word for word in arguments if word.isidentifier()]
            lines = [line.strip() for line in (act.stdin or "").split("\n") if line.strip()]
            if act.stdin is not None and len(names) == 1:
                self.variables[names[0]] = lines or [UNKNOWN]  # one after the other, should this be in a loop
            elif act.stdin is not None:
                line = lines[0].split(None, len(names) - 1) if lines and names else []
                for number, variable in enumerate(names):
                    self.variables[variable] = [line[number] if number < len(line) else UNKNOWN]
        elif name == "set" and "--" in arguments:
            self.set_parameters(["", *arguments[arguments.index("--") + 1 :]])
        output = output_of(act, self)
        for fd, op, target, _ in act.redirects:
            if op in (">", ">|", ">>") and fd in ("", "1") and output is not None and (path := self.path(target)):
                self.files[path] = (self.files.get(path, "") if op == ">>" else "") + output
        self._flow = output if act.pipes else None

    def _link(self, target: str, link: str) -> None:
        place, aim = self.path(link), self.path(target)
        if place and aim:
            beside = os.path.normpath(os.path.join(os.path.dirname(place), target))
            self.links[place] = beside if os.path.lexists(beside) else aim

    # Words ----------------------------------------------------------------------------------------------------

    def path(self, word: str) -> str | None:
        """The absolute path that a word means, None where that is unknown."""
        if UNKNOWN in word or not word:
            return None
        if not word.startswith("/"):
            if self.cwd is None:
                return None
            word = self.cwd + "/" + word
        return os.path.normpath(word)

    def text_of(self, word: str) -> str | None:
        """The text of a small file that is there, or that the line would have written."""
        path = self.path(word)
        if path is None:
            return None
        if path in self.files:
            return self.files[path]
        try:
            if not os.path.isfile(path) or os.path.getsize(path) > 200_000:
                return None
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return None

    def expand(self, word: Word) -> list[str]:
        """The fields that a word comes to."""
        fields = [""]
        for number, (kind, text, quoted) in enumerate(word):
            if kind == "lit":
                values = [text if quoted else self._unquoted(text, number == 0)]
            elif kind == "var":
                values = self._value(text)
            else:
                values = self._substituted(kind, text)
            if kind in ("var", "sub") and not quoted and len(word) == 1:
                values = [part for value in values for part in value.split()]
            fields = [(field + value) for field in fields for value in values][:FIELDS]
        if not any(mark in field for field in fields for mark in PLAIN):
            return fields
        return [name for field in fields for brace in braces(field) for name in self._globbed(brace)][:FIELDS]

    def _unquoted(self, text: str, first: bool) -> str:
        if first and text.startswith("~"):
            user, slash, rest = text[1:].partition("/")
            text = (UNKNOWN if user else self.environment.get("HOME", UNKNOWN)) + slash + rest
        for char, mark in MARKS.items():
            if char in text:
                text = text.replace(char, mark)
        return text

    def _value(self, text: str) -> list[str]:
        if text[:1] == "!" and len(text) > 1:
            names = [name if name.isidentifier() else UNKNOWN for name in self._value(text[1:])]
            return [value for name in names for value in ([UNKNOWN] if name == UNKNOWN else self._value(name))]
        name = text = "@" + text[1:] if text[:1] == "*" else text
        for number, char in enumerate(text):
            if not (char.isalnum() or char == "_"):
                name = text[: number or 1]
                break
        rest = text[len(name) :]
        if name in self.variables:
            known: list[str] | None = self.variables[name]
        elif name == "PWD":
            known = [self.cwd or UNKNOWN]
        else:
            known = [self.environment[name]] if name in self.environment else None
        if rest[:2] in (":-", ":=") or rest[:1] in ("-", "="):
            return known if known else [rest.lstrip(":-=")]
        if rest and rest not in ("[@]", "[*]"):
            return [trimmed(value, rest) or UNKNOWN for value in known or []] or [UNKNOWN]
        return [UNKNOWN] if known is None else known

    def _substituted(self, kind: str, text: str) -> list[str]:
        """Follows what is inside $(...), and says what it would print where that is plain."""
        keep, flow = self._inner, self._flow
        found = self.apart(text)
        self._inner, self._flow = keep or found, flow
        if kind == "process":
            path = f"/dev/fd/{63 - sum(name.startswith('/dev/fd/') for name in self.files)}"
            self.files[path] = self._printed(text) or ""
            return [path]
        words = " ".join(text.split())
        if words.startswith("git rev-parse --show-toplevel"):
            return [self.root]
        if words == "pwd":
            return [self.cwd or UNKNOWN]
        if words.startswith("mktemp"):
            return ["/tmp/mktemp.0"]
        output = self._printed(text)
        return [UNKNOWN] if output is None else [output.rstrip("\n")]

    def _printed(self, text: str) -> str | None:
        """What a script of one command would print, where that is plain."""
        items = read(text)
        if len(items) != 1 or not isinstance(items[0], Simple) or not items[0].words or items[0].background:
            return None
        act = Act([field for word in items[0].words for field in self.expand(word)], self.cwd)
        act.pipes = True
        for redirect in items[0].redirects:
            if redirect.op in ("<<", "<<-"):
                act.stdin = self._heredoc(redirect)
        return output_of(act, self)

    def _globbed(self, field: str) -> list[str]:
        if not any(mark in field for mark in ("\ue000", "\ue001", "\ue002")):
            return [plain(field)]
        if UNKNOWN in field or (self.cwd is None and not field.startswith("/")):
            return [plain(field)]
        return globbed(field, self.cwd or "/") or [plain(field)]
