"""A real HTTP server on this machine that answers chats in the OpenAI form, or badly, by a rule."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What the stub sends; with `hold` it first waits until the stub closes, or so many seconds."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hold: float = 0.0


def says(text: str | None, **usage: int) -> Reply:
    """A chat completion of this text."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return Reply(json.dumps({"choices": [choice], **({"usage": usage} if usage else {})}).encode())


Rule = Callable[[dict[str, Any]], Reply]


@dataclass
class Stub:
    """`requests` are the bodies in the order in which they came, `keys` their Authorization headers."""

    rule: Rule
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    most_at_a_time: int = 0
    url: str = ""
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    running: int = 0

    def base(self, model: str = "stub") -> str:
        return f"{self.url}#{model}"

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            self.requests.append(body)
            self.keys.append(handler.headers["Authorization"])
            self.paths.append(handler.path)
            self.running += 1
            self.most_at_a_time = max(self.most_at_a_time, self.running)
        reply = self.rule(body)
        self.closing.wait(reply.hold)
        with self.lock:
            self.running -= 1
        with contextlib.suppress(OSError):  # who asked may have gone
            send(handler, reply)


def send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    handler.send_response(reply.status)
    for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(reply.body)


@contextlib.contextmanager
def serving(rule: Rule) -> Iterator[Stub]:
    stub = Stub(rule)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            stub.take(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
