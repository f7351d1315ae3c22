"""Encodes requests to a server, and interprets its answers and errors; pure functions."""

import base64
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import simplejpeg
from PIL import Image

from nucleus_data.engines.captioner import Ask, Generated, Pixels
from nucleus_data.engines.chat import TEMPLATE_ARGS
from nucleus_data.engines.grammar import bounded_grammar
from nucleus_data.engines.thinking import Answers

# First version of vLLM that accepts a grammar in `structured_outputs`.
GRAMMARS_SINCE = (0, 12)
LONGEST_DETAIL = 500
TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|maximum model length"
    r"|context (?:length|window|size)|max_model_len|longer than the maximum|too many tokens"
    # vLLM's message if the context leaves fewer than `min_tokens` of our `max_tokens`.
    r"|min_tokens must be less",
    re.IGNORECASE,
)
# HTTP statuses that mean that the server, its address or the key is wrong, so that every request
# would fail.
NOT_ONE_REQUEST = (401, 402, 403, 404, 405, 407, 421)


class MalformedError(ValueError):
    """An answer that does not follow OpenAI's protocol."""


@dataclass(frozen=True)
class Verdict:
    """The meaning of an error.

    Attributes:
        kind: `own` (this request is rejected, and would always be), `lost` (a retry may succeed),
            `busy` (the server asks the client to wait), `server` (every request to this server
            would fail), or `unreached` (the request did not reach the server).
        detail: Message for people.
        reason: `Generated.reason` of the request, if it fails with this error.
        wait_s: Seconds that the server asks the client to wait; None if it does not.
    """

    kind: Literal["own", "lost", "busy", "server", "unreached"]
    detail: str
    reason: str = "engine_raised"
    wait_s: float | None = None


def data_url(picture: Pixels, jpeg_quality: int | None) -> str:
    """Encodes a picture as a data: URL.

    Args:
        picture: uint8[H, W, 3], RGB.
        jpeg_quality: Quality of a JPEG, which is encoded without chroma subsampling; None for PNG.
    """
    if jpeg_quality is None:
        file = io.BytesIO()
        # The fastest level, as more time for compression would cost more than the bytes saved.
        Image.fromarray(picture).save(file, "PNG", compress_level=1)
        kind, data = "png", file.getvalue()
    else:
        kind, data = "jpeg", simplejpeg.encode_jpeg(picture, jpeg_quality, colorsubsampling="444")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def request(
    ask: Ask,
    question: str,
    picture: str | None,
    template_args: Mapping[str, Any],
    vllm: str,
    *,
    marks: bool = False,
) -> dict[str, Any]:
    """Returns the arguments of openai's `chat.completions.create`, except the model's name.

    Args:
        ask: The question.
        question: Its text, without special tokens.
        picture: The picture as a data: URL; None if the question does not contain it.
        template_args: Arguments of the chat template.
        vllm: Version of the server if it is vLLM's; otherwise empty.
        marks: Whether the answer is needed with special tokens (`thinking.Answers.marked`).
    """
    content: Any = question
    if picture is not None:
        shown: dict[str, Any] = {"type": "image_url", "image_url": {"url": picture}}
        if ask.fresh and vllm:  # a unique name, so that vLLM's cache does not know the picture
            shown["uuid"] = _salt(ask.key)
        # The picture comes first, so that all questions about it share a prefix.
        content = [shown, {"type": "text", "text": question}]
    messages = [{"role": "user", "content": content}]
    if ask.system is not None:
        messages.insert(0, {"role": "system", "content": ask.system})
    how = ask.sampling
    asked: dict[str, Any] = {
        "messages": messages,
        "max_tokens": how.max_tokens,
        "temperature": how.temperature,
        "top_p": how.top_p,
    }
    if how.temperature:
        asked["seed"] = how.seed
    if how.stop:
        asked["stop"] = list(how.stop)
    if how.presence_penalty or vllm:
        asked["presence_penalty"] = how.presence_penalty
    extra: dict[str, Any] = {}
    if sent := template_arguments(template_args, vllm):
        extra["chat_template_kwargs"] = dict(sent)
    if how.repetition_penalty != 1 or vllm:
        extra["repetition_penalty"] = how.repetition_penalty
    if how.min_tokens:
        extra["min_tokens"] = how.min_tokens
    if vllm:
        # If omitted, vLLM would take them from the model's generation_config.json.
        extra |= {"top_k": -1, "min_p": 0.0}
        if marks:
            extra["skip_special_tokens"] = False
        if ask.fresh:
            extra["cache_salt"] = _salt(ask.key)
    if ask.schema is not None:
        asked |= _structure(ask.schema, vllm, extra)
    return asked | ({"extra_body": extra} if extra else {})


def template_arguments(given: Mapping[str, Any], vllm: str) -> Mapping[str, Any]:
    """Returns the chat template's arguments to send.

    The engines' default arguments are added only for vLLM, as other servers may reject any.
    """
    return {**TEMPLATE_ARGS, **given} if vllm else given


def _salt(key: str) -> str:
    """Converts a key to a name that vLLM accepts for its caches: up to 128 letters, no slash."""
    return key.replace("/", ":")[-128:]


def _structure(schema: str, vllm: str, extra: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments for an answer that follows a schema.

    If the server accepts a grammar, it is put into `extra` instead.
    """
    numbers = tuple(int(number) for number in re.findall(r"\d+", vllm)[:2])
    if numbers >= GRAMMARS_SINCE:
        try:
            extra["structured_outputs"] = {"grammar": bounded_grammar(schema)}
        except ImportError:  # xgrammar comes with vLLM, which may be installed only on the server
            pass
        else:
            return {}
    named = {"name": "answer", "schema": json.loads(schema), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def answered(ask: Ask, answer: Any, answers: Answers, *, opened: bool = False) -> Generated:
    """Returns the caption, or the failure, in a server's answer.

    Args:
        ask: The question.
        answer: A chat completion of the package openai.
        answers: Finds the caption in the model's output.
        opened: Whether the chat template ends inside a block of thinking.

    Raises:
        MalformedError: The answer is not a valid chat completion.
    """
    choices = getattr(answer, "choices", None)
    if not isinstance(choices, list) or not choices:
        raise MalformedError(f"an answer without choices: {str(answer)[:200]!r}")
    message = getattr(choices[0], "message", None)
    content = getattr(message, "content", None)
    if message is None or not isinstance(content, str | None):
        raise MalformedError(f"an answer without a message: {str(answer)[:200]!r}")
    finish = getattr(choices[0], "finish_reason", None)
    tokens, prompt_tokens, _ = usage(answer)
    if refusal := getattr(message, "refusal", None):
        return Generated(ask.key, error=f"refused: the model says {str(refusal)[:300]!r}")
    if finish not in ("stop", "length"):
        return Generated(ask.key, error=f"ended with {finish!r}")
    if finish == "length" and 0 < tokens < ask.sampling.max_tokens:
        room = f"{prompt_tokens} tokens of picture and prompt and {tokens} of caption"
        error = f"refused: the server has room for {room}, not for {ask.sampling.max_tokens}"
        return Generated(ask.key, error=error, reason="too_long")
    thought = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
    text = answers.text(content or "", opened=opened and not thought)
    return Generated(ask.key, text, finish, tokens, prompt_tokens, _at_stop(ask, choices[0]))


def _at_stop(ask: Ask, choice: Any) -> bool:
    """Returns whether a stop text ended an answer, or may have; only vLLM reports it."""
    extra = getattr(choice, "model_extra", None) or {}
    if "stop_reason" in extra:
        return isinstance(extra["stop_reason"], str)
    return bool(ask.sampling.stop) and choice.finish_reason == "stop"


def usage(answer: Any) -> tuple[int, int, int]:
    """Returns the numbers of tokens of an answer, of its prompt, and of its cached prompt tokens.

    Numbers that the server does not report are 0.
    """
    reported = getattr(answer, "usage", None)
    details = getattr(reported, "prompt_tokens_details", None)
    numbers = (
        getattr(reported, "completion_tokens", None),
        getattr(reported, "prompt_tokens", None),
        getattr(details, "cached_tokens", None),
    )
    tokens, prompt, cached = (n if isinstance(n, int) and n > 0 else 0 for n in numbers)
    return tokens, prompt, cached


def judged(error: Exception) -> Verdict:
    """Interprets an error of the package openai, or any other error of a request."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return _judged_status(error)
    cause = type(error.__cause__).__name__ if error.__cause__ else ""
    if cause != "ConnectTimeout" and isinstance(error, TimeoutError | openai.APITimeoutError):
        return Verdict("lost", "no answer within caption.servers.timeout_s", "engine_lost")
    if isinstance(error, openai.APIConnectionError):
        detail = f"{cause or type(error).__name__}: {error.__cause__ or error}"[:LONGEST_DETAIL]
        # A request that never reached the server can't be the reason for the server's failure.
        reached = cause not in ("ConnectError", "ConnectTimeout")
        return Verdict("lost" if reached else "unreached", detail, "engine_lost")
    return Verdict("lost", f"{type(error).__name__}: {error}"[:LONGEST_DETAIL])


def _judged_status(error: Any) -> Verdict:
    status, message = error.status_code, _message(error)
    detail = f"HTTP {status}: {message}"
    wait = _retry_after(error.response.headers)
    if 300 <= status < 400:
        to = str(error.response.headers.get("location", ""))[:200]
        return Verdict(
            "server", f"HTTP {status}: redirects to {to!r}; use that URL if it is correct"
        )
    if status in NOT_ONE_REQUEST:
        return Verdict("server", detail)
    if status == 429 or (status == 503 and wait is not None):
        return Verdict("busy", detail, wait_s=wait)
    if status in (408, 409, 425) or status >= 500:
        return Verdict("lost", detail, wait_s=wait)
    reason = "too_long" if TOO_LONG.search(f"{error.code} {message}") else "caption_refused"
    return Verdict("own", f"refused: {message}", reason)


def _message(error: Any) -> str:
    """Returns the server's message in an error, at most `LONGEST_DETAIL` characters."""
    body = error.body
    if isinstance(body, Mapping):
        body = body.get("message") or body.get("detail") or body
    return str(body or error.message)[:LONGEST_DETAIL]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds of a Retry-After header; None without one, or if it is a date (rare)."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
