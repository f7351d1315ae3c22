"""Neutralises special tokens in texts for a server, which would interpret them in any text.

The server renders and tokenises a chat, so a user's text can't be inserted as tokens, as in `chat`.
Instead, each special token in it is broken up by a zero-width joiner behind its first letter. With
the model's tokenizer on this machine, the result is verified; without it, everything that looks
like a special token is broken up.
"""

import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nucleus_data.engines.find import ModelReference
from nucleus_data.engines.thinking import Answers, opens_thinking

JOINER = "\u200d"
# Special tokens of current models: <|im_end|>, </s>, <start_of_turn>, [INST], <<SYS>>.
LOOKS_SPECIAL = re.compile(rf"<(?!{JOINER})[^<>\s]{{1,100}}>|\[/?[A-Z_]{{2,30}}\]")
PASSES = 8


class ServerText:
    """Neutralises special tokens in a user's text, and tokenises texts.

    Args:
        tokenizer: The model's tokenizer, of the package tokenizers; None if it is not on this
            machine.

    Attributes:
        sample: A text with every special token, for the comparison of two tokenizers.
        answers: Finds the answers in outputs.
    """

    def __init__(self, tokenizer: Any | None) -> None:
        self._tokenizer = tokenizer
        added = {} if tokenizer is None else tokenizer.get_added_tokens_decoder()
        # An added token of a single letter can't be broken up, and means no more than that letter.
        self._special = {one.content: i for i, one in added.items() if len(one.content) > 1}
        self.answers = Answers(one.content for one in added.values() if one.special)
        self.sample = "A red ring, é 日 1234. " + " ".join(sorted(self._special))
        self._pattern = LOOKS_SPECIAL
        if self._special:
            longest_first = sorted(self._special, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    @property
    def exact(self) -> bool:
        """Whether the model's tokenizer is on this machine."""
        return self._tokenizer is not None

    def tokens(self, text: str) -> list[int]:
        """Returns the token ids of a text, by the model's tokenizer."""
        assert self._tokenizer is not None
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def harmless(self, text: str) -> str:
        """Returns a text with its special tokens broken up.

        Raises:
            ValueError: The text is not valid Unicode, or the tokenizer's normalisation still yields
                a special token.
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
    """Returns an upper bound of a text's tokens in any tokenizer: one per byte, plus one."""
    return len(text.encode()) + 1


def local_tokenizer(model: ModelReference) -> Any | None:
    """Loads a model's tokenizer from its folder or the hub's cache, without requests.

    Returns:
        None if the tokenizer is not on this machine or can't be loaded.
    """
    file = _local_file(model, "tokenizer.json")
    if file is None or importlib.util.find_spec("tokenizers") is None:
        return None
    import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(file))
    except Exception:  # raised by the package as such, for example for a file of a newer version
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def template_opens_thinking(model: ModelReference, template_args: Mapping[str, Any]) -> bool:
    """Returns whether a model's chat template ends inside a block of thinking.

    Returns:
        False if the template is not on this machine or can't be rendered.
    """
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
    except Exception:  # a template may use functions that only certain libraries provide
        return False
    return opens_thinking(prompt)


def _local_file(model: ModelReference, name: str) -> Path | None:
    """Returns the path of a model's file on this machine; None if it does not exist."""
    if model.local:
        file = Path(model.location) / name
        return file if file.is_file() else None
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    import huggingface_hub as hub

    found = hub.try_to_load_from_cache(model.location, name, revision=model.revision)
    return Path(found) if isinstance(found, str) else None
