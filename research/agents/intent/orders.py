"""Reads whether a prompt asks the loop to go on by itself or to end.

A message of at most five words ends the loop if it holds a usual word for ending, mistyped or not, without a negation
or a question. A longer one does if one of its sentences asks for it, and the first such order counts whatever follows.
An order to start that names a limit ("start the loop and stop after 5 runs") is a start, and a limit alone is one for a
loop that is on. Quoted text, code and questions change nothing, but for polite ones ("can you stop?"). In doubt nothing
is read: a person who was not understood says it again, or types `uv run research autonomy off`.
"""

from __future__ import annotations

import re
from typing import Literal

from research.agents.clients import CLIENTS
from research.agents.intent.limits import names_limit
from research.agents.intent.words import STOP, is_end_word, plain

Intent = Literal["on", "off", "limit", "resume"]
"""limit: "stop after 5 runs" or "at most 5 runs", which a loop that is on takes over.

resume: a plain "continue" or "don't stop", which only starts a loop that ended by itself.
"""
_STRENGTH: dict[Intent | None, int] = {None: 0, "resume": 1, "limit": 2, "on": 3}

SHORT_WORDS = 5
"""Words of a message in which one word for ending is enough."""
MAX_SENTENCE_CHARS = 1_000
"""Longest sentence that is read: what is longer is a pasted log, and would take long."""

_AUTONOMOUS = r"auton[a-z]{0,2}m\w*"
_ARTICLES = (
    r"(?:(?:the|this|that|your|our|my|a|an|any|all|new|more|with|current|last|autoresearch|auto-research|research|night|"
    rf"experiment(?:s|al)?|overnight|nightly|der|die|das|den|dem|le|la|les|el|los|las|de|{_AUTONOMOUS})\s+)*"
)
_OF_A_PROGRAM = (
    r"\s+(?:tests?|hooks?|code|functions?|modules?|docs?|logic|buttons?|flags?|commands?|features?|phrases?|words?|"
    r"variables?|counters?|index|body|conditions?|over (?:the|all|each|every)|refactor\w*|clean-?up|rewrit\w+|"
    r"unrolling|profiling|debugging|in (?:the )?\w+\.\w+|with \w(?= =)|"
    r"at (?:\d+\s*$|index|step)|from \w+ing)\b"
)
"""What follows a loop in a program, not the lab's."""
_LOOP = rf"{_ARTICLES}(?:loop|schleife|boucle|bucle)\b(?!{_OF_A_PROGRAM})"
_WORK = rf"{_ARTICLES}(?:experiment\w*|experience\w*|versuche\w*|runs?|autoresearch|research|night|work|session)\b"
_LEAD = re.compile(
    r"(?:please|pls|plz|ok|okay|now|just|hey|hi|hello|alright|actually|wait|hmm|well|no|yes|yeah|sure|"
    rf"{'|'.join(map(re.escape, CLIENTS))}|"
    r"thanks|thank you|great|good|enough|so|then|and|but|let'?s|let us|also|immediately|i said|simply|kindly|do|to|"
    r"you (?:can|may|should|must|could)(?: now)?|(?:can|could|would|will) you|i(?:'d| would) like (?:you )?to|"
    r"i (?:want|need) (?:you )?to|i (?:would |'?d )?prefer (?:that )?you|"
    r"we (?:can|should|must|(?:need|have) to)|i think (?:we|you) should|"
    r"(?:it'?s |it is |i think it'?s )?time (?:for you )?to|(?:du|wir) (?:kannst|sollst|darfst|musst|mussen|sollten)|"
    r"(?:tu (?:peux|dois|devrais)|vous pouvez|je veux que tu|j'aimerais que tu|il faut(?: que tu)?|on peut)|"
    r"(?:ich (?:mochte|will) )?dass du|(?:puedes|tienes que|hay que|quiero que)|"
    r"go ahead and|after that|from (?:now|here)(?: on)?|at this point|for now|bitte|jetzt|mal|svp|maintenant|"
    r"s'il (?:te|vous) plait|por favor|ahora|ya)\W+"
)
"""Matches one of the words that may stand before an order: "ok", "please", "you can"."""
_NOT = r"(?:do not|don'?t|never|no need to|must not|mustn'?t|should not|shouldn'?t|cannot|can'?t|without|not to|not)"
_NEGATION = re.compile(
    rf"\b(?:{_NOT}|\w+n't|nicht|nie|niemals|kein\w*|ohne|ne|n'\w+|pas|jamais|sans|nunca|sin|"
    r"no (?=te |hay |par|det|term|pau))\b"
)
"""Matches a negation, which keeps a short message from being an order to end."""

# Orders ---------------------------------------------------------------------------------------------------------------

_OBJECT = (
    r"(?:[\s!,]*$|\s+(?:now|here|there|please|pls|immediately|everything|it|this|that|all|asap|alles|alle|tout|todo|"
    r"(?:working|running|experimenting|continuing|going|looping|training|launching|starting|doing)|at once|at the end|"
    r"right (?:now|here|there|away)|"
    r"as soon as|for (?:now|today|tonight|the (?:day|night))|after|when|once|until|before|to ask|between|because|"
    rf"asking|since|thanks?|thank you|jetzt|sofort|bitte|maintenant|ahora|ya|stp|svp|s'il|por favor|"
    rf"{_AUTONOMOUS}|the {_AUTONOMOUS}|"
    rf"{_LOOP}|{_WORK})\b)"
)
"""Matches the rest of an order after a word for ending: nothing, "now", "the loop", "running"."""
_SOON = r"(?:\s+(?:yet|now|please|today|tonight|for (?:now|today|tonight)|until|till|before|after)\b|\s*$)"
"""Matches the rest of an order after "no more runs": nothing or a time."""
_BEGIN = (
    r"(?:continue|resume|restart|start|begin|launch|enter|kick\s*off|run|turn on|switch on|starte|beginne|lance[rz]?|"
    r"demarre[rz]?|commence[rz]?|inicia|empieza|arranca|continua)\s+(?:bitte |jetzt )?"
)
"""Verbs that start a loop when it follows them."""
_ON = re.compile(
    r"(?:(?:continue|go|run|work|proceed|operate|keep going|carry on|experiment|weiter|arbeite|travaille|trabaja)\s+"
    rf"(?:fully |completely |jetzt |de forma |de maniere )?{_AUTONOMOUS}|{_AUTONOMOUS} weiter"
    rf"|{_BEGIN}(?:{_LOOP}|{_ARTICLES}(?:experiments|experimente|experiences|experimentos)\b|"
    r"autonomous (?:research|work|mode)\b|experimenting\b)"
    rf"|(?:keep|let)\s+(?:{_LOOP}|it)\s+(?:going|running|run|go on|continue)\b"
    r"|(?:kick\s*off|begin|start)\s+(?:a\s+|the\s+|some\s+)?(?:new\s+)?(?:experiment|autoresearch)\b"
    r"|(?:keep|go on|start)\s+(?:experimenting|running experiments)\b"
    r"|(?:run|do) \d+ (?:more )?experiments\b|(?:run|work|go on|continue) (?:overnight|(?:all|through the) night)\b"
    rf"|(?:enable|turn on|switch on)\s+(?:the\s+)?(?:autonomy|{_AUTONOMOUS} (?:mode|continuation))"
    rf"|(?:turn|switch)\s+(?:{_LOOP}|{_ARTICLES}(?:autonomy|mode|continuation))\s+(?:back\s+)?on\b"
    r"|autonom(?:y|ous mode)\s+on\b)"
)
"""Matches an order to go on by itself: "start the loop", "work autonomously", "run overnight"."""
_OFF = re.compile(
    rf"(?:t'|vous )?(?:{STOP}|termine[rz]?|para|alto|termina|suficiente)(?!\s+between\s+(?!experiments|runs)){_OBJECT}"
    # English
    r"|(?:only |just )?summari[sz]e only\b|(?:only|just) summari[sz]e\b|hold (?:here|on|off|it|everything)\b"
    r"|(?:that'?s|this is|it'?s)? ?enough(?: experiments| runs)?(?: for (?:now|today|tonight)| already)?\W*$"
    r"|(?:we(?:'re| are) )?done(?: here| for (?:now|today|tonight))?\W*$|that'?s (?:enough|all)\b|no more\W*$"
    rf"|no (?:more|further) (?:experiments?|runs?){_SOON}"
    r"|(?:end|stop|shut down|kill|leave|exit|pause|halt|cancel|interrupt|terminate|finish)"
    rf"(?:\s+{_LOOP}|\s+{_ARTICLES}(?:mode|continuation|autonomy)\b|(?: it| this| all| everything| now| please)*\W*$)"
    rf"|(?:end|exit|cancel|kill|terminate|interrupt)\s+{_WORK}|get out of\b[\w\s]*\bmode\b"
    r"|(?:break(?: off)?|freeze|stand down|cut it out|knock it off|give it a rest|that will do|finish up(?: now)?)\W*$"
    r"|shut (?:it|this|that|everything) down\b|wrap (?:it |this )?up\b|call it a (?:day|night)\b|stp\W*$"
    rf"|(?:turn|switch)\s+(?:(?:{_LOOP}|it|{_ARTICLES}(?:autonomy|mode|continuation))\s+)?off\W*(?:(?:please|now)\W*)?$"
    rf"|(?:disable|turn off|switch off|deactivate)\s+(?:the\s+)?(?:{_AUTONOMOUS}|loop)|autonomy off\b"
    r"|make (?:it|this|that|everything) stop\b"
    # German
    r"|hoe?r(?:e|en|t)?\b[\w\s]*\bauff?\b|brich\b[\w\s]*\bab\b|mach\w*\b(?!.*\bkein)[\w\s]*\b(?:schluss|pause|aus)\b"
    r"|(?:es|das) reicht\b|genug\b|(?:schalt|mach|stell)\w*\b[\w\s]*\b(?:ab|aus)\b|halt\w*\b[\w\s]*\ban\b"
    r"|(?:ende(?: jetzt)?|feierabend|lass (?:es(?: gut sein)?|(?:mal |jetzt )?gut sein)|"
    r"nicht (?:mehr )?weiter(?: ?machen)?)\W*$"
    # French and Spanish
    r"|(?:ca|cela) suffit\b|(?:c'est )?assez(?: pour (?:aujourd'hui|maintenant))?\W*$|mets?\b[\w\s]*\ben pause\b"
    r"|halte\W*(?:la\W*)?$|finito\W*$|(?:te )?(?:pares|detengas)\W*$|deja de \w+"
)
"""Matches an order to end: "stop", "turn it off", "call it a night", "that's enough"."""
_NOT_STOP = re.compile(
    rf"(?:(?!can){_NOT}\s+(?:ever\s+|just\s+|you\s+|dare\s+)?{STOP}(?:p?ing)?{_OBJECT}"
    r"|hoe?r\w* (?:\w+ )?nicht auf\b|(?:nicht|nie|niemals) (?:auf ?hoe?r\w+|stopp\w+|anhalten|pausieren)\b"
    r"|(?:ne |n'|jamais )+(?:t'|vous )?arrete\w*"
    r"|(?:t')?arrete\w* (?:pas|jamais)\b|(?:no|nunca) (?:te |hay que )?(?:par|det[ei]n)\w+)"
)
"""Matches an order not to end, which asks a loop that is on to go on; only "never stop" starts one."""
_NEVER = re.compile(r"\b(?:never|nie|niemals|jamais|nunca)\b")
_LATER = re.compile(r"\b(?:(?:i|we|he|she|they)(?:'ll| will)|tomorrow|later)\b")
"""Matches words that make an order to start behind them a remark about another time."""
_NOT_NOW = re.compile(
    r"\s+(?:(?:again|only|up)\s+)*(?:tomorrow|later|next (?:week|time)|(?:when|once|if|after|as soon as) (?:i|we) "
    r"(?:say|tell|give|ask)\b|morgen\b|demain\b|manana\b)"
)
"""Matches words that do so when they follow the order: "start the loop tomorrow"."""
_FORBIDS = re.compile(rf"{_NOT}\s+(?!ask|mind|wait|spend|{STOP})")
"""Matches how a clause begins that forbids something, as does what follows it: "don't read it and start the loop"."""
_STOP_LATER = re.compile(
    rf"(?:{STOP}|end|finish|para)(?:\s+(?:{_LOOP}|{_WORK}|it|this|everything|working|running|training|tomorrow))?\s+"
    r"(?:after|once you(?: have|'ve)? (?:done|run|made|spent)|at|in|by|before|when it|nach|um|in|vor|"
    r"apres|dans|a|tras|en|despues de)\b|hoe?r\w* (?:\w+ )?(?:nach|um|in)\b"
)
"""Matches how an order begins that only names a limit by its end, "stop after 5 runs"."""
_ENDS_A_RUN = re.compile(rf"(?:{STOP}|end|cancel|kill|terminate|interrupt)\s+(?:it|this one|{_ARTICLES}run)\W*$")
"""Matches an order to end one run, which an order to start may follow: "kill it and continue the loop"."""
_STOP_WHEN = re.compile(
    rf"\b{STOP}(?: \w+)? (?:when|if|once|as soon as|wenn|si|quand|cuando)\b"
    r"(?! (?:this|the (?:current|last)) (?:run|experiment))"
)
"""Matches an order to end on a condition, "stop when it diverges": behind a start, its limit."""
_ONLY = re.compile(
    rf"(?:only|at most|no more than|not more than|up to|max(?:imum)?|(?:the )?limit|another|make it|"
    rf"(?:do|run|make) (?=\w+ more)|(?:{_NOT} )?(?:spend|exceed)|hochstens|maximal|nur noch|noch|au plus|encore|"
    r"maximo|como maximo|solo|\w+ more (?=runs?|experiments?|hours?|minutes?)|(?=\d+ (?:runs?|experiments?|hours?)"
    r"(?: more| max| at most| please)*$))\b"
)
"""Matches how an order begins that only names a limit, "at most 5 runs"; `names_limit` reads the limit itself."""
_NOT_GO_ON = re.compile(
    rf"\b{_NOT}\s+(?:you\s+)?(?:(?:continue|go on|keep going|carry on|proceed|resume)\b|"
    r"(?:run|start|launch|begin|do|make|try)\s+(?:(?:any|a|an|another|more|new|further|other|the next)\s+)+"
    rf"(?:experiments?|runs?){_SOON}|(?:run|start|launch|begin) anything\b)"
    r"|\b(?:mach\w*|geh\w*) nicht weiter\b|\bne continue\w* pas\b|\bno (?:continues|sigas)\b"
)
"""Matches an order not to go on, "don't start another run", which ends the loop."""
_RESUME = re.compile(
    r"(?:continue|go on|keep going|carry on|resume|proceed|mach weiter|weiter|continua)\W*"
    r"(?:(?:please|now)\W*)?$"
)
"""Matches a plain order to go on: "continue", "please keep going"."""
_GO_ON = re.compile(
    r"(continue|go on|keep going|carry on|resume|proceed|run|work|mach weiter|weiter|continue[rz]?|continua|"
    r"sigue)\s+(?:please )?(?:for|until|till|up to|at most|with|bis|noch|jusqu'a|pendant|hasta|durante)\b"
)
"""Matches how an order to go on to a limit begins, "continue for 5 runs"; `names_limit` reads the limit itself."""

# What only talks of orders --------------------------------------------------------------------------------------------

_LOOKS = r"explain|describe|discuss|tell me|show|list|grep|search|find|print|read|translate|document|rename"
_EDITS = r"write|add|implement|make|insert|put|define|fix|change|remove|set|use|increase|decrease|rename|replace"
_TALKS = re.compile(
    rf"(?:{_LOOKS}|{_EDITS}|what|why|how|whether|if|unless|which|did|does|is|are|where|who|was|"
    r"will (?!you)|warum|wieso|wie|wo|wer|wann|wenn|pourquoi|comment|quand|como|cuando|quien|donde|por que|"
    r"when(?! (?:the|this) (?:current |last )?(?:run|experiment)))\b"
)
"""Matches how a sentence begins that talks of orders: "explain how", "add a", "why did"."""
_EDITS_FIRST = re.compile(rf"(?:{_EDITS})\b")
"""Matches how a sentence begins that asks for a change of code."""
_REPORTED = re.compile(
    rf"\b(?:{_LOOKS}|says?|said|told?|explains|phrase|word|string|token|called|function|named|docs?|documentation|readme|"
    r"comment|means?|regex|tests?|pattern|what|why|how|whether|if|would|happen\w*|unless|define|prompt|"
    r"when i)\b"
)
"""Matches words that make an order beside them a quotation or a subject: "the word", "a test of", "it says"."""
_POLITE = re.compile(
    r"(?:(?:can|could) we|(?:can|could|would|will) you (?!rather|prefer|say|think|recommend|suggest)|"
    r"k[ao]nn(?:te)?st du|(?:peux|pourrais)-tu|tu (?:peux|pourrais)|pouvez-vous|"
    r"vous pouvez|puedes|podrias)\W*(?:please |just |kindly |now |bitte )*"
)
"""Matches how a question begins that is an order: "can you"."""
_CONTROL = r"(?:start|stop|paus|resum|restart|continu|halt|quit|play|cancel|abort|exit|end)(?:s|e|es|ing|ping|ting)?"
"""Verbs that name controls of any program too: "to start", "pausing"."""
_OPEN = re.compile(
    rf"(?<!\bthe )(?<!\bon )\b{_CONTROL}$|\bto {_CONTROL}\b|\b(?:function|script|button|hook|flag)s? (?:to|that)\b"
    r"|(?:\b(?:how|what|why|which|whether|if|when|so|that|says|a prompt like)\b|:)"
    r"(?!$|.*\b(?:\w+ed|went|did|was|were|have|has|it works|fails|crash)$)"
)
"""Words that an "and" may carry on, as in "explain how to start" and stop; not so "show me how it went"."""
_IN_A_PROGRAM = re.compile(
    r"\b(?:when|whenever|if|unless|because|early|alone|exit|leave|with \w|at \d|before|on (?:errors?|failure|nan)|"
    r"stop the run|after \d+ (?!runs?|experiments?|hours?))\b"
)
"""Matches what makes "stop" part of a program that is asked for: "stop early on nan"."""
_ANOTHER_USE = re.compile(
    rf"\b{STOP}\s+(?:words?|tokens?|buttons?|features?|codons?|signals?|conditions?|criteri\w+|gradients?|"
    r"(?!training|running|experimenting|working|going|looping|continuing|everything|doing|launching|starting|being)"
    rf"\w+ing)\b|\bhalte? (?:die|den|das) (?!schleife|loop|exp)|\bloop{_OF_A_PROGRAM}"
)
"""Matches a word for ending in another meaning: "stop words", "stop gradients", "stop using dropout"."""
_JOINTS = re.compile(
    r"(,(?!\d)\s*(?:and\s+|but\s+|then\s+|und\s+|et\s+|y\s+)*"
    r"|\s+(?:(?:and|und|et|y)\s+)?(?:then|but|puis|luego)\s+|\s+(?:and|und(?: dann)?|et|y)\s+"
    r"|\s+so (?=(?:please )?(?:stop|pause|halt)\b)"
    r"|(?<!nt)(?<!n't)(?<!not)(?<!never)(?<!to)\s+(?=please (?:stop|pause|halt)\b))"
)
"""Matches what joins the clauses of a sentence: "and", "then", a comma."""
_QUOTED = re.compile(r"\A\s*[\"'`“‘«]([^\"'`”’»\n]+)[\"'`”’»][.!\s]*\Z")
"""A message that is nothing but a quotation: people copy `stop` with its quotes; no start is read in one."""


def intent(prompt: str) -> Intent | None:
    """Return what a prompt asks for: its first order to end, else its strongest order, None where it gives none."""
    if len(prompt) <= MAX_SENTENCE_CHARS and (quoted := _QUOTED.match(prompt)):
        return "off" if intent(quoted[1]) == "off" else None
    text = plain(prompt)
    found: Intent | None = None
    for sentence in map(str.strip, re.split(r"(?<=[.!?])\s+|\n+|;|(?<=\w) - |—", text)):
        wish = _of_sentence(sentence) if len(sentence) <= MAX_SENTENCE_CHARS else None
        found = _stronger(found, wish, sentence)
    return found or ("off" if len(text) <= MAX_SENTENCE_CHARS and _is_short_end(text) else None)


def _stronger(found: Intent | None, wish: Intent | None, sentence: str) -> Intent | None:
    """Return which of two orders counts; what comes after an order to end is a remark about later."""
    if found == "off" or (wish == "off" and not found):
        return "off"
    if wish == "off":  # an end behind a start may be the start's limit
        return found if names_limit(sentence) or _STOP_WHEN.search(sentence) else "off"
    return max(found, wish, key=_STRENGTH.__getitem__)


def _is_short_end(text: str) -> bool:
    """Return whether a short message holds a word for ending, and neither a negation, a question nor talk of it."""
    words = re.findall(r"[\w'-]+", text)
    if not 0 < len(words) <= SHORT_WORDS or _NEGATION.search(text) or _ANOTHER_USE.search(text):
        return False
    if _begins(_TALKS, text) or ("?" in text and not _begins(_POLITE, text)):
        return False
    return any(is_end_word(part) for word in words for part in re.split("'|-(?=toi|vous)", word))


def _of_sentence(sentence: str) -> Intent | None:
    """Return the order of a sentence; of the questions only polite ones hold one."""
    if not sentence.endswith("?"):
        return _of_statement(sentence.rstrip(" .!:"))
    polite = _begins(_POLITE, sentence)
    wish = sentence[polite.end() :].rstrip(" ?") if polite else ""
    if _begins(_OFF, wish) or _ON.match(wish) or _is_limit(wish):
        return _of_clause(wish)
    found = _of_statement(wish, talks=True) if wish else None
    return None if found == "resume" else found


def _of_statement(sentence: str, talks: bool = False) -> Intent | None:
    """Return the last order of a sentence; one that begins with talk has to hold an order that can stand on its own."""
    found: Intent | None = None
    before, forbidden, ends_run = "", False, False
    parts = _JOINTS.split(sentence)
    for joint, clause in zip(["", *parts[1::2]], parts[::2], strict=True):
        if "but" in joint or joint.strip() in ("then", "dann", "puis", "luego"):
            talks, before, forbidden = False, "", False
        if (not talks or _stands_alone(before, clause)) and not forbidden:
            wish = _of_clause(clause)
            if ends_run and (wish == "on" or _begins(_RESUME, clause)):
                found = None
            found = _stronger(found, wish, sentence)
            ends_run = bool(_begins(_ENDS_A_RUN, clause))
        before += joint + clause
        talks = talks or bool(_begins(_TALKS, clause))
        forbidden = bool(_begins(_FORBIDS, clause))
    return found


def _stands_alone(before: str, clause: str) -> bool:
    """Return whether an order behind other words is one: it is in "read it and start the loop"."""
    if not (_is_limit(clause) or any(_begins(order, clause) for order in (_OFF, _ON, _NOT_STOP, _NOT_GO_ON))):
        return False
    if _begins(_EDITS_FIRST, before) and _IN_A_PROGRAM.search(clause):
        return False
    return not _OPEN.search(before.strip().rstrip(","))


def _begins(order: re.Pattern[str], clause: str) -> re.Match[str] | None:
    """Match an order at the beginning of a clause, or behind some of the words that may stand before it."""
    place = 0
    while not (found := order.match(clause, place)) and (lead := _LEAD.match(clause, place)):
        place = lead.end()
    return found


def _is_limit(clause: str) -> bool:
    """Return whether a clause only names a limit of the loop: "at most 5 runs" does, "max 5 minutes per run" not."""
    if _ON.search(clause) or not (_begins(_STOP_LATER, clause) or _begins(_ONLY, clause)):
        return False
    return names_limit(clause)


def _of_clause(clause: str) -> Intent | None:
    """Return the order of the words between two joints."""
    if "…" in clause and _REPORTED.search(clause):
        return None
    if _NOT_GO_ON.search(clause):
        return None if _REPORTED.search(clause) else "off"
    if _is_limit(clause):
        return "limit"
    is_off = bool(_begins(_OFF, clause)) and not _ANOTHER_USE.search(clause)
    if match := _begins(_NOT_STOP, clause):
        if _ANOTHER_USE.search(clause) or _IN_A_PROGRAM.search(clause[match.end() :]):
            return None
        return "on" if _NEVER.search(clause) else "resume"
    if not is_off and (match := _ON.search(clause)):
        before = clause[: match.start()]
        if _REPORTED.search(before) or _LATER.search(before) or _NOT_NOW.match(clause[match.end() :]):
            return None
        return "off" if _NEGATION.search(before) or " nicht" in clause else "on"
    if is_off:
        return "off"
    if (match := _begins(_GO_ON, clause)) and names_limit(clause[match.end(1) :]):
        return "on"
    return "resume" if _begins(_RESUME, clause) else None
