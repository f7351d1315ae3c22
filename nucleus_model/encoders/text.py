"""Encodes prompts to text states: one hidden state of a frozen language tower.

`nucleus_model.encoders.towers` lists the supported towers, and how each reads a prompt. The states
of *all* tokens are kept, including those of a chat template. The unconditional text is the empty
prompt, encoded in the same way. Each prompt is encoded independently, so its states depend on the
prompt only. Batches are padded on the right, where the transformer's mask makes padding exact (on
the left, it would shift the rotary positions).

Legend of shapes: B batch, L text tokens, D width of a text state.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch.nn.utils.rnn import pad_sequence

from nucleus_data.engines.find import TEXT_ENCODER, resolve_model
from nucleus_model.encoders.cache import Cache
from nucleus_model.encoders.towers import load_tower
from nucleus_model.settings.text_encoder import TextSettings

PAD_MULTIPLE = 8
# Maps prompts to stored states (L, D), and whether each prompt was truncated; None without states.
Stored = Callable[[Sequence[str]], Sequence[tuple[torch.Tensor, bool] | None]]

TOGETHER = 32  # number of prompts in a batch


class TextEncoder:
    """A frozen language tower that turns prompts into text states, with a cache by prompt.

    Args:
        settings: The model and the hidden state to use.
        device: The torch device.

    Attributes:
        tower: The language tower (`towers.Tower.module`).
        width: Width of a text state.
        model: The model and its revision.
        together: Whether to encode prompts that are not cached in batches, padded on the right. The
            states then differ by rounding from those of a prompt encoded alone.
        stored: Returns stored states of prompts; None if there are none.
        cut: Number of prompts longer than `max_tokens`; each counts once while it is cached.

    Raises:
        RequestError: The model does not exist, is of an unsupported type, or lacks the configured
            hidden state.
    """

    def __init__(self, settings: TextSettings, device: str = "cpu") -> None:
        self.settings = settings
        self.model = resolve_model(settings.model, settings.revision, TEXT_ENCODER)
        tower = load_tower(self.model, settings)
        self.tower = tower.module.to(device).eval().requires_grad_(False)
        self.tokenizer, self.width = tower.tokenizer, tower.width
        self._text, self._special = tower.text, tower.special
        self._longest = min(settings.max_tokens, tower.longest)
        self.device = device
        self.cut = 0
        self.stored: Stored | None = None
        self._first: TextEncoder | None = None
        self._long: set[str] = set()
        self._states: Cache[torch.Tensor] = Cache(settings.cache_bytes)
        # On a CPU, encoding prompts one by one is as fast, and its states are bit-identical.
        self.together = torch.device(device).type != "cpu"

    def afresh(self) -> "TextEncoder":
        """Returns an encoder for another run, with its own counts and stored states.

        Prompts that it has to encode are encoded by this encoder, which caches them for all runs of
        the process.
        """
        other = copy.copy(self)
        other._first = self._first or self
        other._states = Cache(self.settings.cache_bytes)
        other.cut, other.stored = 0, None
        return other

    def template(self, prompt: str) -> str:
        """Returns the text that the tower reads for a prompt, including its template."""
        return self._text(prompt)

    def states(self, prompt: str) -> torch.Tensor:
        """Returns the text states of one prompt, float32 (L, D), unpadded; cached."""
        return self._states.get(prompt, lambda: self._made(prompt))

    def _made(self, prompt: str) -> torch.Tensor:
        """Returns the stored states of a prompt, or else encodes it."""
        stored = self._stored([prompt])
        return stored[prompt] if stored else self._encoded(prompt)

    def _tokens(self, prompt: str) -> list[int]:
        """Returns a prompt's token ids, truncated; counts it in `cut` if it is too long."""
        text = self.template(prompt)
        tokens: list[int] = self.tokenizer(text, add_special_tokens=self._special)["input_ids"]
        if len(tokens) > self._longest:
            self.cut += 1
            self._long.add(prompt)
            tokens = tokens[: self._longest]
        return tokens

    def _encode_together(self, prompts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Encodes prompts in batches of similar lengths."""
        tokens = {prompt: self._tokens(prompt) for prompt in prompts}
        ordered = sorted(tokens, key=lambda prompt: len(tokens[prompt]))
        encoded = {}
        for start in range(0, len(ordered), TOGETHER):
            part = ordered[start : start + TOGETHER]
            rows = [torch.tensor(tokens[prompt], device=self.device) for prompt in part]
            mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
            with torch.no_grad():
                output = self.tower(
                    input_ids=pad_sequence(rows, batch_first=True),
                    attention_mask=mask,
                    use_cache=False,
                )
            for prompt, states, row in zip(part, output.last_hidden_state, rows, strict=True):
                # Cloned, so that cached states do not keep their whole batch in memory.
                encoded[prompt] = states[: len(row)].clone()
        return encoded

    def _stored(self, prompts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Returns the stored states, on the device, of the prompts that have some."""
        if self.stored is None or not prompts:
            return {}
        states_of = {}
        for prompt, made in zip(prompts, self.stored(prompts), strict=True):
            if made is not None:
                states, cut = made
                self.cut += cut
                states_of[prompt] = states.to(self.device)
        return states_of

    def _encoded(self, prompt: str) -> torch.Tensor:
        """Encodes a prompt: by the first encoder of the process, if this is not the first."""
        if self._first is not None:
            states = self._first.states(prompt)
            self.cut += prompt in self._first._long
            return states
        ids_1L = torch.tensor([self._tokens(prompt)], device=self.device)
        with torch.no_grad():
            output = self.tower(
                input_ids=ids_1L, attention_mask=torch.ones_like(ids_1L), use_cache=False
            )
        states_LD: torch.Tensor = output.last_hidden_state[0]
        return states_LD

    def encode(self, prompts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Encodes prompts, padded on the right to the same length.

        Returns:
            The states, float32 (B, L, D), zero in the padding; and a mask, bool (B, L), True where
            there is text. L is a multiple of 8.
        """
        missing = [p for p in dict.fromkeys(prompts) if p not in self._states]
        new = self._stored(missing)  # reads the whole batch with one call
        if self.together:
            new |= self._encode_together([p for p in missing if p not in new])

        def make(prompt: str) -> torch.Tensor:
            if prompt in new:
                return new[prompt]
            # A prompt that is not in `missing` has been evicted from the cache since.
            return self._encoded(prompt) if prompt in missing else self._made(prompt)

        return pad_right([self._states.get(p, lambda p=p: make(p)) for p in prompts])  # type: ignore[misc]


def pad_right(states: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pads states with zeros after the text, to a common length that is a multiple of 8.

    Args:
        states: The states of each prompt, (L_i, D).

    Returns:
        Padded states (B, L, D), and a mask (B, L) that is True where there is text.
    """
    lengths = torch.tensor([len(item) for item in states], device=states[0].device)
    text_BLD = pad_sequence(list(states), batch_first=True)
    missing = -text_BLD.shape[1] % PAD_MULTIPLE
    text_BLD = torch.nn.functional.pad(text_BLD, (0, 0, 0, missing))
    mask_BL = torch.arange(text_BLD.shape[1], device=lengths.device)[None] < lengths[:, None]
    return text_BLD, mask_BL
