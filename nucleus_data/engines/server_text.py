"""Texts for a server, which reads special tokens in whatever it is given.

A chat is rendered and tokenised over there, so a user's text can't be kept apart as tokens
(`chat`). Every special token in it is broken instead: a zero-width joiner follows its first letter.
With the model's tokenizer at hand that is checked; without, all that looks like such a token is
broken.
"""

import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nucleus_data.engines.find import ModelReference
from nucleus_data.engines.thinking import opens_thinking

JOINER = "\u200d"
# What the tokens of today's models look like: <|im_end|>, </s>, <start_of_turn>, [INST], <<SYS>>.
LOOKS_SPECIAL = re.compile(rf"<(?!{JOINER})[^<>\s]{{1,100}}>|\[/?[A-Z_]{{2,30}}\]")
PASSES = 8


class ServerText:
    """What is done with a user's text.

    Args:
        tokenizer: The model's, of the package tokenizers; None if it is not on this machine.

    Attributes:
        sample: A text with every special token, by which two tokenizers are compared.
    """

    def __init__(self, tokenizer: Any | None) -> None:
        self._tokenizer = tokenizer
        added = {} if tokenizer is None else tokenizer.get_added_tokens_decoder()
        # An added token of one letter can't be broken, and is no more than that letter.
        self._special = {one.content: i for i, one in added.items() if len(one.content) > 1}
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
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

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


def most_tokens(text: str) -> int:
    """Tokens that a text has at most, in any tokenizer: one a byte, and one before it."""
    return len(text.encode()) + 1


def local_tokenizer(model: ModelReference) -> Any | None:
    """A model's tokenizer, if it is a folder or in the hub's cache; asks no hub."""
    file = _local_file(model, "tokenizer.json")
    if file is None or importlib.util.find_spec("tokenizers") is None:
        return None
    import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(file))
    except Exception:  # it raises Exception itself, for a file of a newer version for example
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def template_opens_thinking(model: ModelReference, template_args: Mapping[str, Any]) -> bool:
    """Whether a model's chat template leaves a block of thinking open; False if none is at hand."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    try:
        if file := _local_file(model, "chat_template.jinja"):
            template = file.read_text(encoding="utf-8")
        else:
            file = _local_file(model, "tokenizer_config.json")
            template = json.loads(file.read_bytes())["chat_template"] if file else ""
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        chat = [{"role": "user", "content": "a"}]
        prompt = environment.from_string(template).render(
            messages=chat, add_generation_prompt=True, **template_args
        )
    except Exception:  # a template may ask for whatever a library gives it
        return False
    return opens_thinking(prompt)


def _local_file(model: ModelReference, name: str) -> Path | None:
    """A model's file on this machine; None if it is not there."""
    if model.local:
        file = Path(model.location) / name
        return file if file.is_file() else None
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    import huggingface_hub as hub

    found = hub.try_to_load_from_cache(model.location, name, revision=model.revision)
    return Path(found) if isinstance(found, str) else None
