"""Words of a shell command line: quotes, escapes and expansions, read the way a shell would."""

from __future__ import annotations

BREAKS = " \t\n;&|()<>"

TYPE_CHECKING = False
if TYPE_CHECKING:
    Part = tuple[str, str, bool]
    """Kind (lit, var, sub, process), text, whether it was quoted."""
    Word = tuple[Part, ...]


class End(Exception):
    """The text ends inside something."""


class Words:
    """A cursor over the text that reads words."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def nested(self) -> int:
        """The length of the script at the cursor, up to and with the bracket that closes it."""
        raise AssertionError("the command reader knows scripts")

    def peek(self, ahead: int = 0) -> str:
        """The character at the cursor, "" at the end."""
        place = self.at + ahead
        return self.text[place] if place < len(self.text) else ""

    def blanks(self) -> None:
        """Skips blanks and comments."""
        while (char := self.peek()) and char in " \t":
            self.at += 1
        if self.peek() == "#":
            while self.peek() not in ("", "\n"):
                self.at += 1

    def skip_to(self, mark: str) -> None:
        """Steps behind a mark."""
        place = self.text.find(mark, self.at)
        if place < 0:
            raise End
        self.at = place + len(mark)

    # Words ----------------------------------------------------------------------------------------------------

    def word(self) -> Word:
        """Reads one word; never reads nothing."""
        parts: list[Part] = []
        start = self.at
        while (char := self.peek()) and (char not in BREAKS or self.text[self.at : self.at + 2] in ("<(", ">(")):
            if char == "'":
                self.at += 1
                parts.append(("lit", self.upto("'"), True))
            elif char == '"':
                self.at += 1
                self.double(parts)
            elif char == "\\":
                parts.append(("lit", self.peek(1), True))
                self.at += 2
            elif char in "<>":
                self.at += 2
                parts.append(("process", self.matched(")"), False))
            elif char in "$`":
                self.dollar(parts, False)
            else:
                parts.append(("lit", char, False))
                self.at += 1
        if self.at == start:
            self.at += 1
        return _joined(parts)

    def upto(self, mark: str) -> str:
        """The text up to a mark, the cursor behind it."""
        place = self.text.find(mark, self.at)
        if place < 0:
            raise End
        text, self.at = self.text[self.at : place], place + 1
        return text

    def double(self, parts: list[Part]) -> None:
        """Reads up to the closing double quote."""
        parts.append(("lit", "", True))
        while (char := self.peek()) != '"':
            if char == "":
                raise End
            if char == "\\" and self.peek(1) and self.peek(1) in '"\\$`':
                parts.append(("lit", self.peek(1), True))
                self.at += 2
            elif char in "$`":
                self.dollar(parts, True)
            else:
                parts.append(("lit", char, True))
                self.at += 1
        self.at += 1

    def dollar(self, parts: list[Part], quoted: bool) -> None:
        """Reads an expansion."""
        if self.peek() == "`":
            self.at += 1
            parts.append(("sub", self.upto("`"), quoted))
            return
        following = self.peek(1)
        if following == "'" and not quoted:
            self.at += 2
            parts.append(("lit", _ansi(self.ansi_text()), True))
        elif following == '"' and not quoted:
            self.at += 2
            self.double(parts)
        elif self.text.startswith("$((", self.at):
            self.at += 3
            self.skip_to("))")
            parts.append(("lit", "0", True))
        elif following == "(":
            self.at += 2
            parts.append(("sub", self.matched(")"), quoted))
        elif following == "{":
            self.at += 2
            parts.append(("var", self.matched("}"), quoted))
        elif following.isalnum() or following in ("_", "@", "*", "#", "?", "$", "!", "-"):
            self.at += 1
            start = self.at
            self.at += 1
            if following.isalpha() or following == "_":
                while self.peek().isalnum() or self.peek() == "_":
                    self.at += 1
            parts.append(("var", self.text[start : self.at], quoted))
        else:
            parts.append(("lit", "$", quoted))
            self.at += 1

    def ansi_text(self) -> str:
        """The raw text of $'...'."""
        start = self.at
        while self.peek() != "'":
            if self.peek() == "":
                raise End
            self.at += 2 if self.peek() == "\\" else 1
        self.at += 1
        return self.text[start : self.at - 1]

    def matched(self, closing: str) -> str:
        """The text up to the closing bracket that belongs to the one just read, quotes and heredocs respected."""
        start = self.at
        if closing == ")":
            self.at += self.nested()
            return self.text[start : self.at - 1]
        depth = 1
        while depth:
            char = self.peek()
            if char == "":
                raise End
            self.at += 1
            if char == "\\":
                self.at += 1
            elif char == '"':
                self.double([])
            elif char in "{}":
                depth += 1 if char == "{" else -1
        return self.text[start : self.at - 1]


def _joined(parts: list[Part]) -> Word:
    """Neighbouring literals of the same kind as one."""
    found: list[Part] = []
    for kind, text, quoted in parts:
        if found and kind == "lit" and found[-1][0] == "lit" and found[-1][2] == quoted:
            found[-1] = ("lit", found[-1][1] + text, quoted)
        else:
            found.append((kind, text, quoted))
    return tuple(found)


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "v": "\v"}


def _ansi(text: str) -> str:
    """The value of $'...'."""
    found, at = [], 0
    while at < len(text):
        char = text[at]
        following = text[at + 1 : at + 2]
        at += 1
        if char != "\\" or not following:
            found.append(char)
            continue
        at += 1
        if following in "xuU":
            value, at = _digits(text, at, "0123456789abcdefABCDEF")
            found.append(chr(int(value, 16)) if value else following)
        elif following in "01234567":
            value, at = _digits(text, at - 1, "01234567")
            found.append(chr(int(value, 8)))
        else:
            found.append(_ESCAPES.get(following, following))
    return "".join(found)


def _digits(text: str, at: int, allowed: str) -> tuple[str, int]:
    """Up to four digits from a place on, and the place behind them."""
    start = at
    limit = 2 if len(allowed) > 8 else 3
    while at < len(text) and at - start < limit and text[at] in allowed:
        at += 1
    return text[start:at], at
