"""Whether an order behind "and" or a comma stands on its own: "read it and start the loop" does, "explain how to start
and stop the loop" does not.

In doubt it does not: a person who is not heard says it again, one who is misheard finds out in the morning.
"""

from __future__ import annotations

import re

_LOOKS = r"explain|describe|discuss|tell me|show|list|grep|search|find|print|read|translate|document"
_CREATES = r"write|add|implement|make|insert|put|define"
_EDITS = rf"{_CREATES}|fix|change|remove|set|use|increase|decrease|rename"
TALKS = rf"{_LOOKS}|{_EDITS}|what|why|how|whether|if|unless"
"""Verbs and words after which the rest of a sentence speaks of something, instead of ordering it."""

_CONTROL = (
    r"(?:starts?|stops?|pauses?|resumes?|restarts?|continues?|begins?|halts?|quits?|cancels?|aborts?|launch(?:es)?|"
    r"plays?|exits?|ends?|kills?|starting|stopping|pausing|resuming|restarting|continuing|beginning|halting|quitting|"
    r"cancelling|aborting|launching|ending|killing)"
)
_ENDS_IN_CONTROL = re.compile(rf"\b{_CONTROL}\s*$", re.I)
_NOUN_OF_CONTROL = re.compile(
    rf"\b(?:the|a|an|this|that|my|your|our|(?:crash\w*|fail\w*|errors?|bug|hangs?|exception|leak|problem|issue)\s+"
    rf"(?:at|on|upon|after|before|during))\s+{_CONTROL}\s*$",
    re.I,
)
_TO_CONTROL = re.compile(rf"\bto\s+{_CONTROL}\b", re.I)
_THING_TO = re.compile(
    r"\b(?:functions?|scripts?|methods?|helpers?|tests?|buttons?|commands?|flags?|hooks?|options?|code|ways?|tools?|"
    r"features?|class|routines?|handlers?|switch|verbs?|keys?|shortcuts?|logic|something|anything|support|"
    r"instructions?|threads?|callbacks?|checks?|rules?|how|what|when|where|whether)\s+to\b",
    re.I,
)
_GOVERNOR = re.compile(
    r"\b(?:how|which|who|whose|when|whenever|if|whether|why|what|where|unless|that|like|such as|saying|"
    r"so (?:i|we|you|they|it|one|people))\b|:",
    re.I,
)
_IS_THAT_ONE = re.compile(rf"(?:^|\W)(?:{_LOOKS}|{_EDITS}|in|on|at|to|with|from|of|up|for)\s+$", re.I)
_PAST = (
    r"\b(?:is|are|was|were|has|have|had|did|does|went|got|found|ran|made|saw|came|took|gave|said|thought|wrote|chose|"
    r"kept|lost|won|broke|know|think|mean|\w{2,}ed)\b|'s\b|'ve\b"
)
_FINISHED = re.compile(_PAST, re.I)
_THIRD_PERSON = re.compile(
    r"\b(?:that|which|who|what|it|(?:the|a|an)\s+\w*[^s\s])\s+\w+s(?=\s*,?\s*$|\s+(?:the|a|an|it|in|on|at|with|by|out|up)\b)",
    re.I,
)
_CONDITION = re.compile(r"\W*(?:if|unless|when|whenever|whether)\b", re.I)
_BARE = re.compile(r"\W*(?:\w+\s+)?(?:stop|halt|pause|quit|abort|cease|desist)\W*$", re.I)
_NAMES_WORDS = re.compile(
    r"(?:^|\W)(?:grep|search|rename|translate|define|(?:make|let|have|get|help)\s+(?!an?\b|some\b))"
)
_PROGRAMS_WORDS = re.compile(
    r"\b(?:leave|exit|enter|terminate|interrupt)\b|"
    r"\b(?:stop|halt|pause|quit|abort|cease|end)\s+(?:the|this|a|every|each)\s+(?:run|experiment|work|search)\b",
    re.I,
)
_PROGRAMS_STOP = re.compile(
    r"\b(?:when|whenever|if|unless|in case|on (?:errors?|failure|every|each|nan|an?)|because|since|as soon as|"
    r"once|(?:after|before)(?!\s+(?:that|this|the current|the next|\d+)\b)|after\s+\d+\s+(?!runs?|experiments?|hours?)|"
    r"until(?!\s+i\b)|between(?!\s+(?:experiments|runs)))\b",
    re.I,
)
_PROGRAMS_GO_ON = re.compile(r"\b(?:when|whenever|if|unless|in case|on (?:errors?|failure|every|each|nan))\b", re.I)
_EDIT_FIRST = re.compile(rf"^(?:{_EDITS})\b", re.I)
_CREATE_FIRST = re.compile(rf"^(?:{_CREATES})\b", re.I)


def stands_alone(before: str, clause: str, starts: bool) -> bool:
    """Whether a clause that begins with an order is one, although the sentence began with something else.

    Args:
        before: The sentence up to the clause, without the words that only lead into it.
        clause: The clause.
        starts: Whether it is an order to go on, not one to stop.
    """
    before = before.strip().rstrip(",").strip()
    edits = bool(_EDIT_FIRST.match(before))
    if edits and (_PROGRAMS_WORDS.search(clause) or (_PROGRAMS_GO_ON if starts else _PROGRAMS_STOP).search(clause)):
        return False
    if _ENDS_IN_CONTROL.search(before) and (_BARE.match(clause) or not _NOUN_OF_CONTROL.search(before)):
        return False
    if _BARE.match(clause) and (_NAMES_WORDS.match(before) or re.search(r"\bto [a-z]+$", before)):
        return False
    return not (_TO_CONTROL.search(before) or _THING_TO.search(before) or _is_open(before, edits))


def _is_open(before: str, edits: bool) -> bool:
    """Whether a how, what or that of the text may go on behind an "and"."""
    found = [match for match in _GOVERNOR.finditer(before) if not _is_that_one(before, match)]
    if not found:
        return False
    last = found[-1]
    rest = before[last.end() :].strip()
    if not rest:
        return False
    if _CONDITION.match(before) or (edits and _CONDITION.match(last[0])):
        return True
    if _FINISHED.search(rest):
        return False
    return bool(_CREATE_FIRST.match(before)) or not _THIRD_PERSON.search(before[last.start() :])


def _is_that_one(before: str, match: re.Match[str]) -> bool:
    """Whether a "that" points at a thing: "fix that crash"."""
    return match[0].lower() == "that" and bool(_IS_THAT_ONE.search(before[: match.start()]))
