"""Tokenizes chats such that special tokens in a user's text are plain text.

A caption from the web may contain `<|image_pad|>` or `<|im_end|>`. In the chat template, these are
special tokens; in a user's text, they must be encoded as ordinary letters. So the template is
rendered once with a placeholder, whose position then takes the tokens of the user's text.
"""

import functools
import re
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

from nucleus_data.engines.thinking import opens_thinking
from nucleus_data.errors import RequestError

STAND_IN = "the user's text"
REMEMBERED = 64
# Default arguments for chat templates; those that don't know an argument ignore it. Thinking is
# disabled since a model's reasoning is not part of a caption.
TEMPLATE_ARGS: Mapping[str, Any] = {"enable_thinking": False}

Encode = Callable[[str], list[int]]
# Renders the chat template, up to the beginning of the answer, from the system prompt (or None),
# the user's text, and whether a picture precedes it.
Render = Callable[[str | None, str, bool], str]


class Chat:
    """A model's chat template, with one system prompt, and with or without a picture.

    Args:
        tokenizer: A tokenizer of the package transformers.
        rendered: The rendered chat template, with `STAND_IN` as the user's text.

    Attributes:
        before: Tokens before the user's text, including the picture's placeholder.
        after: Tokens behind the user's text, up to the beginning of the answer.
        frame: The rendered template without the user's text.
        divides: Whether the tokens of `frame` are `before` followed by `after`.
        thinks: Whether the answer begins inside a block of thinking.
        apart: Whether the user's text is between special tokens, so that none of its letters can
            merge into a token with the template's text.

    Raises:
        RequestError: The template does not contain the user's text exactly once.
    """

    def __init__(self, tokenizer: Any, rendered: str) -> None:
        def encode(text: str) -> list[int]:
            # Not verbose, since it would warn about long texts, which are rejected later anyway.
            return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

        self._parts = rendered.split(STAND_IN)
        if len(self._parts) != 2:
            raise RequestError(
                "caption.model: its chat template must contain the user's text exactly once, but it"
                f" gives {rendered!r}"
            )
        self.frame = "".join(self._parts)
        # Not what precedes the text: a system prompt may mention a mark.
        self.thinks = opens_thinking(self._parts[1])
        self.before, self.after = encode(self._parts[0]), encode(self._parts[1])
        self.divides = bool(self.after) and encode(self.frame) == self.before + self.after
        self._encode = encode
        self._added = tokenizer.get_added_vocab()
        seams = {*self.before[-1:], *self.after[:1]}
        self.apart = self.divides and seams <= {*self._added.values()}
        # Cached, since most prompts are the same for every picture.
        self._tokens = functools.lru_cache(maxsize=REMEMBERED)(self._encoded)

    def plain(self, text: str) -> list[int]:
        """Returns the tokens of a user's text, none of them special; see `plain_tokens`."""
        return plain_tokens(text, self._encode, self._added)

    def tokens(self, text: str) -> list[int]:
        """Returns the tokens of the whole chat with a user's text.

        Raises:
            ValueError: The text can't be encoded without special tokens.
        """
        return list(self._tokens(text))

    def _encoded(self, text: str) -> tuple[int, ...]:
        plain = self.plain(text)
        if not self.apart and not any(len(t) > 1 and t in text for t in self._added):
            return tuple(self._encode(self._parts[0] + text + self._parts[1]))
        return (*self.before, *plain, *self.after)


class Chats:
    """A model's chats, each rendered once. Thread-safe.

    Args:
        tokenizer: A tokenizer of the package transformers.
        render: Applies the model's chat template.
        pictures: Whether the usual chat contains a picture.

    Attributes:
        usual: The chat without a system prompt.

    Raises:
        RequestError: The template does not contain the user's text exactly once.
    """

    def __init__(self, tokenizer: Any, render: Render, *, pictures: bool = True) -> None:
        self._tokenizer = tokenizer
        self._render = render
        self._lock = threading.Lock()
        self._made: dict[tuple[str | None, bool], Chat] = {}
        self.usual = self.of(None, sees_picture=pictures)

    def of(self, system: str | None, *, sees_picture: bool) -> Chat:
        """Returns the chat with a system prompt (None for the template's own).

        Raises:
            RequestError: The template does not support the system prompt, or can't be applied.
        """
        with self._lock:
            made = self._made.get((system, sees_picture))
            if made is None:
                made = Chat(self._tokenizer, self._rendered(system, sees_picture))
                self._made[system, sees_picture] = made
            return made

    def _rendered(self, system: str | None, sees_picture: bool) -> str:
        try:
            return self._render(system, STAND_IN, sees_picture)
        except Exception as error:  # templates may raise any exception
            raise RequestError(
                "caption.model: its chat template"
                + (" does not accept a system prompt" if system else " can't be applied")
                + f" ({type(error).__name__}: {error})"
            ) from None


def plain_tokens(text: str, encode: Encode, added: Mapping[str, int]) -> list[int]:
    """Tokenizes a text such that a tokenizer's added tokens in it are encoded as plain letters.

    Args:
        text: The text.
        encode: Tokenizes a text, recognising added tokens.
        added: The tokenizer's added tokens, special or not: text -> number.

    Raises:
        ValueError: The text is not valid Unicode, or the tokenizer still makes an added token of
            it, because it normalises letters.
    """
    # An added token of a single letter can't be cut, and has no meaning beyond that letter.
    known = {token: number for token, number in added.items() if len(token) > 1}
    pieces = _cut(text, known)
    tokens = [token for piece in pieces for token in encode(piece)]
    if special := set(known.values()).intersection(tokens):
        names = sorted(token for token, number in known.items() if number in special)
        raise ValueError(f"the text reads as {', '.join(names)} once it is normalised")
    return tokens


def _cut(text: str, tokens: Collection[str]) -> list[str]:
    """Splits a text behind the first letter of each added token, so that no piece contains one."""
    if not tokens:
        return [text]
    pattern = re.compile("|".join(re.escape(t) for t in sorted(tokens, key=len, reverse=True)))
    pieces, start = [], 0
    while (match := pattern.search(text, start)) is not None:
        pieces.append(text[start : match.start() + 1])
        start = match.start() + 1
    return [*pieces, text[start:]]
