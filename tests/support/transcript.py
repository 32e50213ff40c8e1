"""What a model was sent, as a page to read: the texts that come from this repository, headed by their events.

The client's own instructions are left out. Names that differ from one time to the next (runs, commits, folders) are
replaced by stable ones, numbered as they appear.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.model_server import STOP, SUM_UP, is_summed_up

WIDTH = 116
_RUN = re.compile(r"\b\d{8}-\d{6}-[0-9a-f]{7}-[0-9a-f]{4}\b")
_HEX = re.compile(r"\b[0-9a-f]{7,40}\b")
_TIME = re.compile(
    r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z?|\b\d?\d:\d\d(?:[ap]m)?\b|(?<=night-)\d{8}-\d{6}"
)
_HOOK = re.compile(r"<hook_prompt [^>]*>(.*)</hook_prompt>", re.S)
_CALLS = ("function_call", "custom_tool_call")
_INSTRUCTIONS = "# AGENTS.md instructions"
_COMPACTION = ("You are performing a CONTEXT CHECKPOINT COMPACTION", "Another language model started to solve")


@dataclass
class Names:
    """Stable names for what differs between two recordings.

    Attributes:
        places: Texts, paths above all, and what stands for them; longer ones first.
        commits: Full hashes of the repository's commits.
    """

    paths: Mapping[str, str]
    commits: Sequence[str]
    _given: dict[str, str] = field(default_factory=dict)

    def scrub(self, text: str) -> str:
        """The text with stable names."""
        for place in sorted(self.paths, key=len, reverse=True):
            text = text.replace(place, self.paths[place])
        text = _RUN.sub(lambda found: self._name(found.group(), "RUN"), text)
        text = _HEX.sub(lambda found: self._commit(found.group()), text)
        return _TIME.sub("TIME", text)

    def _name(self, key: str, kind: str) -> str:
        if key not in self._given:
            number = 1 + sum(name.startswith(f"{kind}-") for name in self._given.values())
            self._given[key] = f"{kind}-{number}"
        return self._given[key]

    def _commit(self, text: str) -> str:
        whole = next((commit for commit in self.commits if commit.startswith(text)), None)
        return self._name(whole, "COMMIT") if whole else text


@dataclass(frozen=True)
class Entry:
    """One thing that was sent or said: a heading ("" for a line between headings) and its text."""

    heading: str
    text: str


def entries(requests: Sequence[dict[str, Any]]) -> list[Entry]:
    """What came from this repository, in the order in which the model saw it, and the model's moves between."""
    if requests and "messages" in requests[0]:
        return [entry for part in _new_parts(requests) if (entry := _of_part(part)) is not None]
    found: list[Entry] = []
    last = ""
    for item, again in _new_items(requests):
        entry, last = _entry(item, last)
        if entry is not None and not (again and entry.heading in ("", "The prompt")):
            found.append(entry)
    return found


def page(found: Sequence[Entry], names: Names) -> str:
    """The entries as Markdown; of a prompt what was in the one before it is left out."""
    parts: list[str] = []
    before: set[str] = set()
    for entry in found:
        text = names.scrub(entry.text).strip("\n")
        if entry.heading == "The prompt":
            lines = text.split("\n")
            new = [line for line in lines if line not in before]
            text = "\n".join(["[as before, but for]", *new] if len(new) < len(lines) / 2 else lines)
            before = set(lines)
        if not entry.heading:
            parts.append(text)
            continue
        lines = [part for line in text.split("\n") for part in textwrap.wrap(line, WIDTH, **_AS_IT_IS) or [""]]
        parts.append("\n".join([f"### {entry.heading}", "", "```text", *lines, "```"]))
    return "\n\n".join(parts)


_AS_IT_IS: dict[str, Any] = {
    "replace_whitespace": False, "drop_whitespace": True, "break_long_words": False, "break_on_hyphens": False,
    "subsequent_indent": "    ",
}  # fmt: skip


def _new_items(requests: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Each item once; after a compaction the conversation begins anew, and what was there before is told apart."""
    before: list[Mapping[str, Any]] = []
    session = None
    for request in requests:
        items = list(request.get("input", []))
        if request.get("prompt_cache_key") != session:
            before, session = [], request.get("prompt_cache_key")
        again = items[: len(before)] != before
        yield from ((item, again) for item in (items if again else items[len(before) :]))
        before = items


def _entry(item: Mapping[str, Any], last: str) -> tuple[Entry | None, str]:
    """An item's entry, None for what is the client's own; and what the next item comes after."""
    kind = str(item.get("type"))
    if kind in _CALLS:
        return Entry("", f"*The model {_move(item)}"), "call"
    if kind.endswith("_output"):
        return _output(_text(item.get("output"))), "output"
    text, role = _text(item.get("content")), item.get("role")
    if role == "assistant":
        return Entry("", f"*The model ends its turn: {text}*"), "turn"
    if role == "user":
        return _of_user(text)
    if role != "developer" or not text or text.startswith(("You are Codex", "<")):
        return None, last
    if text.startswith("Autoresearch, session"):
        return Entry("SessionStart", text), last
    return Entry("PostToolUse" if last == "call" else "UserPromptSubmit", text), last


def _of_user(text: str) -> tuple[Entry | None, str]:
    if hook := _HOOK.search(text):
        return Entry("Stop", hook.group(1)), "order"
    if text.startswith(_INSTRUCTIONS):
        return Entry("", "*The project's instructions: program.md, whole.*"), "prompt"
    if text.startswith(_COMPACTION[0]):
        return Entry("", "*The context is full: the client has it summed up and begins a new one.*"), "prompt"
    if text.startswith(("<", _COMPACTION[1])):
        return None, "prompt"
    return Entry("The prompt", text), "prompt"


def _output(text: str) -> Entry | None:
    """What a tool gave back, where it is more than that the command has ended."""
    if "blocked by PreToolUse hook" in text:
        return Entry("PreToolUse refuses", re.sub(r"^Wall time.*\n", "", text, flags=re.M))
    if "Process running with session" in text:
        return Entry("", "*The command goes on in its session.*")
    _, _, rest = text.partition("Output:\n")
    return Entry("Output of the command", rest) if rest.strip() else None


# Claude Code --------------------------------------------------------------------------------------------------------

_Part = tuple[str, str, str]
"""Role, kind and text of a part of a message; a call of a tool is JSON text."""
_CONTEXT = re.compile(r"(\w+)(?::\w+)? hook additional context: (.*)", re.S)
_NEXT_CONTEXT = re.compile(r"\n\n(?=\w+(?::\w+)? hook additional context: )")
_OWN = "\n\n# Environment", "\n\nToday's date is", "\n\nThe following deferred tools"
"""What follows a context in the client's own words."""


def _new_parts(requests: Sequence[dict[str, Any]]) -> Iterator[_Part]:
    """Each part once; a conversation that was summed up repeats some, and may be summed up twice."""
    before: list[_Part] = []
    for number, request in enumerate(requests):
        if number and is_summed_up(requests[number - 1]) and is_summed_up(request):
            continue
        parts = [part for message in request["messages"] for part in _parts(message)]
        same = next((i for i, (old, new) in enumerate(zip(before, parts, strict=False)) if old != new), None)
        same = min(len(before), len(parts)) if same is None else same
        known = set(before) if same < len(before) else set()
        yield from (part for part in parts[same:] if part not in known)
        before = parts


def _parts(message: Mapping[str, Any]) -> Iterator[_Part]:
    content, role = message["content"], str(message["role"])
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
        kind = str(part["type"])
        if kind == "tool_use":
            yield role, kind, json.dumps({"name": part["name"], **part["input"]})
        elif kind == "tool_result":
            yield role, kind, _text(part.get("content"))
        else:
            yield from ((role, kind, text) for text in _NEXT_CONTEXT.split(str(part.get("text", ""))))


def _of_part(part: _Part) -> Entry | None:
    """A part's entry, None for what is the client's own."""
    role, kind, text = part
    if role == "assistant":
        if kind == "tool_use":
            return Entry("", f"*The model {_call(json.loads(text))}")
        return Entry("", f"*The model ends its turn: {text}*")
    if kind == "tool_result":
        return _result(text)
    if role == "system":
        found = _CONTEXT.match(text)
        return Entry(found[1], _before(found[2], _OWN)) if found else None
    if text.startswith(SUM_UP):
        return Entry("", "*The context is full: the client has it summed up and begins a new one.*")
    if not text.startswith("<system-reminder>"):
        return None if text.startswith("This session is being continued") else Entry("The prompt", text)
    if STOP in text:
        return Entry("Stop", text.split(STOP)[1].removesuffix("</system-reminder>"))
    if "<task-notification>" in text:
        return Entry("", "*Claude Code wakes the agent: its command in the background has ended.*")
    return Entry("", "*The project's instructions: program.md, whole.*") if "CLAUDE.md (project" in text else None


def _before(text: str, marks: Sequence[str]) -> str:
    return text[: min([found for mark in marks if (found := text.find(mark)) >= 0], default=None)]


def _result(text: str) -> Entry | None:
    if "hook error: " in text:
        return Entry("PreToolUse refuses", text.split("hook error: ")[1])
    if text.startswith("Command running in background"):
        return Entry("", "*The command goes on in the background.*")
    if "don't ask mode" in text:
        return Entry("", "*Claude Code denies it: nobody is there to be asked.*")
    if not text.strip() or text.startswith(("The file ", "1\t", "(Bash completed")):
        return None
    return Entry("Output of the tool", text)


def _call(given: Mapping[str, Any]) -> str:
    """A call in words, the first of them in italics."""
    if given["name"] == "Bash":
        behind = " in the background" if given.get("run_in_background") else ""
        return f"types{behind}* `{_oneline(given['command'])}`"
    return f"calls {given['name']} on* `{given.get('file_path')}`"


# Codex --------------------------------------------------------------------------------------------------------------


def _move(item: Mapping[str, Any]) -> str:
    """A call in words, the first of them in italics."""
    if item["name"] == "apply_patch":
        return "calls apply_patch.*"
    if item["name"] == "exec":
        return f"runs the script* `{_oneline(str(item['input']))}`"
    given = json.loads(str(item["arguments"]))
    return f"types* `{_oneline(given['cmd'])}`" if "cmd" in given else "polls with an empty write_stdin.*"


def _oneline(text: str) -> str:
    return " ".join(text.split())


def _text(content: object) -> str:
    """The text of a message's or an output's parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")
