"""A server that speaks OpenAI's protocol and has no model, for tests of what asks it.

with FakeServer(say=lambda asked: "a red ring") as server:
    server.url, server.bodies

`say` gives an `Asked` its answer: a text, a `Reply`, or None to close the connection.
"""

import collections
import contextlib
import dataclasses
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nucleus_data.engines.find import CAPTIONER


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request: its question, how often that was asked until now, and all of it."""

    question: str
    times: int
    body: Any


@dataclasses.dataclass(frozen=True)
class Reply:
    """An answer as it goes over the wire."""

    body: Any = None
    status: int = 200
    headers: dict = dataclasses.field(default_factory=dict)


def completion(text, finish="stop", tokens=5, **message):
    """A chat completion."""
    usage = {"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": 20 + tokens}
    usage["prompt_tokens_details"] = {"cached_tokens": 16}
    message = {"role": "assistant", "content": text, **message}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}


def error(status, message, code=None, **headers):
    """An error in OpenAI's form."""
    body = {"error": {"message": message, "type": "error", "code": code}}
    return Reply(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


def question_of(body):
    """The user's text in a request."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


class FakeServer:
    """See the module; `models` is what it lists, `version` and `tokenize` what vLLM has beside."""

    def __init__(
        self,
        say=lambda asked: "a red ring",
        models=None,
        version=None,
        tokenize=None,
        metrics=None,
        info=None,
    ):
        listed = models or [{"id": "nano", "owned_by": "vllm", "root": str(CAPTIONER.nano)}]
        self.models = {"object": "list", "data": [{"object": "model"} | one for one in listed]}
        self.say, self.version, self.tokenize = say, version, tokenize
        self.metrics, self.info = metrics, info
        self.bodies, self.headers, self.running, self.most = [], [], 0, 0
        self.times = collections.Counter()
        self.lock = threading.Lock()
        self.port = 0
        self.server = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def questions(self):
        """All that were asked, without those that ask whether the server works."""
        return [question_of(body) for body in self.bodies]

    def start(self):
        fake = self

        class Handler(_Handler):
            owner = fake

        ThreadingHTTPServer.allow_reuse_address = True
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        self.server.open = set()
        self.port = self.server.server_address[1]
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def stop(self):
        """As a killed process does: connections are cut."""
        server, self.server = self.server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        for one in list(server.open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def answer(self, body):
        if body.get("max_tokens") == 1:
            return self.canary(body)
        with self.lock:
            question = question_of(body)
            asked = Asked(question, self.times[question], body)
            self.times[question] += 1
            self.bodies.append(body)
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            return self.say(asked)
        finally:
            with self.lock:
                self.running -= 1

    def canary(self, body):
        return completion("A")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: else 40 ms between them
    owner = None

    def setup(self):
        super().setup()
        self.server.open.add(self.connection)

    def finish(self):
        self.server.open.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def do_GET(self):
        self.owner.headers.append({name.lower(): one for name, one in self.headers.items()})
        if self.path == "/v1/models":
            self.reply(Reply(self.owner.models))
        elif self.path == "/version" and self.owner.version:
            self.reply(Reply({"version": self.owner.version}))
        elif self.path == "/metrics" and self.owner.metrics:
            text = {"Content-Type": "text/plain"}
            self.reply(Reply(self.owner.metrics.encode(), headers=text))
        elif self.path == "/server_info?config_format=json" and self.owner.info:
            self.reply(Reply(self.owner.info))
        else:
            self.reply(error(404, "no such page"))

    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if len(data) < int(self.headers["Content-Length"]):
            return  # the connection was cut
        body = json.loads(data)
        self.owner.headers.append({name.lower(): one for name, one in self.headers.items()})
        if self.path == "/tokenize" and self.owner.tokenize:
            self.reply(Reply({"tokens": self.owner.tokenize(body["prompt"])}))
        elif self.path == "/v1/chat/completions":
            self.reply(self.owner.answer(body))
        else:
            self.reply(error(404, "no such page"))

    def reply(self, said):
        if said is None or self.owner.server is None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        if isinstance(said, str):
            said = completion(said)
        if not isinstance(said, Reply):
            said = Reply(said)
        data = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
        with contextlib.suppress(OSError):
            self.send_response(said.status)
            headers = {"Content-Type": "application/json", "Content-Length": len(data)}
            for name, value in (headers | said.headers).items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_):
        pass
