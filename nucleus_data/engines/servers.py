"""Settings of captioning servers, and the pool that assigns requests to them.

The least busy server gets the next request. All questions about one picture go to the same server,
to make use of its caches. A server that fails is taken out of use, and checked until it works
again. When all servers have failed for `gives_up_s`, the run ends. Everything except the settings,
`begin` and `hopeless` runs in one event loop.
"""

import asyncio
import random
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

LONGEST_WAIT_S = 30.0
LONGEST_PAUSE_S = 300.0


class ServerSettings(BaseModel):
    """Servers with OpenAI's API, for `caption.engine=server`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    urls: tuple[str, ...] = Field(
        default=(),
        description="Base URLs, for example http://gpu1:8000/v1; all must serve the same model.",
    )
    model: str | None = Field(
        default=None,
        description="The servers' name for the model; null: their name for caption.model, as they"
        " report it.",
    )
    key_env: str | None = Field(
        default=None,
        description="Name of the environment variable with the API key, set where the stage runs;"
        " never the key.",
    )
    concurrency: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="Maximum concurrent requests to one server; caption.max_in_flight limits"
        " those to all servers together.",
    )
    timeout_s: float = Field(default=120.0, gt=0, description="Maximum seconds for one request.")
    retries: int = Field(
        default=5,
        ge=0,
        le=100,
        description="Maximum number of times that a request is sent again after the server failed"
        " on it.",
    )
    backoff_s: float = Field(
        default=0.5,
        gt=0,
        le=LONGEST_WAIT_S,
        description=f"Seconds to wait before the first retry, doubled for each further one up to"
        f" {LONGEST_WAIT_S:g}; the wait itself is drawn at random between half of that and all.",
    )
    gives_up_s: float = Field(
        default=240.0,
        gt=0,
        description="The run ends when all servers have failed for this many seconds. Keep it below"
        " the stage's `row_timeout_s`.",
    )

    @field_validator("urls")
    @classmethod
    def _addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        found = tuple(address(url) for url in urls)
        if len(set(found)) < len(found):
            raise ValueError("a URL is listed twice; list each server once")
        return found

    @field_validator("key_env")
    @classmethod
    def _variable(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            # With this type of error, the configuration's reader does not print the value.
            raise PydanticCustomError(
                "secret", "must be the name of an environment variable, never the key itself"
            )
        return name


def address(url: str) -> str:
    """Normalises a base URL; adds `/v1` if it has no path.

    Raises:
        ValueError: The URL is invalid, contains credentials, or has a query or a fragment.
    """
    parts = urlsplit(url.strip())
    if parts.username is not None or parts.password is not None:
        raise PydanticCustomError(
            "secret", "a URL must not contain a user name or password; pass a key with key_env"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} must begin with http:// or https:// and have a host")
    if parts.query or parts.fragment:
        raise ValueError(f"{url!r} has a query or a fragment; a base URL must end with its path")
    if parts.port == 0:  # the property itself raises ValueError for other invalid ports
        raise ValueError(f"{url!r} has port 0, but no server can listen on it")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}"


@dataclass(frozen=True)
class Told:
    """A server's report about itself; None for what it does not report.

    Attributes:
        version: Version of the server.
        max_model_len: Maximum number of tokens of prompt and caption together.
        kv_cache_dtype: Type of the cache of keys and values.
        dtype: Type of the computation.
        quantization: Quantization of the weights.
    """

    version: str | None = None
    max_model_len: int | None = None
    kv_cache_dtype: str | None = None
    dtype: str | None = None
    quantization: str | None = None


@dataclass(eq=False)
class Server:
    """A server and its state.

    Attributes:
        url: Base URL.
        client: The openai client for it.
        model: The server's name of the model.
        version: Product and version, for the run's record.
        vllm: Version if it is vLLM's server, which accepts more than OpenAI's parameters; otherwise
            empty.
        told: Its report about how it runs the model (`server_told`); None before the first check.
        busy: Number of requests that it is processing.
        down: The reason why it is out of use; empty if it is in use.
        why: Message of its last failure.
        paused_until: Time until which it asked the client to wait (`time.monotonic`).
        failing_since: Time of the first failure since it last worked (`time.monotonic`); None if it
            works.
        strikes: Number of consecutive failures.
    """

    url: str
    client: Any = None
    model: str = ""
    version: str = ""
    vllm: str = ""
    told: Told | None = None
    busy: int = 0
    down: str = ""
    why: str = ""
    paused_until: float = 0.0
    failing_since: float | None = None
    strikes: int = 0


@dataclass(eq=False)
class Place:
    """The server for all questions about one picture, assigned with the first request."""

    server: Server | None = None


@dataclass(eq=False)
class ServerPool:
    """Assigns a server to every request.

    Args:
        servers: All servers.
        settings: Concurrency and waiting times.
        well: Checks a server; returns the reason why it does not work, or an empty text. Must not
            raise.
    """

    servers: Sequence[Server]
    settings: ServerSettings
    well: Callable[[Server], Awaitable[str]]
    waiting: deque[tuple[asyncio.Future[Server], Place]] = field(default_factory=deque)
    watching: dict[Server, asyncio.Task[None]] = field(default_factory=dict)

    async def take(self, place: Place) -> Server:
        """Waits for a server that accepts a request; the caller must return it with `give`."""
        future: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
        self.waiting.append((future, place))
        self._dispatch()
        return await future

    def give(self, server: Server) -> None:
        """Returns a server after a request has ended, successfully or not."""
        server.busy -= 1
        self._dispatch()

    def worked(self, server: Server) -> None:
        """Notes that a server answered properly."""
        server.failing_since, server.strikes = None, 0

    def failed(self, server: Server, why: str) -> None:
        """Takes a server out of use until it works again."""
        self._strike(server, why)
        server.down = server.down or why
        self._watch(server)

    def suspect(self, server: Server, why: str) -> None:
        """Checks a server that may be failing, and takes it out of use if it does not answer."""
        self._strike(server, why)
        self._watch(server)

    def pause(self, server: Server, why: str, seconds: float | None) -> None:
        """Sends a server no requests for some seconds; if None, longer with each failure."""
        self._strike(server, why)
        wait = self.wait(server.strikes) if seconds is None else min(seconds, LONGEST_PAUSE_S)
        server.paused_until = max(server.paused_until, time.monotonic() + wait)
        asyncio.get_running_loop().call_later(wait + 0.01, self._dispatch)

    def wait(self, failures: int) -> float:
        """Returns the seconds to wait before a retry, after a number of failures; randomised."""
        longest = min(
            LONGEST_WAIT_S, self.settings.backoff_s * 2.0 ** min(max(failures, 1) - 1, 60)
        )
        return longest * random.uniform(0.5, 1.0)

    def begin(self) -> None:
        """Restarts the clock of failing servers, when work arrives after an idle time."""
        for server in self.servers:
            if server.failing_since is not None:
                server.failing_since = time.monotonic()

    def hopeless(self) -> str:
        """Returns an error message if all servers have failed for `gives_up_s`; otherwise empty."""
        since = [server.failing_since for server in self.servers]
        failing = [one for one in since if one is not None]
        if len(failing) < len(since) or time.monotonic() - max(failing) < self.settings.gives_up_s:
            return ""
        return (
            f"caption.servers: no server has worked for {self.settings.gives_up_s:g} s"
            f" ({self.states()}). Start one of them and run the same command again; nothing that"
            " was committed is lost"
        )

    def states(self) -> str:
        """Returns the failing servers with their reasons, for messages."""
        return "; ".join(f"{one.url}: {one.down or one.why}" for one in self.servers if one.why)

    def _strike(self, server: Server, why: str) -> None:
        server.why, server.strikes = why, server.strikes + 1
        if server.failing_since is None:
            server.failing_since = time.monotonic()

    def _watch(self, server: Server) -> None:
        if server not in self.watching:
            self.watching[server] = asyncio.get_running_loop().create_task(self._asked(server))

    async def _asked(self, server: Server) -> None:
        """Checks a server repeatedly until it works."""
        failures = 0
        while why := await self.well(server):
            failures += 1
            server.down = server.why = why
            await asyncio.sleep(self.wait(failures))
        server.down = ""
        self.worked(server)
        del self.watching[server]
        self._dispatch()

    def _dispatch(self) -> None:
        """Assigns servers to the waiting requests, in order."""
        left: deque[tuple[asyncio.Future[Server], Place]] = deque()
        while self.waiting:
            now = time.monotonic()
            usable = [one for one in self.servers if not one.down and one.paused_until <= now]
            room = [one for one in usable if one.busy < self.settings.concurrency]
            if not room:
                break
            future, place = self.waiting.popleft()
            if future.done():
                continue
            if place.server is None or place.server not in usable:
                place.server = min(room, key=lambda one: one.busy)
            if place.server not in room:
                left.append((future, place))  # its picture's server is currently full
                continue
            place.server.busy += 1
            future.set_result(place.server)
        self.waiting.extendleft(reversed(left))
