"""Servers that caption: their settings, and which of them a request goes to.

The least busy server gets the next request; what is asked about one picture goes to one server,
whose caches then hold it. A server that fails is left out, and tried again until it works. When all
have failed for `gives_up_s`, the run ends. All but the settings, `begin` and `hopeless` runs in one
event loop.
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
    """Servers that speak OpenAI's protocol, for `caption.engine=server`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    urls: tuple[str, ...] = Field(
        default=(), description="Base URLs, for example http://gpu1:8000/v1; all serve one model."
    )
    model: str | None = Field(
        default=None,
        description="Name that the servers give the model; null asks them, and takes the one that"
        " is caption.model.",
    )
    key_env: str | None = Field(
        default=None,
        description="Environment variable with the key, set where the stage runs; never the key.",
    )
    concurrency: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="Requests that one server is sent at once; caption.max_in_flight bounds those"
        " of all servers together.",
    )
    timeout_s: float = Field(default=120.0, gt=0, description="Longest time for one request.")
    retries: int = Field(
        default=5,
        ge=0,
        le=100,
        description="How often a request is asked again, after the server failed on it.",
    )
    backoff_s: float = Field(
        default=0.5,
        gt=0,
        le=LONGEST_WAIT_S,
        description=f"Wait before the first retry; doubled for each further one up to"
        f" {LONGEST_WAIT_S:g}, and drawn at random between half of it and all.",
    )
    gives_up_s: float = Field(
        default=240.0,
        gt=0,
        description="The run ends when all servers have failed for so long. Keep it below the"
        " stage's row_timeout_s.",
    )

    @field_validator("urls")
    @classmethod
    def _addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        found = tuple(address(url) for url in urls)
        if len(set(found)) < len(found):
            raise ValueError("a URL is there twice; each server is named once")
        return found

    @field_validator("key_env")
    @classmethod
    def _variable(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            # Of this type, so that the configuration's reader does not repeat what was given.
            raise PydanticCustomError(
                "secret", "it is the name of an environment variable, never the key itself"
            )
        return name


def address(url: str) -> str:
    """A base URL in one form; `/v1` is added to one without a path. Raises ValueError."""
    parts = urlsplit(url.strip())
    if parts.username is not None or parts.password is not None:
        raise PydanticCustomError(
            "secret", "a URL has no name and password in it: give a key by key_env"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no URL that begins with http:// or https://, and a host")
    if parts.query or parts.fragment:
        raise ValueError(f"{url!r} has a query or a fragment; a base URL ends with its path")
    assert parts.port is None or parts.port  # raises ValueError for what is no port
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}"


@dataclass(frozen=True)
class Told:
    """What a server tells; None for what it does not.

    Attributes:
        version: Of the server.
        max_model_len: Tokens that it has room for.
        kv_cache_dtype: Of the cache of keys and values.
        dtype: Of the computation.
        quantization: Of the weights.
    """

    version: str | None = None
    max_model_len: int | None = None
    kv_cache_dtype: str | None = None
    dtype: str | None = None
    quantization: str | None = None


@dataclass(eq=False)
class Server:
    """One server and how it does.

    Attributes:
        url: Its base URL.
        client: What speaks to it.
        model: Name of the model there.
        version: What it says that it is.
        vllm: Version, if it is vLLM's server: then it takes more than OpenAI's parameters.
        told: What it tells of how it runs the model (`server_told`); None before it is met.
        busy: Requests that it has.
        down: Why it is left out; empty if it is not.
        why: Its last failure.
        paused_until: It asked to be left alone until then.
        failing_since: When the first failure came after which nothing worked.
        strikes: Failures in turn.
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
    """Where what is asked about one picture goes: the server that the first request took."""

    server: Server | None = None


@dataclass(eq=False)
class ServerPool:
    """Gives every request a server.

    Args:
        servers: All of them.
        settings: Concurrency, waits.
        well: Asks a server whether it works; why not, or nothing. It raises for no server.
    """

    servers: Sequence[Server]
    settings: ServerSettings
    well: Callable[[Server], Awaitable[str]]
    waiting: deque[tuple[asyncio.Future[Server], Place]] = field(default_factory=deque)
    watching: dict[Server, asyncio.Task[None]] = field(default_factory=dict)

    async def take(self, place: Place) -> Server:
        """Waits for a server with room; the caller gives it back with `give`."""
        future: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
        self.waiting.append((future, place))
        self._dispatch()
        return await future

    def give(self, server: Server) -> None:
        """A request has ended, well or not."""
        server.busy -= 1
        self._dispatch()

    def worked(self, server: Server) -> None:
        """A server answered as it should."""
        server.failing_since, server.strikes = None, 0

    def failed(self, server: Server, why: str) -> None:
        """Leaves a server out until it is well again."""
        self._strike(server, why)
        server.down = server.down or why
        self._watch(server)

    def suspect(self, server: Server, why: str) -> None:
        """A server may be failing: it is asked, and left out if it does not answer."""
        self._strike(server, why)
        self._watch(server)

    def pause(self, server: Server, why: str, seconds: float | None) -> None:
        """Sends a server nothing for a time: what it asked for, or longer each time."""
        self._strike(server, why)
        wait = self.wait(server.strikes) if seconds is None else min(seconds, LONGEST_PAUSE_S)
        server.paused_until = max(server.paused_until, time.monotonic() + wait)
        asyncio.get_running_loop().call_later(wait + 0.01, self._dispatch)

    def wait(self, failures: int) -> float:
        """Seconds before something is tried again, after so many failures."""
        longest = min(
            LONGEST_WAIT_S, self.settings.backoff_s * 2.0 ** min(max(failures, 1) - 1, 60)
        )
        return longest * random.uniform(0.5, 1.0)

    def begin(self) -> None:
        """Work comes after a time without: what failed before it says nothing of now."""
        for server in self.servers:
            if server.failing_since is not None:
                server.failing_since = time.monotonic()

    def hopeless(self) -> str:
        """What is said when all servers have failed for too long; empty before."""
        since = [server.failing_since for server in self.servers]
        failing = [one for one in since if one is not None]
        if len(failing) < len(since) or time.monotonic() - max(failing) < self.settings.gives_up_s:
            return ""
        return (
            f"caption.servers: no server has worked for {self.settings.gives_up_s:g} s"
            f" ({self.states()}). Start one of them, and run the same command again: what was"
            " committed stays, and nothing is lost"
        )

    def states(self) -> str:
        """The servers that fail, and why."""
        return "; ".join(f"{one.url}: {one.down or one.why}" for one in self.servers if one.why)

    def _strike(self, server: Server, why: str) -> None:
        server.why, server.strikes = why, server.strikes + 1
        if server.failing_since is None:
            server.failing_since = time.monotonic()

    def _watch(self, server: Server) -> None:
        if server not in self.watching:
            self.watching[server] = asyncio.get_running_loop().create_task(self._asked(server))

    async def _asked(self, server: Server) -> None:
        """Asks a server whether it is well, until it is."""
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
        """Gives servers to those who wait, the first first."""
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
                left.append((future, place))  # its picture's server is full for the moment
                continue
            place.server.busy += 1
            future.set_result(place.server)
        self.waiting.extendleft(reversed(left))
