"""What a prompt says about going on by itself: read by sentence and intent, not by a word anywhere.

Quoted text, code and questions change nothing; a negated order is the opposite order; of several the last one counts.
"""

from __future__ import annotations

import re
from typing import Literal

from research.agents.intent_joined import TALKS, stands_alone

Intent = Literal["on", "off", "resume"]
"""resume: a plain "continue", which only means something after the loop ended by itself."""

_QUOTES = (
    r"```.*?(?:```|\Z)", r"`[^`\n]*`", r"\"[^\"\n]*\"", r"“[^”\n]*”", r"«[^»\n]*»", r"(?m)^\s*>.*$",
    r"(?<![\w'])'[^'\n]+'(?!\w)", r"‘[^’\n]*’(?!\w)",
)  # fmt: skip
_LEAD = (
    r"(?:(?:please|pls|ok|okay|now|just|hey|hi|hello|codex|alright|actually|wait|hmm|well|no|yes|yeah|sure|thanks|"
    r"thank you|great|good|enough|so|then|and|but|let'?s|let us|also|immediately|you (?:can|may|should|must|could)"
    r"(?: now)?|i said|i(?:'d| would) like (?:you )?to|i (?:want|need) (?:you )?to|we (?:can|should|must|need to)|"
    r"i think (?:we|you) should|(?:it'?s |it is |i think it'?s )?time (?:for you )?to|go ahead and|after that|"
    r"from now on|from here(?: on)?|at this point|for now|simply|kindly|do)\W+)*"
)
_LOOP = (
    r"(?:(?:the|this|your|our|a|an|new|autonomous|autoresearch|auto-research|experiment(?:s|al)?|research|night|"
    r"overnight|nightly)\s+)*"
)
_THE_LOOP = (
    r"loop\b(?!\s+(?:tests?|hooks?|code|functions?|modules?|docs?|logic|buttons?|flags?|commands?|features?|phrases?|"
    r"variables?|counters?|index(?:es)?|bod(?:y|ies)|conditions?|over (?:the|all|each|every)|with \w|"
    r"alone|early|as it is|unchanged|"
    r"at (?:\d+\s*$|index|step|zero|one)|from \w+ing)\b)"
)
"""The loop itself: neither one in a program nor what only bears its name."""
_ON = re.compile(
    r"(?:(?:continue|go|run|work|proceed|operate|keep going|carry on|experiment)\s+"
    r"(?:fully\s+|completely\s+)?autonomous(?:ly)?\b"
    r"|(?:continue|resume|restart|start|begin|launch|enter|kick\s*off|run|turn on|switch on)\s+"
    + _LOOP
    + _THE_LOOP
    + r"|(?:keep|let)\s+"
    + _LOOP
    + r"loop\s+(?:going|running|run|go on|continue)\b"
    r"|(?:continue|resume|restart|start|begin)\s+(?:the\s+)?autonomous\s+(?:research|experiment\w*|work|mode)\b"
    r"|kick\s*off\s+(?:a\s+|the\s+|some\s+)?(?:new\s+)?(?:experiment|experimentation|autoresearch)"
    r"|(?:start|begin|resume)\s+experimenting\b"
    r"|(?:keep|go on)\s+experimenting\b"
    r"|(?:enable|turn on|switch on)\s+(?:the\s+)?(?:autonomy|autonomous mode|autonomous continuation)"
    r"|(?:turn|switch)\s+" + _LOOP + r"(?:autonomy|mode|continuation|loop)\s+(?:back\s+)?on\b"
    r"|autonom(?:y|ous mode)\s+on\b)",
    re.I,
)
_RESUME = re.compile(
    rf"^{_LEAD}(?:continue|go on|keep going|carry on|resume|proceed)\b[\s.!]*(?:please|now)?[\s.!]*$", re.I
)
_STOPPERS = r"(?:stop|halt|pause|quit|abort|cease|desist)"
_OBJECT = (
    r"(?:\s*$|\s+(?:now|here|there|please|immediately|everything|it|this|that|all|working|running|experimenting|continuing|"
    r"going|looping|at once|right (?:now|here|there|away)|as soon as|for (?:now|today|tonight|the (?:day|night))|after|"
    r"when|once|until|before|to ask|asking|between|because|since|thanks?|thank you|autonomous\w*|the autonomous\w*|"
    r"autonomy|"
    + _LOOP
    + r"(?:"
    + _THE_LOOP
    + r"|experiments?|research|autoresearch|runs?|night|work|session|search))\b)"
)
_STOP = re.compile(rf"^{_LEAD}(?:to\s+)?{_STOPPERS}(?!\s+asking|\s+between\s+(?!experiments|runs)){_OBJECT}", re.I)
_NOW = r"(?:\s+(?:yet|now|please|today|tonight|for (?:now|today|tonight)|until|till|before|after)\b|\s*$)"
_OFF = re.compile(
    rf"^{_LEAD}(?:(?:summari[sz]e only|only summari[sz]e|just summari[sz]e)\b|hold (?:here|on|off|it)\b|"
    r"that'?s enough\b|no (?:more|further) (?:experiments?|runs?)"
    + _NOW
    + r"|(?:end|stop|shut down|kill|leave|exit|pause|halt|cancel|interrupt|terminate) "
    + _LOOP
    + _THE_LOOP
    + r"|(?:turn|switch) "
    + _LOOP
    + r"(?:autonomy|mode|continuation|loop) off\b"
    r"|(?:disable|turn off|switch off|deactivate)\s+(?:the\s+)?(?:autonomy|autonomous|loop)|autonomy off\b"
    r"|(?:finish|complete) (?:this|the current|the last) (?:run|experiment) (?:and|then) (?:then )?stop\b|"
    r"call it a (?:day|night)\b)",
    re.I,
)
_NOT = r"(?:do not|don'?t|never|no need to|must not|mustn'?t|should not|shouldn'?t|cannot|can'?t|without|not to|not)"
_NOT_STOP = re.compile(rf"\b{_NOT}\s+(?:ever\s+|just\s+|you\s+|dare\s+)?{_STOPPERS}(?:p?ing)?{_OBJECT}", re.I)
_NOT_GO_ON = re.compile(rf"\b{_NOT}\s+(?:you\s+)?(?:continue|go on|keep going|carry on|proceed|resume)\b", re.I)
_NOT_RUN = re.compile(
    rf"\b{_NOT}\s+(?:run|start|launch|begin|do|make|try)\s+(?:(?:any|a|an|another|more|new|further|other|the next)\s+)+"
    r"(?:experiments?|runs?)" + _NOW,
    re.I,
)
_NEGATED = re.compile(rf"\b{_NOT}\b[^,;]*$", re.I)
_REPORTED = re.compile(
    r"\b(?:say|says|said|tell|told|explain|explains|describe|phrase|word|string|token|called|function|named|docs?|"
    r"documentation|readme|comment|means?|grep|regex|tests?|pattern|what|why|how|whether|if|would|happen\w*|unless|"
    r"document|define|rename|print|write|list|show|find|search|translate|prompt|when i)\b",
    re.I,
)
_LEADS = re.compile(rf"^{_LEAD}", re.I)
_TALK = re.compile(rf"^{_LEAD}(?:{TALKS})\b", re.I)
_POLITE = re.compile(
    rf"^{_LEAD}(?:can|could|would|will) you (?!rather|prefer|say|think|recommend|suggest)"
    r"(?:please |just |kindly |now )*",
    re.I,
)
_STARTS = re.compile(rf"^{_LEAD}{_ON.pattern}", re.I)
_OPENS = re.compile(
    rf"^{_LEAD}(?:{_NOT}\s+(?:ever\s+)?{_STOPPERS}{_OBJECT}|{_NOT_GO_ON.pattern}|{_NOT_RUN.pattern})", re.I
)
_FORBIDS = re.compile(
    rf"^{_LEAD}{_NOT}\s+(?!(?:ever\s+)?(?:ask\w*|wait\w*|hesitat\w*|bother|worry|{_STOPPERS}\w*|forget)\b)", re.I
)
_ANEW = re.compile(rf"^\W*(?:just|please|instead|simply|rather|{_NOT})\b", re.I)
_JOINTS = re.compile(r"(,\s*(?:and\s+|but\s+|then\s+)*|\s+and then\s+|\s+then\s+|\s+but\s+|\s+and\s+)")
_JUST_STOP = re.compile(rf"^{_STOPPERS}\W*$", re.I)


def _plain(prompt: str) -> str:
    text = prompt.replace("’", "'").replace("‘", "‘").replace("\u02bc", "'")
    for pattern in _QUOTES:
        text = re.sub(pattern, " … ", text, flags=re.S)
    return text


def intent(prompt: str) -> Intent | None:
    """What a prompt asks for.

    Args:
        prompt: What a person typed.

    Returns:
        The last order in it; None where it gives none.
    """
    found: Intent | None = None
    for sentence in re.split(r"(?<=[.!?])\s+|\n+|;|(?<=\w) - |—", _plain(prompt)):
        sentence = sentence.strip()
        if sentence:
            found = _of_sentence(sentence) or found
    return found


def _of_sentence(sentence: str) -> Intent | None:
    if sentence.endswith("?"):
        polite = _POLITE.match(sentence)
        wish = sentence[polite.end() :].rstrip(" ?") if polite else ""
        if any(order.match(wish) for order in (_STOP, _OFF, _ON)):
            return _of_clause(wish)
        asked = _of_statement(wish, talk=True) if wish else None
        return None if asked == "resume" else asked
    return _of_statement(sentence.rstrip(" .!:"))


def _of_statement(sentence: str, talk: bool = False) -> Intent | None:
    """The last order of a sentence.

    Args:
        sentence: Without its end.
        talk: Whether it asks for something else first, so that an order in it has to stand on its own.
    """
    found: Intent | None = None
    bounded = forbidden = False
    before = ""
    parts = _JOINTS.split(sentence)
    for joint, clause in zip(["", *parts[1::2]], parts[::2], strict=True):
        if "but" in joint or ("then" in joint and "and" not in joint):
            talk, before = False, ""
        stands, before = not talk or _is_order(before, clause), before + joint + clause
        talk = not stands or bool(_TALK.match(clause))
        forbidden = forbidden and joint.strip() in ("and", "and then") and not _ANEW.match(clause)
        if not talk and not forbidden and not (bounded and found == "on" and _JUST_STOP.match(clause)):
            found = _of_clause(clause) or found  # else "for 20 runs, then stop": a limit, not an end
            bounded = bool(limits(clause))
        forbidden = forbidden or bool(_FORBIDS.match(clause))
    return found


def _is_order(before: str, clause: str) -> bool:
    """Whether a clause behind other words is an order of its own."""
    starts = bool(_STARTS.match(clause))
    if not before or not (starts or any(order.match(clause) for order in (_OPENS, _OFF, _STOP))):
        return False
    return stands_alone(_LEADS.sub("", before), clause, starts)


def _of_clause(clause: str) -> Intent | None:
    clause = clause.strip()
    if "…" in clause and _REPORTED.search(clause):
        return None
    if (_NOT_GO_ON.search(clause) or _NOT_RUN.search(clause)) and not _REPORTED.search(clause):
        return "off"
    if match := _NOT_STOP.search(clause):
        return None if _REPORTED.search(clause[: match.start()]) else "on"
    if match := _ON.search(clause):
        before = clause[: match.start()]
        if _NEGATED.search(before):
            return "off" if not _REPORTED.search(before) else None
        return None if _REPORTED.search(before) else "on"
    if _OFF.match(clause) or _STOP.match(clause):
        return "off"
    return "resume" if _RESUME.match(clause) else None


_LIMIT = re.compile(
    r"\b(?:after|for|at most|up to|max(?:imum)?(?: of)?|no more than|within|until)\s+(\$?\s?\d+(?:\.\d+)?)\s*"
    r"(?:more\s+|further\s+)?"
    r"(runs?|experiments?|hours?|hrs?|h\b|dollars?|usd)?",
    re.I,
)


def limits(prompt: str) -> dict[str, float]:
    """Limits that an order names ("for 20 runs", "after 8 hours", "up to $50"): runs, hours, usd."""
    found: dict[str, float] = {}
    for number, unit in _LIMIT.findall(_plain(prompt)):
        value = float(number.strip("$ "))
        unit = unit.lower()
        if number.startswith("$") or unit.startswith(("dollar", "usd")):
            found["usd"] = value
        elif unit.startswith(("run", "exp")):
            found["runs"] = value
        elif unit.startswith("h"):
            found["hours"] = value
    return found
