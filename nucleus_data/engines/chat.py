"""The tokens of a chat with one picture and a user's text, in which no special token is obeyed.

A caption from the web may hold `<|image_pad|>` or `<|im_end|>`. In the chat template's own text
these are tokens with a meaning; in a user's text they are letters, and are encoded as such. So the
template is rendered once, around a stand-in, and the text is encoded apart from it.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from nucleus_data.errors import RequestError

STAND_IN = "the user's text"

Encode = Callable[[str], list[int]]


class Chat:
    """How a model is asked about a picture.

    Args:
        tokenizer: A tokenizer of the package transformers.
        rendering: What has the chat template: the tokenizer, or the processor it is part of.

    Attributes:
        before: Tokens before the user's text, a place for the picture among them.
        after: Tokens behind it, up to where the answer begins.
        frame: The template's text without the user's.

    Raises:
        RequestError: The template puts the text in more than one place, or glues it to its own.
    """

    def __init__(self, tokenizer: Any, rendering: Any) -> None:
        def encode(text: str) -> list[int]:
            # Not verbose: it would warn of long texts, which are refused by their length later.
            return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

        content = [{"type": "image"}, {"type": "text", "text": STAND_IN}]
        rendered = rendering.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        parts = rendered.split(STAND_IN)
        self.frame = "".join(parts)
        self.before, self.after = encode(parts[0]), encode(parts[-1])
        apart = encode(self.frame) == self.before + self.after
        if len(parts) != 2 or not self.after or not apart:
            raise RequestError(
                "caption.model: its chat template must have one place for the user's text, with a"
                f" special token on either side; it gives {rendered!r}"
            )
        self._encode = encode
        self._added = tokenizer.get_added_vocab()

    def plain(self, text: str) -> list[int]:
        """Tokens of a user's text, none of them special. Raises ValueError if that can't be."""
        return plain_tokens(text, self._encode, self._added)

    def tokens(self, text: str) -> list[int]:
        """Tokens of the whole chat. Raises ValueError if the text can't be encoded as letters."""
        return [*self.before, *self.plain(text), *self.after]


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
