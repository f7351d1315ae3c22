"""The check `leak`: the answer repeats the prompt, or parts of the chat template.

A special token or a role name is always a leak. Words of the question or the system prompt are one
if `words` of them occur in a row. Values substituted for placeholders (an upstream caption, a
title) do not count as words of the question, as a refined caption may well keep them.
"""

import re
from functools import lru_cache
from typing import ClassVar

from pydantic import Field

from nucleus_data.stages.caption.checks.check import Check, Said
from nucleus_data.stages.caption.checks.text import ngrams, shortened, words_of
from nucleus_data.stages.caption.places import between, places

_SPECIAL = re.compile(
    # Every alternative begins with "<" or "[", which `find` looks for first.
    r"<\|[^|<>\s]{1,40}\|>|</?(?:s|bos|eos|pad|unk|image|img|video|think|start_of_turn|end_of_turn|box|ref|quad"
    r"|answer|tool_call|assistant|user|system)>|\[/?INST\]|<</?SYS>>|\[(?:CLS|SEP|PAD|IMG|EOS|BOS)\]|<\uff5c[^<>]{1,40}\uff5c>"
    r"|</?[A-Z]{2,12}_[A-Z_]{2,20}>|\[[A-Z]{2,12}_[A-Z_]{2,20}\]|</?[a-z]{2,16}(?:_[a-z]{2,16})+>"
    r"|<0x[0-9A-F]{2}>|<image_\w{1,20}>|<unused\d+>",
    re.ASCII,
)
_ROLE = re.compile(r"^\W*(?:user|assistant|system|human|model)\s*(?::|\n)", re.IGNORECASE)
OPENING = 5  # number of equal first words of answer and prompt that count as a leak
FEWEST_WORDS = 4  # minimum length of a complete sentence of the question that counts as a leak


class Leak(Check):
    """Words of the question or the system prompt, or special tokens."""

    name: ClassVar[str] = "leak"
    rank: ClassVar[int] = 40

    words: int = Field(
        default=7,
        ge=3,
        description="A text fails if it shares a run of at least this many words with the question"
        " or the system prompt; a complete sentence of the question counts from four words on.",
    )

    def find(self, said: Said) -> str | None:
        """Looks for special tokens, role names, placeholders, and words of the prompts."""
        text = said.text
        special = _SPECIAL.search(text) if "<" in text or "[" in text else None
        if match := special or _ROLE.match(text):
            return f"it has {match[0].strip()!r} in it"
        for prompt in (said.template, said.system):
            if not prompt:
                continue
            runs, sentences, placeholders = _parts(prompt, self.words)
            if placeholder := next((p for p in placeholders if p in text), None):
                return f"it has the placeholder {placeholder} of the question in it"
            words = words_of(text)
            if run := next((run for run in ngrams(words, self.words) if run in runs), None):
                return f"it repeats the question: {shortened(' '.join(run))!r}"
            if len(words) >= OPENING and words[:OPENING] == words_of(prompt)[:OPENING]:
                return f"it begins as the question: {shortened(' '.join(words[:OPENING]))!r}"
            if sentences:
                line = f" {' '.join(words)} "
                if repeated := next((s for s in sentences if s in line), None):
                    return f"it repeats the question: {shortened(repeated.strip())!r}"
        return None


@lru_cache(maxsize=64)
def _parts(
    text: str, length: int
) -> tuple[frozenset[tuple[str, ...]], tuple[str, ...], tuple[str, ...]]:
    """Returns a prompt's n-grams of `length` words, its shorter sentences, and its placeholders."""
    runs, sentences = set(), []
    for part in between(text):
        words = words_of(part)
        runs.update(ngrams(words, length))
        for sentence in re.split(r"[.!?\n\u3002]", part):
            words = words_of(sentence)
            if FEWEST_WORDS <= len(words) < length:
                sentences.append(f" {' '.join(words)} ")
    return frozenset(runs), tuple(sentences), tuple(f"{{{name}}}" for name in places(text))
