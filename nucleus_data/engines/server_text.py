"""Texts for a server, which reads special tokens in whatever it is given.

A chat is rendered and tokenised over there, so a user's text can't be kept apart as tokens
(`chat`). Every special token in it is broken instead: a zero-width joiner follows its first letter.
With the model's tokenizer at hand that is checked; without, all that looks like such a token is
broken.
"""

import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from nucleus_data.engines.find import ModelReference
from nucleus_data.engines.thinking import opens_thinking

JOINER = "\u200d"
# What the tokens of today's models look like: <|im_end|>, </s>, <start_of_turn>, [INST], <<SYS>>.
LOOKS_SPECIAL = re.compile(r"<[^<>\s]{1,100}>|\[/?[A-Z_]{2,30}\]")
PASSES = 8


class ServerText:
    """What is done with a user's text.

    Args:
        tokenizer: The model's, of the package transformers; None if it is not on this machine.

    Attributes:
        sample: A text with every special token, by which two tokenizers are compared.
    """

    def __init__(self, tokenizer: Any | None) -> None:
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        added: Mapping[str, int] = {} if tokenizer is None else tokenizer.get_added_vocab()
        # An added token of one letter can't be broken, and is no more than that letter.
        self._special = {token: number for token, number in added.items() if len(token) > 1}
        self.sample = "A red ring, é 日 1234. " + " ".join(sorted(self._special))
        self._pattern = LOOKS_SPECIAL
        if self._special:
            longest_first = sorted(self._special, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    @property
    def exact(self) -> bool:
        """Whether the model's tokenizer is at hand."""
        return self._tokenizer is not None

    def tokens(self, text: str) -> list[int]:
        """Numbers of a text's tokens, by the model's tokenizer."""
        assert self._tokenizer is not None
        with self._lock:
            found = self._tokenizer(text, add_special_tokens=False, verbose=False)
        return list(found["input_ids"])

    def harmless(self, text: str) -> str:
        """A text in which no special token is.

        Raises:
            ValueError: It is no valid Unicode, or reads as a special token once it is normalised.
        """
        text.encode()
        for _ in range(PASSES):
            broken = self._pattern.sub(lambda found: f"{found[0][0]}{JOINER}{found[0][1:]}", text)
            if broken == text:
                break
            text = broken
        if self._special and (read := set(self._special.values()).intersection(self.tokens(text))):
            names = sorted(token for token, number in self._special.items() if number in read)
            raise ValueError(f"the text reads as {', '.join(names)} once it is normalised")
        return text

    def opens_thinking(self, template_args: Mapping[str, Any]) -> bool:
        """Whether the model's chat template leaves a block of thinking open."""
        if self._tokenizer is None or not getattr(self._tokenizer, "chat_template", None):
            return False
        chat: Sequence[Mapping[str, Any]] = [{"role": "user", "content": "a"}]
        rendered = self._tokenizer.apply_chat_template(
            chat, tokenize=False, add_generation_prompt=True, **template_args
        )
        return opens_thinking(rendered)


def most_tokens(text: str) -> int:
    """Tokens that a text has at most, in any tokenizer: one a byte, and one before it."""
    return len(text.encode()) + 1


def local_tokenizer(model: ModelReference) -> Any | None:
    """A model's tokenizer, if it is a folder or in the hub's cache; asks no hub."""
    try:
        import transformers

        transformers.logging.set_verbosity_error()
        options = {} if model.local else {"revision": model.revision}
        return transformers.AutoTokenizer.from_pretrained(
            model.location, local_files_only=True, **options
        )
    except (ImportError, OSError, ValueError, KeyError):
        return None
