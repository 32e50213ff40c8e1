"""JSON in and out of a hook, without the json module where the interpreter's own scanner can be had.

Importing json (and re with it) takes as long as everything else that a hook does before a command.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Rules:
    """What the scanner asks of its caller."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str]

    @staticmethod
    def parse_constant(text: str) -> float:
        """NaN and the infinities."""
        return float(text.replace("Infinity", "inf"))


def loads(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: if it is none.
    """
    try:
        from _json import make_scanner
    except ImportError:
        import json

        return json.loads(text)
    text = text.strip()
    try:
        value, end = make_scanner(_Rules)(text, 0)  # type: ignore[arg-type]
    except (StopIteration, SystemError):  # the latter where it is cut off inside a text
        raise ValueError("not JSON") from None
    if end != len(text):
        raise ValueError("more than one JSON value")
    return value


def mapping(text: str) -> dict[str, Any]:
    """The object of a JSON text, empty where it is none."""
    try:
        value = loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def dumps(value: Any) -> str:
    """A value of objects, lists, texts, numbers and true, as one line of ASCII."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(str(key))}: {dumps(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(dumps(item) for item in value) + "]"
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    return _quoted(str(value))


def _quoted(text: str) -> str:
    try:
        from _json import encode_basestring_ascii
    except ImportError:
        from json.encoder import encode_basestring_ascii
    return str(encode_basestring_ascii(text))
