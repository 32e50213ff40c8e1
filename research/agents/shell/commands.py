"""Reads a shell command line the way a shell would: words, quotes, pipes, redirections, heredocs, substitutions.

It runs nothing and judges nothing. What it can't read (an unclosed quote) ends the reading; what came before stands,
since a shell would have run that too. No imports beyond the built-in ones: this is on the path of every command that
an agent types, and importing `re` alone takes as long as the rest of the hook.
"""

from __future__ import annotations

from research.agents.shell.words import BREAKS, End, Words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from research.agents.shell.words import Word

_KEYWORDS = frozenset({"if", "then", "else", "elif", "do", "while", "until", "!", "{", "time", "coproc"})
_ENDINGS = frozenset({"fi", "done", "esac", "}"})


class Redirect:
    """One redirection: descriptor ("" for the default), operator, target word, or the text of a heredoc."""

    __slots__ = ("fd", "op", "target", "text")

    def __init__(self, fd: str, op: str, target: Word, text: str | None = None) -> None:
        self.fd, self.op, self.target, self.text = fd, op, target, text


class Simple:
    """One command as typed: words, redirections, and what stands around it.

    Attributes:
        words: Its words; assignments in front are words too.
        redirects: Its redirections, in order.
        piped: Whether its input is the previous command's output.
        pipes: Whether its output goes into the next one.
        background: Whether it is sent to the background.
        loop: The variable of a ``for`` loop, whose values the words are.
    """

    __slots__ = ("background", "loop", "piped", "pipes", "redirects", "words")

    def __init__(self) -> None:
        self.words: list[Word] = []
        self.redirects: list[Redirect] = []
        self.piped = self.pipes = self.background = False
        self.loop: str | None = None


class Group:
    """A subshell, a braced part or a function's body: what is inside, and the redirections and pipes around it."""

    __slots__ = ("background", "body", "function", "piped", "pipes", "redirects", "subshell")

    def __init__(self, body: list[Simple | Group], subshell: bool, function: str) -> None:
        self.body, self.subshell, self.function = body, subshell, function
        self.redirects: list[Redirect] = []
        self.piped = self.pipes = self.background = False


def read(text: str) -> list[Simple | Group]:
    """The commands of a text, in order."""
    reader = _Reader(text.replace("\r\n", "\n").replace("\\\n", ""))
    try:  # noqa: SIM105 - contextlib is one more import
        reader.script("")
    except (End, RecursionError):
        pass
    return reader.done()


class _Reader(Words):
    """A cursor over the text, and what was read so far at every depth."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.levels: list[list[Simple | Group]] = [[]]
        self.heredocs: list[tuple[Redirect, str, bool]] = []
        self.case_depth = 0
        self.function = ""
        self.loops: list[int] = []
        self.looped: int | None = None

    def done(self) -> list[Simple | Group]:
        """The outermost level, with what was unfinished inside it put in."""
        while len(self.levels) > 1:
            inner = self.levels.pop()
            self.levels[-1].extend(inner)
        return self.levels[0]

    def nested(self) -> int:
        """See Words."""
        inner = _Reader(self.text[self.at :])
        inner.script(")")
        return inner.at

    # Commands -------------------------------------------------------------------------------------------------

    def script(self, until: str) -> None:
        """Reads commands up to an unquoted closing character ("" for the end of the text)."""
        piped = False
        while True:
            self.blanks()
            char = self.peek()
            if char == "":
                if until:
                    raise End
                return
            if char == until:
                self.at += 1
                return
            if char == "\n":
                self.newline()
                continue
            if char in ";&|":
                self.at += 1
                if self.case_depth and char == ";" and self.peek() == ";":
                    self.at += 1
                    self.case_pattern()
                continue
            if char == ")":
                self.at += 1
                continue
            item = self.command()
            if item is None:
                continue
            item.piped = piped
            self.levels[-1].append(item)
            piped = self.connector(item)

    def newline(self) -> None:
        """Steps over a line end; the bodies of heredocs start behind it."""
        self.at += 1
        waiting, self.heredocs = self.heredocs, []
        for redirect, delimiter, strip in waiting:
            lines = []
            while self.at < len(self.text):
                stop = self.text.find("\n", self.at)
                stop = len(self.text) if stop < 0 else stop
                line = self.text[self.at : stop]
                self.at = stop + 1
                if strip:
                    line = line.lstrip("\t")
                if line == delimiter:
                    break
                lines.append(line)
            self.at = min(self.at, len(self.text))
            redirect.text = "\n".join(lines) + "\n" if lines else ""

    def connector(self, item: Simple | Group) -> bool:
        """Reads what follows a command; returns whether the next one takes its output."""
        self.blanks()
        char, second = self.peek(), self.peek(1)
        if char == "|" and second != "|":
            self.at += 2 if second == "&" else 1
            item.pipes = True
            self.blanks()
            while self.peek() == "\n":
                self.newline()
                self.blanks()
            return True
        if char and char in "&|" and second == char:
            self.at += 2
        elif char == "&":
            self.at += 1
            item.background = True
        return False

    def command(self) -> Simple | Group | None:
        """Reads one command, or a group with its redirections; None for a keyword that ends something."""
        if self.peek() == "(":
            if self.peek(1) == "(":
                self.skip_to("))")
                return None
            self.at += 1
            return self.group(")", True)
        if self.peek() == "{" and self.peek(1) in (" ", "\t", "\n"):
            self.at += 1
            return self.group("}", False)
        simple = Simple()
        while True:
            self.blanks()
            char = self.peek()
            if char in ("", "\n", ";", "&", "|", ")") and not self.is_redirect():
                break
            if char == "(":
                self.function_or_array(simple)
                if not simple.words:
                    return None
                continue
            if self.redirect(simple.redirects):
                continue
            word = self.word()
            if not self.keyword(simple, word):
                return None if not simple.redirects else simple
            if simple.words and simple.words[0] == (("lit", "[[", False),):
                self.skip_to("]]")
                simple.words = [(("lit", "test", False),)]
        if self.looped is not None:
            self.feed(self.looped, simple.redirects)
            self.looped = None
        return simple if simple.words or simple.redirects else None

    def feed(self, start: int, redirects: list[Redirect]) -> None:
        """What flows into a loop behind its ``done`` is what ``read`` reads in it."""
        given = [each for each in redirects if each.op in ("<", "<<", "<<-", "<<<") and each.fd in ("", "0")]
        for item in self.levels[-1][start:]:
            if isinstance(item, Simple) and (("lit", "read", False),) in item.words[:3]:
                item.redirects += given

    def keyword(self, simple: Simple, word: Word) -> bool:
        """Puts a word into the command, or acts on it as a keyword; False where the command ends with it."""
        name = word[0][1] if len(word) == 1 and word[0][0] == "lit" and not word[0][2] else ""
        if not simple.words:
            if name in ("while", "until", "for", "select"):
                self.loops.append(len(self.levels[-1]))
            if name in _KEYWORDS:
                return True
            if name in _ENDINGS:
                if name == "done" and self.loops:
                    self.looped = self.loops.pop()
                if name == "esac":
                    self.case_depth = max(0, self.case_depth - 1)
                return True
            if name == "function":
                self.blanks()
                self.function = "".join(part[1] for part in self.word())
                return True
            if name == "case":
                self.blanks()
                self.word()
                self.blanks()
                if self.peek() == "i":
                    self.word()
                self.case_depth += 1
                self.case_pattern()
                return True
            if name in ("for", "select"):
                self.blanks()
                if self.peek() == "(":
                    self.skip_to("))")
                    return True
                variable = self.word()
                simple.loop = variable[0][1] if variable else ""
                self.blanks()
                if self.text.startswith("in", self.at):
                    self.at += 2
                simple.words.append((("lit", "for", True),))
                return True
        simple.words.append(word)
        return True

    def group(self, until: str, subshell: bool) -> Group:
        """Reads a group up to its closing character, then its redirections."""
        self.levels.append([])
        function, self.function = self.function, ""
        self.script(until)
        group = Group(self.levels.pop(), subshell, function)
        while True:
            self.blanks()
            if not self.redirect(group.redirects):
                return group

    def function_or_array(self, simple: Simple) -> None:
        """``name()`` drops the name (the body counts as run); ``a=(...)`` takes the words in."""
        self.at += 1
        self.blanks()
        if self.peek() == ")":
            self.at += 1
            self.function = "".join(part[1] for word in simple.words[:1] for part in word)
            simple.words.clear()
            return
        while True:
            while self.peek() and self.peek() in " \t\n":
                self.at += 1
            if self.peek() == "":
                raise End
            if self.peek() == ")":
                self.at += 1
                return
            if self.peek() in BREAKS:
                self.at += 1
                continue
            simple.words.append(self.word())

    def case_pattern(self) -> None:
        """Skips ``pattern)`` in front of a branch of ``case``."""
        while self.peek() and self.peek() in " \t\n;":
            self.at += 1
        if self.text.startswith("esac", self.at):
            return
        place = self.text.find(")", self.at)
        if place < 0:
            raise End
        self.at = place + 1

    # Redirections ---------------------------------------------------------------------------------------------

    def is_redirect(self) -> bool:
        """Whether a redirection starts at the cursor."""
        place = self.at
        while place < len(self.text) and self.text[place].isdigit():
            place += 1
        rest = self.text[place : place + 2]
        if place == self.at and rest == "&>":
            return True
        return rest[:1] in ("<", ">") and rest not in ("<(", ">(")

    def redirect(self, into: list[Redirect]) -> bool:
        """Reads one redirection, if there is one."""
        if not self.is_redirect():
            return False
        start = self.at
        while self.peek().isdigit():
            self.at += 1
        fd = self.text[start : self.at]
        ops = ("&>>", "<<<", "<<-", "&>", "<<", ">>", ">|", "<>", "<&", ">&", "<", ">")
        op = next(op for op in ops if self.text.startswith(op, self.at))
        self.at += len(op)
        self.blanks()
        target = self.word()
        redirect = Redirect(fd, op, target)
        if op in ("<<", "<<-"):
            delimiter = "".join(part[1] for part in target)
            redirect.text = ""
            self.heredocs.append((redirect, delimiter, op == "<<-"))
        into.append(redirect)
        return True
