"""A model service that plays a script on a local port, every request kept.

It speaks the Responses API as Codex does, and the Messages API as Claude Code does.

A script is a list of steps; each request takes the next one. When the script is used up, the model says "done". The
same script plays in both of the ways in which Codex lets models call tools: directly, and in code mode, where the only
tool is a JavaScript that calls the others.
"""

from __future__ import annotations

import html
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Say:
    """The model's last words of a turn."""

    text: str


@dataclass(frozen=True)
class Shell:
    """A shell command; yield_ms is how long Codex waits for it before it goes on in a session, behind is whether Claude
    Code runs it in the background, tokens is how full the context is said to be then."""

    command: str
    yield_ms: int = 10_000
    tokens: int = 100
    behind: bool = False


@dataclass(frozen=True)
class Poll:
    """Waits for the session of the latest long command."""

    yield_ms: int = 60_000


@dataclass(frozen=True)
class Patch:
    """The apply_patch tool."""

    text: str


@dataclass(frozen=True)
class Tool:
    """Any tool of Claude Code, by its name, with what it is given."""

    name: str
    given: dict[str, Any]


@dataclass(frozen=True)
class Fail:
    """An HTTP error."""

    status: int
    message: str


@dataclass(frozen=True)
class Quota:
    """A subscription's limit is used up until then, in seconds of the epoch."""

    until: int


Step = Say | Shell | Poll | Patch | Tool | Fail | Quota
Script = Callable[[dict[str, Any]], Step]
"""Makes a step of what the model was sent."""


@dataclass
class Model:
    """The service.

    Attributes:
        url: Base address for a model provider.
        steps: What is still to be played.
        requests: Every request's body.
    """

    url: str
    steps: list[Step | Script]
    requests: list[dict[str, Any]] = field(default_factory=list)

    def next_step(self) -> Step | Script:
        """Takes the next step of the script."""
        return self.steps.pop(0) if self.steps else Say("done")

    def seen(self) -> str:
        """Everything that the model was ever shown, as one text."""
        shown = [request.get("input") or request.get("messages") or "" for request in self.requests]
        return "\n".join(json.dumps(items, ensure_ascii=False) for items in shown)

    def texts(self, role: str) -> list[str]:
        """The texts of one role in the last request, in order."""
        found = []
        for item in self.requests[-1].get("input", []):
            if item.get("role") == role:
                found += [part.get("text", "") for part in item.get("content", []) if isinstance(part, dict)]
        return found

    def outputs(self) -> list[str]:
        """What the tools gave back, in the last request."""
        kinds = ("function_call_output", "custom_tool_call_output")
        return [json.dumps(i.get("output")) for i in self.requests[-1].get("input", []) if i.get("type") in kinds]


def _session(body: dict[str, Any]) -> int:
    """The id of the latest session that a tool told of."""
    found = 0
    for item in body.get("input", []):
        text = json.dumps(item.get("output", ""))
        if "session ID " in text:
            found = int("".join(c for c in text.split("session ID ")[1][:12].split("\\")[0] if c.isdigit()))
    return found


SUM_UP = "CRITICAL: Respond with TEXT ONLY"
"""Begins what Claude Code asks for when it has a full context summed up, more than once where the first is no use."""


def is_summed_up(body: dict[str, Any]) -> bool:
    """Whether Claude Code asks for a summary, which is no step of a script."""
    return any(
        text.startswith(SUM_UP) for message in body.get("messages", [])[-1:] for text in texts_of(message["content"])
    )


STOP = "Stop hook feedback:\n"
"""Precedes an order of the Stop hook for Claude Code."""


def latest_order(body: dict[str, Any]) -> str:
    """The latest order of a Stop hook, with its signs as they were before Codex made entities of them."""
    if "messages" in body:
        texts = [text for message in body["messages"] for text in texts_of(message.get("content"))]
        return [text for text in texts if STOP in text][-1].split(STOP)[1]
    texts = [part.get("text", "") for item in body.get("input", []) for part in _parts(item)]
    return html.unescape([text for text in texts if "<hook_prompt" in text][-1])


def texts_of(content: object) -> list[str]:
    """The texts of a message of the Messages API: of its words, not of its calls of tools and what they gave back."""
    if isinstance(content, str):
        return [content]
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return [str(part["text"]) for part in parts if part.get("type") == "text"]


def _parts(item: dict[str, Any]) -> list[dict[str, Any]]:
    content = item.get("content")
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def in_code_mode(body: dict[str, Any]) -> bool:
    """Whether the client offers the tools to a script only: they come as an input item then."""
    return any(item.get("type") == "additional_tools" for item in body.get("input", []))


def _script(step: Shell | Patch | Poll) -> str:
    """The JavaScript of a call."""
    if isinstance(step, Patch):
        return f"text(await tools.apply_patch({json.dumps(step.text)}))"
    assert isinstance(step, Shell), "no session is polled for in code mode: a script waits for its command"
    given = json.dumps({"cmd": step.command, "yield_time_ms": step.yield_ms})
    return f"text((await tools.exec_command({given})).output)"


def _item(step: Step, number: int, body: dict[str, Any]) -> dict[str, Any]:
    call = f"call_{number}"
    if isinstance(step, Say):
        content = [{"type": "output_text", "text": step.text, "annotations": []}]
        return {"type": "message", "role": "assistant", "id": f"m_{number}", "status": "completed", "content": content}
    assert isinstance(step, (Shell, Patch, Poll))
    coded = in_code_mode(body)
    if coded or isinstance(step, Patch):
        name, text = ("exec", _script(step)) if coded else ("apply_patch", step.text)  # type: ignore[union-attr]
        return {"type": "custom_tool_call", "id": f"c_{number}", "call_id": call, "name": name, "input": text,
                "status": "completed"}  # fmt: skip
    if isinstance(step, Shell):
        name, arguments = "exec_command", {"cmd": step.command, "yield_time_ms": step.yield_ms}
    else:
        name, arguments = "write_stdin", {"session_id": _session(body), "chars": "", "yield_time_ms": step.yield_ms}
    return {"type": "function_call", "id": f"f_{number}", "call_id": call, "name": name,
            "arguments": json.dumps(arguments), "status": "completed"}  # fmt: skip


_Answer = tuple[int, bytes, dict[str, str]]


def _stream(events: Sequence[dict[str, Any]]) -> _Answer:
    """The answer that streams these events."""
    text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    return 200, text.encode(), {"Content-Type": "text/event-stream"}


def _error(status: int, error: dict[str, Any], **headers: str) -> _Answer:
    return (
        status,
        json.dumps({"type": "error", "error": error}).encode(),
        {"Content-Type": "application/json", **headers},
    )


def _responses(step: Step, number: int, body: dict[str, Any]) -> _Answer:
    """An answer of the Responses API."""
    if isinstance(step, Fail):
        return _error(step.status, {"message": step.message})
    if isinstance(step, Quota):
        limit = {"type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": "plus"}
        return _error(429, {**limit, "resets_at": step.until})
    item = _item(step, number, body)
    full = step.tokens if isinstance(step, Shell) else 100
    usage = {"input_tokens": full, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 10,
             "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": full + 10}  # fmt: skip
    whole = {"id": f"resp_{number}", "object": "response", "status": "completed", "output": [item], "usage": usage}
    return _stream([
        {"type": "response.created", "response": {"id": whole["id"]}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ])  # fmt: skip


def _messages(step: Step, number: int, body: dict[str, Any]) -> _Answer:
    """An answer of the Messages API."""
    if isinstance(step, Fail):
        return _error(step.status, {"type": "api_error", "message": step.message})
    if isinstance(step, Quota):
        limit = {"status": "rejected", "reset": str(step.until), "representative-claim": "five_hour"}
        headers = {f"anthropic-ratelimit-unified-{name}": value for name, value in limit.items()}
        return _error(429, {"type": "rate_limit_error", "message": "It would exceed your limit."}, **headers)
    full = step.tokens if isinstance(step, Shell) else 100
    usage = {"input_tokens": full, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 10}
    block, why = _block(step, number)
    words = block["type"] == "text"
    delta = {"type": "text_delta", "text": block["text"]} if words else {
        "type": "input_json_delta", "partial_json": json.dumps(block["input"])
    }  # fmt: skip
    message: dict[str, Any] = {
        "id": f"msg_{number}", "type": "message", "role": "assistant", "model": body.get("model"),
        "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage,
    }  # fmt: skip
    empty = {**block, "text": ""} if words else {**block, "input": {}}
    return _stream([
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": why, "stop_sequence": None}, "usage": {"output_tokens": 10}},
        {"type": "message_stop"},
    ])  # fmt: skip


def _block(step: Step, number: int) -> tuple[dict[str, Any], str]:
    """A step as a block of a message of the Messages API, and why the message ends with it."""
    if isinstance(step, Say):
        return {"type": "text", "text": step.text}, "end_turn"
    if isinstance(step, Shell):
        behind = {"run_in_background": True} if step.behind else {}
        step = Tool("Bash", {"command": step.command, "description": "a step", **behind})
    assert isinstance(step, Tool), f"Claude Code has nothing for {step}"
    return {"type": "tool_use", "id": f"toolu_{number}", "name": step.name, "input": step.given}, "tool_use"


class _Handler(BaseHTTPRequestHandler):
    model: Model
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        with self.lock:
            self.model.requests.append(body)
            number = len(self.model.requests)
            step = Say("A summary of it all.") if is_summed_up(body) else self.model.next_step()
            step = step(body) if callable(step) else step
        self._answer((_messages if "/messages" in self.path else _responses)(step, number, body))

    def do_GET(self) -> None:
        self._answer((404, b"{}", {}))

    def do_HEAD(self) -> None:
        self._answer((200, b"", {}))

    def _answer(self, answer: _Answer) -> None:
        status, content, headers = answer
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Keeps quiet."""


@contextmanager
def model_server(steps: Sequence[Step | Script]) -> Iterator[Model]:
    """Serves a script on a free port."""
    model = Model("", list(steps))
    handler = type("Handler", (_Handler,), {"model": model})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    model.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
