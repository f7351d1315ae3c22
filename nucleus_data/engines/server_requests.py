"""Requests to servers: each is asked until there is an answer, or a reason why there is none.

What a server failed on is asked again. A request that keeps failing ends by itself only if its
server answers another question meanwhile; else it is the server that is left out, and the request
waits.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nucleus_data.engines.captioner import Ask, Counts, EngineSettings, Generated
from nucleus_data.engines.refusals import raised
from nucleus_data.engines.server_chat import Verdict, answered, judged, request, usage
from nucleus_data.engines.server_meeting import Meeting
from nucleus_data.engines.servers import Place, Server, ServerPool

# A server that is full says so often; that is nothing about the request.
BUSY_FOR_EACH_RETRY = 10


@dataclass(frozen=True)
class Question:
    """An ask, its text as it is sent, and the picture that it sees."""

    ask: Ask
    text: str
    picture: str | None


class ServerRequests:
    """Asks the servers of a pool; in its event loop.

    Args:
        pool: The servers.
        meeting: Tells whether a server works.
        settings: The engine's.
        opened: By whether a server is vLLM's: does the chat template leave thinking open.
        key: What no message may show.
        counts: Takes what was done.

    Attributes:
        fatal: Why no request can be served; empty if one can.
    """

    def __init__(
        self,
        pool: ServerPool,
        meeting: Meeting,
        settings: EngineSettings,
        opened: Mapping[bool, bool],
        key: str,
        counts: Counts,
    ) -> None:
        self._pool = pool
        self._meeting = meeting
        self._settings = settings
        self._opened = opened
        self._key = key
        self._counts = counts
        self.fatal = ""

    async def answer(self, question: Question, place: Place) -> Generated:
        """Asks until there is an answer, or a reason.

        Args:
            question: What is asked.
            place: The same for all that is asked about one picture.
        """
        try:
            return await self._asked(question, place)
        except Exception as error:  # our own fault; it costs this request alone
            return raised(question.ask.key, error)

    async def _asked(self, question: Question, place: Place) -> Generated:
        """Asks, and asks again what a server failed on."""
        key, retries = question.ask.key, self._settings.servers.retries
        failures = busy = 0
        if question.picture is not None and self._meeting.blind:
            self.fatal = self._meeting.blind
        while True:
            server = await self._pool.take(place)
            try:
                verdict = await self._said(server, question)
                if isinstance(verdict, Generated):
                    return verdict
                # Before the server is given back: the next in line would meet what this one met.
                self._blame(server, verdict)
            finally:
                self._pool.give(server)
            self._counts.add(asked_again=int(verdict.kind != "unreached"))
            busy += verdict.kind == "busy"
            failures += verdict.kind == "lost"
            if failures + busy // BUSY_FOR_EACH_RETRY > retries:
                if not (why := await self._meeting.well(server)):
                    return self._given_up(key, verdict, failures + busy)
                self._pool.failed(server, why)
                failures, busy = retries, 0  # it is the server: once more, when it works
            if verdict.kind == "lost":
                await asyncio.sleep(max(self._pool.wait(failures), verdict.wait_s or 0))

    async def _said(self, server: Server, question: Question) -> Generated | Verdict:
        """A server's answer, or what its error says of it."""
        try:
            answer = await self._ask(server, question)
            made = answered(question.ask, answer, opened=self._opened[bool(server.vllm)])
        except Exception as error:
            verdict = judged(error)
            if verdict.kind != "own":
                return verdict
            detail = self._without_key(verdict.detail)
            made = Generated(question.ask.key, error=detail, reason=verdict.reason)
        else:
            tokens, prompt_tokens, cached = usage(answer)
            self._counts.add(tokens=tokens, prompt_tokens=prompt_tokens, cached_tokens=cached)
        self._pool.worked(server)
        return made

    async def _ask(self, server: Server, question: Question) -> Any:
        """Sends one request."""
        asked = request(
            question.ask,
            question.text,
            question.picture,
            self._settings.template_args,
            server.vllm,
        )
        # The package's own limit is one of each read; a server may send a byte now and then.
        async with asyncio.timeout(self._settings.servers.timeout_s):
            return await server.client.chat.completions.create(model=server.model, **asked)

    def _blame(self, server: Server, verdict: Verdict) -> None:
        """What a failed request says of its server."""
        why = self._without_key(verdict.detail)
        if verdict.kind == "busy":
            self._pool.pause(server, why, verdict.wait_s)
        elif verdict.kind in ("server", "unreached") or verdict.reason == "engine_lost":
            self._pool.failed(server, why)
        else:
            self._pool.suspect(server, why)

    def _given_up(self, key: str, verdict: Verdict, times: int) -> Generated:
        detail = f"{self._without_key(verdict.detail)} (asked {times} times; others are answered)"
        return Generated(key, error=detail, reason=verdict.reason)

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text
