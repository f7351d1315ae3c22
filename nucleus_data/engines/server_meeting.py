"""Checks that a server answers, serves the requested model, and accepts pictures.

A server may serve any model under any name. So what the server reports about its model is compared
with `caption.model`, and its tokenizer with that of the model, if both are available.
"""

import asyncio
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from nucleus_data.engines.captioner import Ask, EngineSettings, Sampling
from nucleus_data.engines.find import ModelReference
from nucleus_data.engines.server_chat import Verdict, answered, data_url, judged, request
from nucleus_data.engines.server_text import ServerText
from nucleus_data.engines.server_told import differing, told, unlike
from nucleus_data.engines.servers import Server, ServerSettings
from nucleus_data.errors import RequestError

ANSWERS_WITHIN_S = 30.0
NO_KEY = "none"  # without a key, the package openai would read one from OPENAI_API_KEY


def client_of(url: str, key: str, settings: ServerSettings) -> Any:
    """Makes a client for a server; it neither retries nor follows redirects with the key.

    Args:
        url: The server's base URL.
        key: API key; empty for none.
        settings: `timeout_s` is read.

    Raises:
        RequestError: The package openai is not installed.
    """
    try:
        import openai
    except ImportError:
        raise RequestError(
            "caption.engine=server needs the package openai; run: "
            'pip install "nucleus-data[caption]"'
        ) from None

    # The client would take these headers from environment variables meant for OpenAI's servers.
    others: Any = {"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()}
    return openai.AsyncOpenAI(
        base_url=url,
        api_key=key or NO_KEY,
        default_headers=others,
        max_retries=0,
        timeout=settings.timeout_s,
        http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False),
    )


class Meeting:
    """Checks servers at the start, and again when one has failed.

    Args:
        model: The model that the servers are expected to serve.
        settings: The engine's settings.
        text: Holds the model's tokenizer, if it is on this machine.
        key: API key, which is masked in messages.

    Attributes:
        servers: The servers.
        blind: The reason why requests can't contain pictures; empty if they can.
        counts_tokens: Whether a server has vLLM's endpoint /tokenize.
    """

    def __init__(
        self, model: ModelReference, settings: EngineSettings, text: ServerText, key: str
    ) -> None:
        self._model = model
        self._settings = settings
        self._text = text
        self._key = key
        self.servers: Sequence[Server] = ()
        self.blind = ""
        self.counts_tokens = False

    async def meet(self, server: Server) -> str:
        """Checks a server, and fills in its `model`, `version`, `vllm` and `told`.

        Returns:
            The reason why the server does not work; empty if it does.

        Raises:
            RequestError: The server works, but does not serve the requested model in the requested
                way.
        """
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                listed = await server.client.models.list()
                server.model = self._name(server, list(listed.data))
                await self._version(server, listed.data)
                await self._tokenizer(server)
                await self._compare(server, listed.data)
            await self._canary(server)
        except RequestError:
            raise
        except Exception as error:
            return self._helping(judged(error))
        return ""

    async def well(self, server: Server) -> str:
        """Like `meet`, but returns the reason in all cases, and never raises."""
        try:
            return await self.meet(server)
        except RequestError as error:
            return str(error)
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    async def count_tokens(self, servers: Sequence[Server], text: str) -> int | None:
        """Counts a text's tokens with the first server that can; returns None if none can."""
        for server in servers:
            if not server.down and (found := await self._tokens(server, text)) is not None:
                return len(found)
        return None

    async def close(self) -> None:
        """Closes the connections."""
        for server in self.servers:
            await server.client.close()

    def _name(self, server: Server, listed: Sequence[Any]) -> str:
        """Returns the server's name of the model; RequestError if it does not serve the model."""
        wanted = self._settings.servers.model
        names = [str(one.id) for one in listed]
        if wanted is not None:
            # Not every server lists its models.
            if names and wanted not in names:
                raise RequestError(
                    f"caption.servers.model is {wanted!r}, but {server.url} serves {names}"
                )
            return wanted
        for one in listed:
            if self._same(str(one.id)) or self._same(str(getattr(one, "root", None) or "")):
                return str(one.id)
        shown = [f"{one.id} (of {getattr(one, 'root', None) or 'unknown'})" for one in listed]
        raise RequestError(
            f"caption.model is {self._model.name!r}, but {server.url} serves {', '.join(shown)};"
            " start it with the model, or, if one of these is the model, set"
            " caption.servers.model=ITS_NAME"
        )

    def _same(self, name: str) -> bool:
        """Returns whether a server's name for a model is the model's name, location or folder."""
        if name in (self._model.name, self._model.location):
            return True
        folder = PurePosixPath(self._model.location).name
        return self._model.local and folder == PurePosixPath(name).name and "/" in name

    def _helping(self, verdict: Verdict) -> str:
        """Returns an error's message, with the key masked and with advice if the key is refused."""
        detail = verdict.detail.replace(self._key, "***") if self._key else verdict.detail
        if detail.startswith(("HTTP 401", "HTTP 403")):
            name = self._settings.servers.key_env
            return f"{detail} ({f'the key in {name} is refused' if name else 'give key_env'})"
        return detail

    async def _version(self, server: Server, listed: Sequence[Any]) -> None:
        """Fills in the server's `version` and `vllm`, from vLLM's /version or the model's owner."""
        answer = await self._get(server, "version")
        version = answer.get("version") if isinstance(answer, dict) else None
        owner = str(getattr(listed[0], "owned_by", "") or "") if listed else ""
        server.vllm = str(version) if version and owner in ("vllm", "") else ""
        server.version = f"vllm {version}" if server.vllm else f"{owner or 'unknown'}"

    async def _compare(self, server: Server, listed: Sequence[Any]) -> None:
        """Compares how the server runs the model with the settings and with other servers.

        Raises:
            RequestError: It differs from them in a way that changes captions.
        """
        model = next((one for one in listed if str(one.id) == server.model), None)
        metrics = info = None
        if server.vllm:
            metrics = await self._get(server, "metrics", str)
            info = await self._get(server, "server_info?config_format=json")
        server.told = told(server.vllm, model, metrics, info)
        known = {one.url: one.told for one in self.servers if one.told is not None}
        why = unlike(server.url, server.told, self._settings) or differing(known)
        if why:
            server.told = None  # later servers must not be compared with this one
            raise RequestError(why)

    async def _tokenizer(self, server: Server) -> None:
        """Compares the server's tokenizer with the model's; RequestError if they differ."""
        tokens = await self._tokens(server, self._text.sample)
        self.counts_tokens = self.counts_tokens or tokens is not None
        if tokens is not None and self._text.exact:
            own = self._text.tokens(self._text.sample)
            if tokens != own:
                raise RequestError(
                    f"{server.url} and the tokenizer of caption.model ({self._model.name!r}) split"
                    f" a text into different tokens: it serves another model as {server.model!r}"
                )

    async def _tokens(self, server: Server, text: str) -> list[int] | None:
        asked = {"model": server.model, "prompt": text, "add_special_tokens": False}
        try:
            answer = await server.client.post(
                _beside(server, "tokenize"), body=asked, cast_to=object
            )
        except Exception:  # few servers have this endpoint
            return None
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        whole = isinstance(tokens, list) and all(isinstance(one, int) for one in tokens)
        return tokens if whole else None

    async def _get(self, server: Server, name: str, kind: type = object) -> Any:
        try:
            return await server.client.get(_beside(server, name), cast_to=kind)
        except Exception:  # only vLLM has these endpoints
            return None

    async def _canary(self, server: Server) -> None:
        """Requests one token about a small grey picture, in the form of real requests.

        If the server rejects the picture but answers without one, `blind` is set. Raises if no
        request succeeds.
        """
        if not self.blind:
            try:
                grey = data_url(np.full((64, 64, 3), 128, np.uint8), None)
                return await self._one_token(server, grey)
            except Exception as error:
                verdict = judged(error)
                if verdict.kind != "own":
                    raise
                reason = self._helping(verdict)
                why = f"{server.url} ({server.model}) can't read pictures: {reason}"
            await self._one_token(server, None)
            self.blind = f"caption.servers: {why}. Start it with a vision model"
            return None
        return await self._one_token(server, None)

    async def _one_token(self, server: Server, picture: str | None) -> None:
        ask = Ask("canary", "Describe this image.", Sampling(1))
        asked = request(ask, ask.question, picture, self._settings.template_args, server.vllm)
        async with asyncio.timeout(self._settings.servers.timeout_s):
            answer = await server.client.chat.completions.create(model=server.model, **asked)
        answered(ask, answer, self._text.answers)


def _beside(server: Server, name: str) -> str:
    """Returns the URL of one of vLLM's own endpoints, which are beside /v1."""
    return f"{server.url.removesuffix('/v1')}/{name}"
