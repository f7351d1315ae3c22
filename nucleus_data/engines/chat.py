"""The tokens of a chat with a user's text, in which no special token is obeyed.

A caption from the web may hold `<|image_pad|>` or `<|im_end|>`. In the chat template's own text
these are tokens with a meaning; in a user's text they are letters, and are encoded as such. So the
template is rendered once, around a stand-in, and the text is put in its place.
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
# Arguments of every chat template that knows them; what a model thinks is no caption.
TEMPLATE_ARGS: Mapping[str, Any] = {"enable_thinking": False}

Encode = Callable[[str], list[int]]
# The chat template's text of a system prompt (or None), a user's text, and whether a picture
# stands before it; up to where the answer begins.
Render = Callable[[str | None, str, bool], str]


class Chat:
    """How a model is asked, with one system prompt, about a picture or without one.

    Args:
        tokenizer: A tokenizer of the package transformers.
        rendered: The chat template's text with `STAND_IN` as the user's.

    Attributes:
        before: Tokens before the user's text, a place for the picture among them.
        after: Tokens behind it, up to where the answer begins.
        frame: The template's text without the user's.
        divides: Whether the frame's tokens are those before and those after.
        thinks: Whether the answer begins inside a block of thinking.
        apart: Whether special tokens stand on either side of the user's text, so that no letter of
            it can be one token with the template's.

    Raises:
        RequestError: The template does not put the text in one place.
    """

    def __init__(self, tokenizer: Any, rendered: str) -> None:
        def encode(text: str) -> list[int]:
            # Not verbose: it would warn of long texts, which are refused by their length later.
            return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

        self._parts = rendered.split(STAND_IN)
        if len(self._parts) != 2:
            raise RequestError(
                "caption.model: its chat template must have one place for the user's text; it gives"
                f" {rendered!r}"
            )
        self.frame = "".join(self._parts)
        self.thinks = opens_thinking(self.frame)
        self.before, self.after = encode(self._parts[0]), encode(self._parts[1])
        self.divides = bool(self.after) and encode(self.frame) == self.before + self.after
        self._encode = encode
        self._added = tokenizer.get_added_vocab()
        seams = {*self.before[-1:], *self.after[:1]}
        self.apart = self.divides and seams <= {*self._added.values()}
        # Most prompts are the same for every picture.
        self._tokens = functools.lru_cache(maxsize=REMEMBERED)(self._encoded)

    def plain(self, text: str) -> list[int]:
        """Tokens of a user's text, none of them special. Raises ValueError if that can't be."""
        return plain_tokens(text, self._encode, self._added)

    def tokens(self, text: str) -> list[int]:
        """Tokens of the whole chat. Raises ValueError if the text can't be encoded as letters."""
        return list(self._tokens(text))

    def _encoded(self, text: str) -> tuple[int, ...]:
        plain = self.plain(text)
        if not self.apart and not any(len(t) > 1 and t in text for t in self._added):
            return tuple(self._encode(self._parts[0] + text + self._parts[1]))
        return (*self.before, *plain, *self.after)


class Chats:
    """The chats of a model, each rendered once; in any thread.

    Args:
        tokenizer: A tokenizer of the package transformers.
        render: Applies the model's chat template.
        pictures: Whether the template has a place for a picture.

    Raises:
        RequestError: The template does not put the text in one place.
    """

    def __init__(self, tokenizer: Any, render: Render, *, pictures: bool = True) -> None:
        self._tokenizer = tokenizer
        self._render = render
        self._lock = threading.Lock()
        self._made: dict[tuple[str | None, bool], Chat] = {}
        self.usual = self.of(None, sees_picture=pictures)

    def of(self, system: str | None, *, sees_picture: bool) -> Chat:
        """The chat with a system prompt. Raises RequestError if the template takes none."""
        with self._lock:
            made = self._made.get((system, sees_picture))
            if made is None:
                made = Chat(self._tokenizer, self._rendered(system, sees_picture))
                self._made[system, sees_picture] = made
            return made

    def _rendered(self, system: str | None, sees_picture: bool) -> str:
        try:
            return self._render(system, STAND_IN, sees_picture)
        except Exception as error:  # templates raise what they like
            raise RequestError(
                "caption.model: its chat template"
                + (" takes no system prompt" if system else " can't be applied")
                + f" ({type(error).__name__}: {error})"
            ) from None


def plain_tokens(text: str, encode: Encode, added: Mapping[str, int]) -> list[int]:
    """Tokens of a text in which a tokenizer's added tokens are letters like others.

    Args:
        text: Any text.
        encode: The tokenizer; it recognises the added tokens.
        added: The added tokens, special or not: text to number.

    Raises:
        ValueError: The tokenizer makes an added token of what is none (it normalises letters), or
            the text is not valid Unicode.
    """
    # An added token of one letter can't be cut, and is no more than that letter.
    known = {token: number for token, number in added.items() if len(token) > 1}
    pieces = _cut(text, known)
    tokens = [token for piece in pieces for token in encode(piece)]
    if special := set(known.values()).intersection(tokens):
        names = sorted(token for token, number in known.items() if number in special)
        raise ValueError(f"the text reads as {', '.join(names)} once it is normalised")
    return tokens


def _cut(text: str, tokens: Collection[str]) -> list[str]:
    """The text in pieces that no added token is in: each is cut behind its first letter."""
    if not tokens:
        return [text]
    pattern = re.compile("|".join(re.escape(t) for t in sorted(tokens, key=len, reverse=True)))
    pieces, start = [], 0
    while (found := pattern.search(text, start)) is not None:
        pieces.append(text[start : found.start() + 1])
        start = found.start() + 1
    return [*pieces, text[start:]]
