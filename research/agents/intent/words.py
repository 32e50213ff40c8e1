"""Gives the plain text of a prompt, and knows the words for ending in English, German, French and Spanish."""

from __future__ import annotations

import re
import unicodedata

# In lower case and without accents
_USUAL = """
stop halt pause quit abort cease desist
stopp stoppe stoppen anhalten aufhoren aufhoeren abbrechen beenden beende pausieren schluss
arrete arretez arreter cessez stoppez parar detente detener detenlo basta pausa terminar
"""
"""Usual words for ending, in English, German, French and Spanish, that are understood with one slip too."""
_FORMS = """
aufhorst aufhoerst stoppt abbruch pausiere arretes arret stopper cesse cesser terminer paralo pare paren deten
detenerte detenga detengase cese abschalten ausschalten unterbrechen unterbrich annule annuler annulez interromps
interrompre cancela cancelar interrumpe aborta stahp
"""
"""More forms of theirs, that lie too near to other words to allow for slips."""
_OTHER_WORDS = """
aborte aborto aborts alt anhaltend arar arete arretera asta basa bast bastan bastar bastia bata beendet bort carrete
case ceased ceases crease desista desiste detent ease hal hallt halst halte halts hat paar para parara parr parra pasa
pase pausar pausas paused pausen pauses puse qui quiet quilt quint quita quite quito quits schlusse schuss shalt sop
stomp stoop stopf stopped stoppte stoppten stops stp strop termina terminara terminare top topp toppen
"""
"""Words of their own, in the four languages, that lie one slip away from one for ending."""
_MISTYPED, _OTHER = frozenset(_USUAL.split()), frozenset(_OTHER_WORDS.split())
_END = _MISTYPED | frozenset(_FORMS.split())
STOP = f"(?:{'|'.join(sorted(_END, key=len, reverse=True))})"
_QUOTES = (
    r"```.*?(?:```|\Z)", r"`[^`\n]*`", r'"[^"\n]*"', r"“[^”\n]*”", r"«[^»\n]*»", r"(?m)^\s*>.*$",
    r"(?<![\w'])'[^'\n]+'(?!\w)", r"‘[^’\n]*’(?!\w)",
)  # fmt: skip
"""Patterns of quoted text and code, which is no order."""


def plain(prompt: str) -> str:
    """Return a prompt in lower case, without accents, its quotes replaced by an ellipsis."""
    text = re.sub("[’\u02bc]", "'", prompt).replace("¿", "").replace("¡", "")
    for pattern in _QUOTES:
        text = re.sub(pattern, " … ", text, flags=re.S)
    letters = unicodedata.normalize("NFKD", text.casefold().replace("…", "\0"))
    return "".join(char for char in letters if not unicodedata.combining(char)).replace("\0", "…")


def is_end_word(word: str) -> bool:
    """Return whether a word is one for ending, or one slip away: a letter too many, too few, or swapped."""
    once, twice = re.sub(r"(.)\1{2,}", r"\1", word), re.sub(r"(.)\1{2,}", r"\1\1", word)
    is_slip = word in _SLIPS or not _MISTYPED.isdisjoint(_with_one_letter_less(word))
    return word not in _OTHER and (is_slip or not _END.isdisjoint((once, twice)))


def _with_one_letter_less(word: str) -> set[str]:
    return {word[:place] + word[place + 1 :] for place in range(len(word))}


_SLIPS = {slip for word in _MISTYPED for slip in _with_one_letter_less(word)} | {
    word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    for word in _MISTYPED
    for place in range(len(word) - 1)
}
"""Words for ending with one letter too few or two swapped."""
