"""A model service that plays a script: the Responses API as Codex speaks it, on a local port, every request kept.

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
    """A shell command, through exec_command; tokens is how full the context is said to be then."""

    command: str
    yield_ms: int = 10_000
    tokens: int = 100


@dataclass(frozen=True)
class Poll:
    """Waits for the session of the latest long command."""

    yield_ms: int = 60_000


@dataclass(frozen=True)
class Patch:
    """The apply_patch tool."""

    text: str


@dataclass(frozen=True)
class Fail:
    """An HTTP error."""

    status: int
    message: str


Step = Say | Shell | Poll | Patch | Fail
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

    def seen(self) -> str:
        """Everything that the model was ever shown, as one text."""
        return "\n".join(json.dumps(request.get("input", ""), ensure_ascii=False) for request in self.requests)

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


def latest_order(body: dict[str, Any]) -> str:
    """The latest order of a Stop hook, with its signs as they were before the client made entities of them."""
    texts = [part.get("text", "") for item in body.get("input", []) for part in _parts(item)]
    return html.unescape([text for text in texts if "<hook_prompt" in text][-1])


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


class _Handler(BaseHTTPRequestHandler):
    model: Model
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        with self.lock:
            self.model.requests.append(body)
            number = len(self.model.requests)
            step = self.model.steps.pop(0) if self.model.steps else Say("done")
            step = step(body) if callable(step) else step
        if isinstance(step, Fail):
            self._answer(step.status, "application/json", json.dumps({"error": {"message": step.message}}).encode())
            return
        item = _item(step, number, body)
        full = step.tokens if isinstance(step, Shell) else 100
        usage = {"input_tokens": full, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 10,
                 "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": full + 10}  # fmt: skip
        whole = {"id": f"resp_{number}", "object": "response", "status": "completed", "output": [item], "usage": usage}
        events = [
            {"type": "response.created", "response": {"id": whole["id"]}},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": whole},
        ]
        text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        self._answer(200, "text/event-stream", text.encode())

    def do_GET(self) -> None:
        self._answer(404, "application/json", b"{}")

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
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
