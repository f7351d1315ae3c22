"""Sends requests to servers, with retries, until there is an answer or a definite failure.

A request on which a server failed is sent again. If it keeps failing, its server is checked. If the
server answers a test request, the request fails alone; otherwise the server is taken out of use,
and the request waits for a working one.
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
from nucleus_data.engines.thinking import Answers

# Number of "busy" answers that count as one retry: a full server gives them often, and they are not
# the request's fault.
BUSY_FOR_EACH_RETRY = 10


@dataclass(frozen=True)
class Question:
    """A question with its text as it is sent, and its picture as a data: URL or None."""

    ask: Ask
    text: str
    picture: str | None


class ServerRequests:
    """Sends requests to the servers of a pool, in its event loop.

    Args:
        pool: The servers.
        meeting: Checks whether a server works.
        settings: The engine's settings.
        opened: Whether the server is vLLM's -> whether the chat template ends inside a block of
            thinking.
        answers: Finds the answers in outputs.
        key: API key, which is masked in messages.
        counts: Receives the counts.

    Attributes:
        fatal: The reason why requests can't be served at all; empty if they can.
    """

    def __init__(
        self,
        pool: ServerPool,
        meeting: Meeting,
        settings: EngineSettings,
        opened: Mapping[bool, bool],
        answers: Answers,
        key: str,
        counts: Counts,
    ) -> None:
        self._pool = pool
        self._meeting = meeting
        self._settings = settings
        self._opened = opened
        self._answers = answers
        self._key = key
        self._counts = counts
        self.fatal = ""

    async def answer(self, question: Question, place: Place) -> Generated:
        """Sends a request until there is an answer or a definite failure.

        Args:
            question: The question.
            place: Shared by all questions about one picture, so that they go to one server.
        """
        try:
            return await self._asked(question, place)
        except Exception as error:  # a bug on this side, which must not end the other requests
            return raised(question.ask.key, error)

    async def _asked(self, question: Question, place: Place) -> Generated:
        """Sends a request, and sends it again when a server fails on it."""
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
                # Before the server is given back, or the next request would meet the same failure.
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
                failures, busy = retries, 0  # the server's fault: one more try when a server works
            if verdict.kind == "lost":
                await asyncio.sleep(max(self._pool.wait(failures), verdict.wait_s or 0))

    async def _said(self, server: Server, question: Question) -> Generated | Verdict:
        """Sends a request once; returns the answer, or the verdict on an error."""
        try:
            answer = await self._ask(server, question)
            opened = self._opened[bool(server.vllm)]
            made = answered(question.ask, answer, self._answers, opened=opened)
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
            marks=self._answers.marked,
        )
        # The package's own timeout is for each read, so a server that sends single bytes could
        # exceed it indefinitely.
        async with asyncio.timeout(self._settings.servers.timeout_s):
            return await server.client.chat.completions.create(model=server.model, **asked)

    def _blame(self, server: Server, verdict: Verdict) -> None:
        """Pauses, suspects or takes out of use the server on which a request failed."""
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
