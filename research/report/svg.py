"""A small writer of SVG: escaped elements, round numbers for an axis, and a guess at how wide a text is."""

from __future__ import annotations

import math
from html import escape

_WIDE, _NARROW = frozenset("mwMW@%—"), frozenset("iljtfrI.,:;'|()[] ")


def clean(text: str) -> str:
    """Text of others without what XML can't hold."""
    return "".join(char if char >= " " and not "\ud800" <= char <= "\udfff" else " " for char in text)


def tag(name: str, inner: str = "", /, **attributes: object) -> str:
    """One element; attributes lose a trailing underscore and their other underscores become hyphens."""
    parts = [f'{key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"' for key, value in attributes.items()]
    head = " ".join([name, *parts])
    return f"<{head}>{inner}</{name}>" if inner else f"<{head}/>"


def text(words: str, x: float, y: float, kind: str, anchor: str = "start", **more: object) -> str:
    """A line of text; kind is its class."""
    return tag("text", escape(clean(words)), x=x, y=y, class_=kind, text_anchor=anchor, **more)


def title(words: str) -> str:
    """What a pointer that rests on an element is told."""
    return f"<title>{escape(clean(words))}</title>"


def _plain(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def width_of(words: str, size: float) -> float:
    """About how wide a text is, in the units of its size, rather too wide than too narrow."""
    return size * sum(
        0.95 if char in _WIDE else 0.39 if char in _NARROW else 0.70 if char.isupper() else 0.63 for char in words
    )


def cut(words: str, length: int) -> str:
    """A text of at most this many characters."""
    return words if len(words) <= length else words[: length - 1].rstrip() + "…"


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round values within a range: steps of 1, 2, 2.5 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / max(1, about)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 12) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def decimals(values: list[float]) -> int:
    """Digits after the point that tell neighbouring ticks apart."""
    if len(values) < 2:
        return 4
    step = abs(values[1] - values[0])
    return next((n for n in range(7) if abs(round(step, n) - step) < step * 1e-6), 6)
