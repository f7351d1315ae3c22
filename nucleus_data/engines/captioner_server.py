"""Captions with servers that implement OpenAI's protocol, such as `vllm serve`.

A separate thread runs an event loop, in which every request is a coroutine (`server_requests`).
Finished requests are put into a queue, from which `step` takes them.
"""

import asyncio
import logging
import os
import queue
import threading
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from nucleus_data.engines.captioner import Ask, Counts, EngineSettings, Generated, Pixels, Prepared
from nucleus_data.engines.find import ModelReference
from nucleus_data.engines.refusals import check_shown, raised, refused
from nucleus_data.engines.server_chat import data_url, template_arguments
from nucleus_data.engines.server_meeting import Meeting, client_of
from nucleus_data.engines.server_requests import Question, ServerRequests
from nucleus_data.engines.server_text import (
    ServerText,
    local_tokenizer,
    most_tokens,
    template_opens_thinking,
)
from nucleus_data.engines.server_told import notes
from nucleus_data.engines.servers import Place, Server, ServerPool
from nucleus_data.errors import RequestError, StoppedError

STEP_S = 0.02
LAST_S = 0.1


class ServerEngine:
    """A captioning engine (`captioner.Engine`) on one or more servers.

    Args:
        model: The model that the servers are expected to serve.
        settings: `servers`, and the settings of requests.
        pictures: Whether requests will contain pictures.

    Raises:
        RequestError: A setting is wrong, or a server serves another model.
        StoppedError: No server answers.
    """

    name = "server"
    on_cpu = False
    patience_s: float | None = STEP_S

    def __init__(
        self, model: ModelReference, settings: EngineSettings, *, pictures: bool = True
    ) -> None:
        self._settings = settings
        self._own = settings.servers
        self._key = _key(settings)
        self._text = ServerText(local_tokenizer(model))
        # Keyed by whether the server is vLLM's, as the template's default arguments depend on it.
        opened = {
            vllm: template_opens_thinking(model, template_arguments(settings.template_args, kind))
            for vllm, kind in ((True, "vllm"), (False, ""))
        }
        self._meeting = Meeting(model, settings, self._text, self._key)
        if not pictures:
            self._meeting.blind = "caption: a server used without pictures was asked about one"
        self._counts = Counts()
        self._done: queue.SimpleQueue[Generated] = queue.SimpleQueue()
        self._pending = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="servers", daemon=True)
        self._thread.start()
        try:
            self._pool, self.version = self._within(self._meet())
            self._requests = ServerRequests(
                self._pool,
                self._meeting,
                settings,
                opened,
                self._text.answers,
                self._key,
                self._counts,
            )
        except BaseException:
            self.close()
            raise
        if not self._text.exact and not self._meeting.counts_tokens:
            logging.getLogger(__name__).warning(
                "caption.servers: neither the model's tokenizer nor /tokenize is available; the"
                " number of tokens of a text is assumed to be its number of bytes, an upper bound"
            )
        met = {one.url: one.told for one in self._pool.servers if one.told is not None}
        for note in notes(met, settings):
            logging.getLogger(__name__).warning(note)

    def prepare(self, picture: Pixels | None, asks: Sequence[Ask]) -> Prepared:
        """Encodes a picture and its questions, in any thread."""
        questions, failed = [], []
        try:
            url = None
            if picture is not None and any(ask.sees_picture for ask in asks):
                url = data_url(picture, self._settings.jpeg_quality)
        except Exception as error:
            return Prepared((), [raised(ask.key, error) for ask in asks])
        for ask in asks:
            try:
                check_shown(ask, picture)
                questions.append(self._question(ask, url))
            except (ValueError, RequestError) as error:
                failed.append(refused(ask.key, error))
            except Exception as error:
                failed.append(raised(ask.key, error))
        return Prepared(tuple(one.ask.key for one in questions), failed, questions)

    def _question(self, ask: Ask, url: str | None) -> Question:
        """Returns what to send for a question; ValueError if it can't be encoded."""
        if ask.system is not None:
            ask.system.encode()
        return Question(ask, self._text.harmless(ask.question), url if ask.sees_picture else None)

    def submit(self, prepared: Prepared) -> None:
        """Takes a prepared picture; its questions go to the same server."""
        questions: Sequence[Question] = prepared.work or ()
        if not questions:
            return
        if not self._pending:
            self._pool.begin()
        self._pending += len(questions)
        self._counts.add(pictures=any(one.picture is not None for one in questions))
        self._loop.call_soon_threadsafe(self._begin, questions)

    def step(self) -> list[Generated]:
        """Waits up to `patience_s` for an answer, and returns all finished requests.

        Raises:
            StoppedError: No server has worked for `gives_up_s`, or the servers do not accept
                pictures.
        """
        done = []
        try:
            done.append(self._done.get(timeout=self.patience_s if self._pending else 0))
            while True:
                done.append(self._done.get_nowait())
        except queue.Empty:
            pass
        self._pending -= len(done)
        # Answers about a picture from a model that can't see it are worthless, so this stops first.
        if why := self._requests.fatal or ("" if done else self._pool.hopeless()):
            raise StoppedError(why)
        return done

    def pending(self) -> int:
        """Returns the number of submitted requests that `step` has not returned yet."""
        return self._pending

    def count_tokens(self, text: str) -> int:
        """Returns the number of tokens of a user's text as it is sent, or an upper bound.

        Raises:
            ValueError: The text can't be encoded.
        """
        sent = self._text.harmless(text)
        if self._text.exact:
            return len(self._text.tokens(sent))
        if self._meeting.counts_tokens:
            found = self._within(self._meeting.count_tokens(self._pool.servers, sent))
            if found is not None:
                return found
        return most_tokens(sent)

    def counts(self) -> Mapping[str, int]:
        """Returns the counts since the last call; `asked_again` is the number of retries."""
        return self._counts.take()

    def close(self) -> None:
        """Ends the thread and closes the connections; running requests are cancelled."""
        if not self._loop.is_closed() and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)

    def _run(self) -> None:
        """Runs the event loop, and cleans up when it has stopped; the thread's target."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            left = asyncio.all_tasks(self._loop)
            # Without this wait, asyncio would warn of connections that are cancelled too early.
            if left:
                self._loop.run_until_complete(asyncio.wait(left, timeout=LAST_S))
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._meeting.close())
        finally:
            self._loop.close()

    def _within(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine in the loop and returns its result; for any other thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _meet(self) -> tuple[ServerPool, str]:
        """Checks all servers; those that do not answer are retried later.

        Returns:
            The pool of servers, and their versions for the engine's `version`.
        """
        servers = [Server(url, client_of(url, self._key, self._own)) for url in self._own.urls]
        self._meeting.servers = servers
        pool = ServerPool(servers, self._own, self._meeting.well)
        for server, why in zip(
            servers, await asyncio.gather(*map(self._meeting.meet, servers)), strict=True
        ):
            if why:
                pool.failed(server, why)
        if all(server.down for server in servers):
            raise StoppedError(
                f"caption.servers: no server answers ({pool.states()}). Start one of them (for"
                " example: vllm serve MODEL), or give its URL in caption.servers.urls"
            )
        versions = sorted({server.version for server in servers if server.version})
        return pool, ", ".join(versions)

    def _begin(self, questions: Sequence[Question]) -> None:
        """Starts the requests about one picture; runs in the loop."""
        place = Place()
        for question in questions:
            task = self._loop.create_task(self._answer(question, place))
            self._tasks.add(task)  # the loop itself keeps only weak references to tasks
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, question: Question, place: Place) -> None:
        self._done.put(await self._requests.answer(question, place))


def _key(settings: EngineSettings) -> str:
    """Returns the API key, empty without `key_env`; RequestError if a setting is missing."""
    servers = settings.servers
    if not servers.urls:
        raise RequestError(
            "caption.engine=server needs caption.servers.urls, for example"
            " caption.servers.urls=[http://127.0.0.1:8000/v1]"
        )
    if servers.key_env is None:
        return ""
    key = os.environ.get(servers.key_env, "").strip()
    if not key:
        raise RequestError(
            f"caption.servers.key_env: the environment variable {servers.key_env} is not set where"
            " the stage runs; export it before starting Ray, or remove key_env"
        )
    return key
