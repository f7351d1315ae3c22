"""What is sent to a server, and what its answers and errors mean. Pure functions."""

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
from nucleus_data.engines.thinking import without_thinking

# vLLM's first version that takes a grammar in `structured_outputs`.
GRAMMARS_SINCE = (0, 12)
LONGEST_DETAIL = 500
TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|maximum model length"
    r"|context (?:length|window|size)|max_model_len|longer than the maximum|too many tokens"
    # Of what room vLLM has left of our max_tokens.
    r"|min_tokens must be less",
    re.IGNORECASE,
)
# The server, its address or the key is wrong: no request would do better there.
NOT_ONE_REQUEST = (401, 402, 403, 404, 405, 407, 421)


class MalformedError(ValueError):
    """An answer that is none in OpenAI's protocol."""


@dataclass(frozen=True)
class Verdict:
    """What an error says.

    Attributes:
        kind: `own` (this request is refused, whoever asks), `lost` (it may do better when asked
            again), `busy` (the server asks to be left alone), `server` (no request does better
            there), `unreached` (the server never had it).
        detail: For people.
        reason: Of the request, if it ends with this.
        wait_s: What the server asked to wait.
    """

    kind: Literal["own", "lost", "busy", "server", "unreached"]
    detail: str
    reason: str = "engine_raised"
    wait_s: float | None = None


def data_url(picture: Pixels, jpeg_quality: int | None) -> str:
    """A picture as a data: URL: PNG, without loss, or JPEG with every pixel's own colour."""
    if jpeg_quality is None:
        file = io.BytesIO()
        # The fastest level: a second of compressing would cost more than the bytes that it saves.
        Image.fromarray(picture).save(file, "PNG", compress_level=1)
        kind, data = "png", file.getvalue()
    else:
        kind, data = "jpeg", simplejpeg.encode_jpeg(picture, jpeg_quality, colorsubsampling="444")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def request(
    ask: Ask, question: str, picture: str | None, template_args: Mapping[str, Any], vllm: str
) -> dict[str, Any]:
    """Arguments of the package openai's `chat.completions.create`, but for the model's name.

    Args:
        ask: What is asked.
        question: Its text, in which no special token is.
        picture: As a data: URL, if the ask sees it.
        template_args: For the chat template.
        vllm: The server's version, if it is vLLM's.
    """
    content: Any = question
    if picture is not None:
        shown: dict[str, Any] = {"type": "image_url", "image_url": {"url": picture}}
        if ask.fresh and vllm:  # another name than that which its cache knows the picture by
            shown["uuid"] = _salt(ask.key)
        # The picture first: what is in front of the question is then the same for all asks.
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
        # Left out, they would be those of the model's generation_config.json.
        extra |= {"top_k": -1, "min_p": 0.0}
        if ask.fresh:
            extra["cache_salt"] = _salt(ask.key)
    if ask.schema is not None:
        asked |= _structure(ask.schema, vllm, extra)
    return asked | ({"extra_body": extra} if extra else {})


def template_arguments(given: Mapping[str, Any], vllm: str) -> Mapping[str, Any]:
    """Arguments of the chat template; with the engines' own for vLLM, as others may refuse any."""
    return {**TEMPLATE_ARGS, **given} if vllm else given


def _salt(key: str) -> str:
    """A key as vLLM takes it for a name in its caches: up to 128 letters, no slash."""
    return key.replace("/", ":")[-128:]


def _structure(schema: str, vllm: str, extra: dict[str, Any]) -> dict[str, Any]:
    """Asks for an answer that follows a schema; by a grammar where the server takes one."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", vllm)[:2])
    if numbers >= GRAMMARS_SINCE:
        try:
            extra["structured_outputs"] = {"grammar": bounded_grammar(schema)}
        except ImportError:  # xgrammar comes with vLLM, which may be on the server alone
            pass
        else:
            return {}
    named = {"name": "answer", "schema": json.loads(schema), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def answered(ask: Ask, answer: Any, *, opened: bool = False) -> Generated:
    """The caption in a server's answer.

    Args:
        ask: What was asked.
        answer: A chat completion, as the package openai gives it.
        opened: Whether the chat template leaves a block of thinking open.

    Raises:
        MalformedError: It is no chat completion.
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
    text = without_thinking(content or "", opened=opened and not thought)
    return Generated(ask.key, text, finish, tokens, prompt_tokens, _at_stop(ask, choices[0]))


def _at_stop(ask: Ask, choice: Any) -> bool:
    """Whether a stop text ended an answer; vLLM tells, of others it may have."""
    told = getattr(choice, "model_extra", None) or {}
    if "stop_reason" in told:
        return isinstance(told["stop_reason"], str)
    return bool(ask.sampling.stop) and choice.finish_reason == "stop"


def usage(answer: Any) -> tuple[int, int, int]:
    """Tokens of an answer, of its prompt, and those of the prompt that a cache had."""
    found = getattr(answer, "usage", None)
    details = getattr(found, "prompt_tokens_details", None)
    numbers = (
        getattr(found, "completion_tokens", None),
        getattr(found, "prompt_tokens", None),
        getattr(details, "cached_tokens", None),
    )
    tokens, prompt, cached = (one if isinstance(one, int) and one > 0 else 0 for one in numbers)
    return tokens, prompt, cached


def judged(error: Exception) -> Verdict:
    """What an error of the package openai says of the request, and of the server."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return _judged_status(error)
    cause = type(error.__cause__).__name__ if error.__cause__ else ""
    if cause != "ConnectTimeout" and isinstance(error, TimeoutError | openai.APITimeoutError):
        return Verdict("lost", "no answer within caption.servers.timeout_s", "engine_lost")
    if isinstance(error, openai.APIConnectionError):
        detail = f"{cause or type(error).__name__}: {error.__cause__ or error}"[:LONGEST_DETAIL]
        # Never there, so it can't be what the server failed on.
        reached = cause not in ("ConnectError", "ConnectTimeout")
        return Verdict("lost" if reached else "unreached", detail, "engine_lost")
    return Verdict("lost", f"{type(error).__name__}: {error}"[:LONGEST_DETAIL])


def _judged_status(error: Any) -> Verdict:
    status, said = error.status_code, _message(error)
    detail = f"HTTP {status}: {said}"
    wait = _retry_after(error.response.headers)
    if 300 <= status < 400:
        to = str(error.response.headers.get("location", ""))[:200]
        return Verdict(
            "server", f"HTTP {status}: it sends to {to!r}; give that URL, if it is right"
        )
    if status in NOT_ONE_REQUEST:
        return Verdict("server", detail)
    if status == 429 or (status == 503 and wait is not None):
        return Verdict("busy", detail, wait_s=wait)
    if status in (408, 409, 425) or status >= 500:
        return Verdict("lost", detail, wait_s=wait)
    reason = "too_long" if TOO_LONG.search(f"{error.code} {said}") else "caption_refused"
    return Verdict("own", f"refused: {said}", reason)


def _message(error: Any) -> str:
    """The server's own words in an error."""
    body = error.body
    if isinstance(body, Mapping):
        body = body.get("message") or body.get("detail") or body
    return str(body or error.message)[:LONGEST_DETAIL]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait; a date, which few send, is not read."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
