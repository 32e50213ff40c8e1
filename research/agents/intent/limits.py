"""Reads the limits that a prompt names for the loop: numbers of runs, hours or dollars, and times of day."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from research.agents.intent.words import STOP, plain

MAX_CHARS = 2_000
"""Characters of a prompt that are read: a longer one holds a pasted log, whose numbers are no limits."""
_UNITS = {
    "runs": r"runs?|experiment\w*|experience\w*|times|laufe\w*|versuche\w*|iterations?|fois|mal|veces|essais?|"
    r"corridas?|ejecucion(?:es)?",
    "hours": r"hours?|hrs?|h|std|stunden?|heures?|horas?",
    "minutes": r"minutes?|mins?|minuten|minutos?",
    "days": r"days?|tage?|jours?|dias?",
    "usd": r"dollars?|dolares|usd|bucks",
}
"""Patterns of the words for each unit of a limit."""
_UNIT = rf"(?:(?:{'|'.join(_UNITS.values())})\b|\$)"
_AMOUNT = r"(?:\d{1,3}(?:,\d{3})+|\d{1,6})(?:\.\d+)?"
_MORE = r"\s*(?:more |further |additional |weitere |mas )?"
_EACH_AFTER = re.compile(r"\s+(?:at most |on |for |fur )?(?:per|each|every|pro|je|jed\w+|par|por|chaque|cada)\b")
_EACH_BEFORE = re.compile(r"\b(?:each|every|jed\w+|chaque|cada)\b[^,;.!?…]*\Z")
"""Match what makes a limit one of each run or idea: "5 minutes per run", "limit each run to 5 minutes"."""
_BEFORE_LIMIT = (
    r"(?:\b(?:after|for|at most|up to|max(?:imum)?(?: of)?|no more than|not more than|within|run|do|make(?: it)?|only|"
    r"just|under|below|less than|budget(?: of)?|spend(?: over| more than)?|exceed|with|limit(?: of| to)?|"
    r"limit \w+(?: \w+)? to|or|and|another|once you(?: have|'ve)? (?:done|run|made|spent)|"
    r"mit|nach|fur|hochstens|maximal|unter|oder|und|noch|mach|"
    r"avec|pour|apres|pendant|au plus|moins de|au bout de|ou|et|"
    r"con|tras|durante|por|maximo|despues de|menos de|o|y|haz|"
    rf"(?:{STOP}|para)(?: \w+){{0,2}} (?:in|dans|en))|[,;:(.]|^)[\s:]*"
    r"(?:the next |another |about |around |die nachsten )?"
)
"""Words in front of a limit, of which a comma or the beginning of a text will do: numbers elsewhere are none."""
_LIMIT = re.compile(
    rf"{_BEFORE_LIMIT}(?:\$\s?(?P<dollars>{_AMOUNT})|(?P<number>{_AMOUNT}){_MORE}(?P<unit>{_UNIT}))"
    rf"|\b{STOP}(?: it)? after (?P<bare>\d{{1,4}})(?=\W*(?:$|(?:and|or|please)\b|[,;!?]))"
)
"""A number with its unit; "stop after 5" means runs."""
_CLOCK = re.compile(
    rf"\b(?:until|till|til|before|bis|vor|jusqu'a|avant|hasta|antes de|(?:{STOP}|end|finish|hoe?re?)(?: \w+){{0,2}} "
    r"(?:at|um|a|when it(?: i|')s)|by(?!\s+\d{1,2}(?!\d|:|\s*(?:h|[ap]\.?m|uhr|o'?clock)\b)))"  # "by 64" is a size
    r"\s+(?:tomorrow |morgen |demain |manana )?(?:at |um |a )?(?:las? )?"
    r"(?:(?P<noon>noon|mittag|midi|mediodia)|(?P<midnight>midnight|mitternacht|minuit|medianoche)"
    r"|(?P<hour>2[0-4]|1\d|0?\d)(?:[:.h](?P<minute>[0-5]\d))?\s*(?P<half>[ap]m\b|[ap]\.m\.)?"
    r"(?:\s*(?:uhr|o'?clock|h|heures?)\b)?"
    rf"(?!\d|[.:]\d|{_MORE}(?:{_UNIT}|%|steps?|epochs?)))"
)
"""Matches a time of day: "until 6am", "stop at noon"."""
_UNREAD = re.compile(
    r"\b(?:until|till|til|jusqu'\w+|hasta|bis)\s+(?!i say|i tell|now|jetzt|ahora)(?:[^,;.!?…]|\.\d)+"
    r"|\b(?:at|um|by) \d[^\s,;!?…]*(?: (?:[ap]\.?m|uhr)\b)?"
    rf"|(?:\b{_AMOUNT}{_MORE}{_UNIT}|\${_AMOUNT}){_EACH_AFTER.pattern}(?: \w+)?"
    rf"|\b(?:each|every)\b[^,;.!?…]*? {_AMOUNT}{_MORE}{_UNIT}"
    rf"|\b{STOP}(?: \w+)? (?:when|if|once|as soon as|wenn|si|quand|cuando)\s+(?!i say|i tell)(?:[^,;.!?…]|\.\d)+"
    r"|\b(?:for|after|at most|up to|max(?:imum)?|no more than|within|budget|limit|spend|hochstens|nach|apres|pendant|"
    r"durante|tras)\s+(?:of |to |is )?(?:(?:a|the|some|several|few|couple|of|next|many|einige|ein paar|quelques|"
    rf"algunas|algunos)\s+)*(?:\$?\d(?:[^,;.!?…]|\.\d)*|{_UNIT})"
)
"""Words that sound like a limit; where none could be read in them, the answer says that it was not understood."""
_NUMBERS = {
    word: str(value)
    for value, words in {
        1: "one ein eine einen une", 2: "two zwei deux dos", 3: "three drei trois tres", 4: "four vier quatre cuatro",
        5: "five funf fuenf cinq cinco", 6: "six sechs seis", 7: "seven sieben sept siete", 8: "eight acht huit ocho",
        9: "nine neun neuf nueve", 10: "ten zehn dix diez", 12: "twelve zwolf douze doce", 15: "fifteen quinze quince",
        20: "twenty zwanzig vingt veinte", 30: "thirty dreissig trente treinta", 40: "forty vierzig quarante cuarenta",
        50: "fifty funfzig cinquante cincuenta", 100: "hundred hundert cent cien",
    }.items()
    for word in words.split()
}  # fmt: skip
"""Amounts in words, each with its digits."""
_HOURS_AND_MINUTES = re.compile(r"\b(\d{1,4}) ?h(?:ours?|rs?)? ?(?:and )?(\d{1,3}) ?m(?:in(?:ute)?s?)?\b")
_NUMBER = re.compile(rf"\b(?:{'|'.join(_NUMBERS)})\b")


@dataclass(frozen=True)
class NamedLimits:
    """The limits that an order names; 0 for none."""

    runs: int = 0
    hours: float = 0.0  # also those until a time of day
    usd: float = 0.0
    unread: tuple[str, ...] = ()  # what sounds like a limit and was not understood

    @property
    def limits(self) -> dict[str, float]:
        """Return those that are named."""
        return {name: value for name, value in (("runs", self.runs), ("hours", self.hours), ("usd", self.usd)) if value}


def read_limits(prompt: str, now: time.struct_time) -> NamedLimits:
    """Return the limits that an order names: "for 20 runs", "up to $50", "until 6am", counted from the local time."""
    text = _in_digits(plain(prompt[:MAX_CHARS]))
    clocks, amounts = list(_CLOCK.finditer(text)), list(_amounts(text))
    runs, hours, usd = 0, [_hours_until(found, now) for found in clocks], 0.0
    for found in amounts:
        value = float((found["dollars"] or found["number"] or found["bare"]).replace(",", ""))
        named = "runs" if found["bare"] else found["unit"] or ""
        unit = next((name for name, words in _UNITS.items() if re.fullmatch(words, named)), "usd")
        if unit == "runs":
            runs = int(value)
        elif unit == "usd":
            usd = value
        else:
            hours.append(value * {"minutes": 1 / 60, "hours": 1, "days": 24}[unit])
    for found in (*clocks, *amounts):
        text = text.replace(found[0], "…")
    unread = dict.fromkeys(found[0].strip(" .") for found in _UNREAD.finditer(text))
    return NamedLimits(runs, min(hours, default=0.0), usd, tuple(unread))


def _hours_until(found: re.Match[str], now: time.struct_time) -> float:
    """Return the hours from now to the next time that a clock shows what was named."""
    at = 12 if found["noon"] else 0 if found["midnight"] else int(found["hour"])
    if found["half"] and at <= 12:
        at = at % 12 + 12 * (found["half"][0] == "p")
    minutes = (at % 24 * 60 + int(found["minute"] or 0)) - (now.tm_hour * 60 + now.tm_min)
    return (minutes % (24 * 60) or 24 * 60) / 60


def names_limit(text: str) -> bool:
    """Return whether words name a limit that can be read: a number of runs, hours or dollars, or a time of day."""
    text = _in_digits(text)
    return any(_amounts(text)) or bool(_CLOCK.search(text))


def _amounts(text: str) -> Iterator[re.Match[str]]:
    """Yield the amounts of runs, hours or dollars that limit the loop, not each single run."""
    for found in _LIMIT.finditer(text):
        if not (_EACH_AFTER.match(text, found.end()) or _EACH_BEFORE.search(text[: found.end()])):
            yield found


def _in_digits(text: str) -> str:
    """Return a plain text with its amounts as digits: "an hour and a half" and "1h 30m" as "1.5 hours"."""
    text = _NUMBER.sub(lambda found: _NUMBERS[found[0]], text)
    text = re.sub(r"\b(?:half an|eine? halbe|1 halbe|1 demi-)\s*(?=h|stunde)", "0.5 ", text)
    text = re.sub(rf"\b(?:an?|un|una)\s+(?={_UNIT})", "1 ", text)
    text = re.sub(r"\b(\d{1,4})(?: (?:hours?|h))? and a half(?: hours?\b)?", r"\1.5 hours", text)
    return _HOURS_AND_MINUTES.sub(lambda found: f"{int(found[1]) + int(found[2]) / 60:.4g} hours", text)
