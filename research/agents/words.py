"""Holds the usual words for ending in four languages, and recognises them where they are mistyped."""

from __future__ import annotations

import re
import unicodedata

# In lower case and without accents
_MISTYPED = """
stop halt pause quit abort cease desist
stopp stoppe stoppen anhalten aufhoren aufhoeren abbrechen beenden beende pausieren schluss
arrete arretez arreter cessez stoppez parar detente detener detenlo basta pausa terminar
"""
"""Usual words for ending, in English, German, French and Spanish, that are understood with one slip too."""
_MORE_FORMS = """
aufhorst aufhoerst stoppt abbruch pausiere arretes arret stopper cesse cesser terminer paralo pare paren deten
detenerte detenga detengase cese abschalten ausschalten unterbrechen unterbrich annule annuler annulez interromps
interrompre cancela cancelar interrumpe aborta stahp
"""
"""More forms of theirs, which lie too near to other words."""
_OTHER = """
abhalten abord aborte aborto aborts about abrete alt anhaltend anhalter anwalten aprete arar arete ariete
arreta arretera arrets asta atop aufholen bafta balta basa basra bassa bast bastan bastar baste basti bastia
basto bata beendet blende blenden bort bosta busta carrete case cassez casta causa cause ceased ceases cense cesses
chase clase crase crease cuit decente dejenlo demente desista desiste detecte detenez detengo detenir detent detenta
detenue deteste dezente ease fuit galt gasta germinar habt haft hait hakt hal hala halb hald hale half hall hallt halm
halo hals halst halte halts hart hast hasta hat hatt hausa hause hausieren haut hilt holt huit inhalten kalt lause
lease luit malt mause nuit paar pagar paisa pajar panse para parad param paran parara paras parat paray parer parir
parr parra parse pasa pasar pase passa passe passieren pasta pauke paula paule paume pausar pausas paused pausen
pauses pauta pease puit puse qui quid quie quiet quil quilt quim quin quint quip quita quite quito quits quiz
rasta resist retener retente salt sause schloss schlusse schuss shalt shop shoppe shoppen slop sop step steppe steppen
stoa stolpe stomp stoop stopf stopfen stopped stoppte stoppten stops stor stow stp strop suit tease termina terminal
terminan terminara terminare terminas top topp toppen vasta vease walt
"""
"""Words of their own, in the four languages, that lie one slip away from one for ending."""
MISTYPED, OTHER = frozenset(_MISTYPED.split()), frozenset(_OTHER.split())
END = MISTYPED | frozenset(_MORE_FORMS.split())
STOP = "(?:" + "|".join(sorted(END, key=len, reverse=True)) + ")"
"""A pattern of all of them."""
_QUOTES = (
    r"```.*?(?:```|\Z)", r"`[^`\n]*`", r'"[^"\n]*"', r"“[^”\n]*”", r"«[^»\n]*»", r"(?m)^\s*>.*$",
    r"(?<![\w'])'[^'\n]+'(?!\w)", r"‘[^’\n]*’(?!\w)",
)  # fmt: skip


def plain(prompt: str) -> str:
    """Return a prompt in lower case, without accents, its quotes replaced by an ellipsis."""
    text = re.sub("[’\u02bc]", "'", prompt).replace("¿", "").replace("¡", "")
    for pattern in _QUOTES:
        text = re.sub(pattern, " … ", text, flags=re.S)
    letters = unicodedata.normalize("NFKD", text.casefold().replace("…", "\0"))
    return "".join(char for char in letters if not unicodedata.combining(char)).replace("\0", "…")


def is_end_word(word: str) -> bool:
    """Return whether a word is one for ending, or one slip away from it and no other word."""
    once, twice = re.sub(r"(.)\1{2,}", r"\1", word), re.sub(r"(.)\1{2,}", r"\1\1", word)
    if word in OTHER or {once, twice} & END:
        return word not in OTHER
    return any(_is_one_slip(word, end) for end in MISTYPED)


def _is_one_slip(typed: str, meant: str) -> bool:
    """Return whether two words differ by one letter too many, too few or wrong, or by two neighbours swapped."""
    if abs(len(typed) - len(meant)) > 1:
        return False
    start = next((i for i, (one, other) in enumerate(zip(typed, meant, strict=False)) if one != other), len(meant))
    one, other = typed[start:], meant[start:]
    swapped = one[:2] == other[:2][::-1] and one[2:] == other[2:]
    return one[1:] == other[1:] or one[1:] == other or one == other[1:] or swapped
