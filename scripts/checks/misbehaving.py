"""The packaged captioner, made to misbehave by a logits processor, in ways that are known.

Each row of a batch has a script: a function of the tokens said so far and of the next token's
scores. What a script leaves alone is the model's own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image

from nucleus_data.engines.chat import plain_tokens
from nucleus_data.engines.find import resolve_model

Script = Callable[[list[int], torch.Tensor], torch.Tensor]
BATCH = 64
SPECIAL = 8  # the first tokens of the nano vocabulary; the next one is "!"


@dataclass(frozen=True)
class Spoken:
    """One answer.

    Attributes:
        text: Without special tokens.
        ids: Its tokens, the end left out.
        finish_reason: `stop` or `length`.
    """

    text: str
    ids: list[int]
    finish_reason: str

    @property
    def tokens(self) -> int:
        """Tokens, the end included."""
        return len(self.ids) + (self.finish_reason == "stop")


class Captioner:
    """The packaged captioner by transformers, greedy."""

    def __init__(self) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        torch.set_num_threads(1)  # the steps are small
        where = resolve_model("nano", None).location
        self.processor = AutoProcessor.from_pretrained(where, local_files_only=True)
        self.tokenizer = self.processor.tokenizer
        self.model = AutoModelForImageTextToText.from_pretrained(
            where, dtype=torch.float32, local_files_only=True
        ).eval()
        self.end = self.tokenizer.convert_tokens_to_ids("<|im_end|>")

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, special tokens as letters."""
        added = self.tokenizer.get_added_vocab()
        return plain_tokens(text, self._encode, added)

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def say(
        self,
        pictures: Sequence[Image.Image],
        question: str,
        scripts: Sequence[Script | None],
        max_tokens: int = 160,
    ) -> list[Spoken]:
        """Answers to one question, a picture and a script each."""
        said = []
        for at in range(0, len(pictures), BATCH):
            part = slice(at, at + BATCH)
            said += self._batch(pictures[part], question, scripts[part], max_tokens)
        return said

    def shortened(self, spoken: Spoken, tokens: int) -> Spoken:
        """What the same answer is with fewer tokens allowed."""
        ids = spoken.ids[:tokens]
        return replace(spoken, text=self.read(ids), ids=ids, finish_reason="length")

    def whole(self, text: str) -> Spoken:
        """What it says if all tokens of a text are forced, and the end: no model is asked."""
        ids = self.encode(text)
        return Spoken(self.read(ids), ids, "stop")

    def read(self, ids: Sequence[int]) -> str:
        """The text of some tokens."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def _batch(
        self,
        pictures: Sequence[Image.Image],
        question: str,
        scripts: Sequence[Script | None],
        max_tokens: int,
    ) -> list[Spoken]:
        content = [{"type": "image"}, {"type": "text", "text": question}]
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        self.tokenizer.padding_side = "left"
        inputs = self.processor(
            text=[text] * len(pictures), images=list(pictures), return_tensors="pt", padding=True
        )
        start = inputs["input_ids"].shape[1]

        def obey(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            scores = scores.clone()
            for row, script in enumerate(scripts):
                if script is not None:
                    scores[row] = script(ids[row, start:].tolist(), scores[row])
            return scores

        with torch.inference_mode():
            out = self.model.generate(
                **inputs, max_new_tokens=max_tokens, do_sample=False, logits_processor=[obey]
            )
        found = []
        for ids in out[:, start:].tolist():
            ended = self.end in ids
            ids = ids[: ids.index(self.end)] if ended else ids
            found.append(Spoken(self.read(ids), ids, "stop" if ended else "length"))
        return found


def only(scores: torch.Tensor, token: int) -> torch.Tensor:
    """Scores that leave one token."""
    scores[:] = float("-inf")
    scores[token] = 0.0
    return scores


def forced(tokens: Sequence[int], end: int | None = None, at: int = 0) -> Script:
    """Says these tokens from a place on; then ends, or goes on as the model likes."""

    def script(said: list[int], scores: torch.Tensor) -> torch.Tensor:
        place = len(said) - at
        if 0 <= place < len(tokens):
            return only(scores, tokens[place])
        return only(scores, end) if end is not None and place == len(tokens) else scores

    return script


def looping(at: int, length: int, tokens: int | None, end: int) -> Script:
    """Says its last tokens again and again, for so many tokens, or until it is cut."""

    def script(said: list[int], scores: torch.Tensor) -> torch.Tensor:
        place = len(said) - at
        if place < 0:
            scores[end] = float("-inf")
            return scores
        return only(scores, end if tokens is not None and place >= tokens else said[-length])

    return script


def not_a_number(at: int) -> Script:
    """Logits that are not finite from a place on, as a broken kernel gives them."""

    def script(said: list[int], scores: torch.Tensor) -> torch.Tensor:
        if len(said) >= at:
            scores[:SPECIAL] = float("-inf")
            scores[SPECIAL:] = float("nan")
        return scores

    return script


def noise(at: int, seed: int) -> Script:
    """Tokens at random from a place on, as broken weights give them."""
    drawn = torch.Generator().manual_seed(seed)

    def script(said: list[int], scores: torch.Tensor) -> torch.Tensor:
        if len(said) >= at:
            scores[:SPECIAL] = float("-inf")
            scores[SPECIAL:] = torch.rand(len(scores) - SPECIAL, generator=drawn)
        return scores

    return script


def of_one_token(at: int, token: int) -> Script:
    """One token for ever, from a place on."""

    def script(said: list[int], scores: torch.Tensor) -> torch.Tensor:
        return only(scores, token) if len(said) >= at else scores

    return script


def endless(tokens: int, end: int) -> Script:
    """Does not end before so many tokens."""

    def script(said: list[int], scores: torch.Tensor) -> torch.Tensor:
        if len(said) < tokens:
            scores[end] = float("-inf")
        return scores

    return script
