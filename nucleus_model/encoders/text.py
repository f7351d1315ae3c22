"""Prompts to text states: one hidden layer of a frozen language tower.

Which towers there are, and what they read of a prompt: `nucleus_model.encoders.towers`. The states
of *all* tokens are kept, a template's too. The unconditional text is the empty prompt, read in the
same way. Each prompt is encoded by itself, so its states depend on nothing but the prompt; batches
are padded on the right, where the transformer's mask makes padding exact (on the left it would
shift the rotary positions).

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
# From prompts to states (L, D) that were made before, and whether each was cut; None for none.
Stored = Callable[[Sequence[str]], Sequence[tuple[torch.Tensor, bool] | None]]

TOGETHER = 32  # prompts that are encoded at once


class TextEncoder:
    """A frozen language tower that turns prompts into text states, with a cache by prompt.

    Args:
        settings: Which model and state.
        device: Where it runs.

    Attributes:
        tower: `towers.Tower.module`.
        width: Width of a text state.
        model: Which model it is, with its revision.
        together: Whether prompts that are not remembered are encoded in batches, on the right
            padded; their states differ from those of a prompt alone by rounding.
        stored: Gives states that were made before; None where there are none at all.
        cut: Prompts that were longer than `max_tokens`, each counted once while it is cached.

    Raises:
        RequestError: There is no such model, it is of no type that can be read, or it has fewer
            hidden states than asked for.
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
        # On a CPU a prompt alone is as fast, and its states are the same to the last bit.
        self.together = torch.device(device).type != "cpu"

    def afresh(self) -> "TextEncoder":
        """The same encoder for another run: it counts and is given stored states by itself.

        What it has to encode it asks this one for, which remembers it for all runs of a process.
        """
        other = copy.copy(self)
        other._first = self._first or self
        other._states = Cache(self.settings.cache_bytes)
        other.cut, other.stored = 0, None
        return other

    def template(self, prompt: str) -> str:
        """Returns the whole text that the tower reads for a prompt."""
        return self._text(prompt)

    def states(self, prompt: str) -> torch.Tensor:
        """Returns the text states of one prompt, float32 (L, D), unpadded; cached."""
        return self._states.get(prompt, lambda: self._made(prompt))

    def _made(self, prompt: str) -> torch.Tensor:
        found = self._stored([prompt])
        return found[prompt] if found else self._encoded(prompt)

    def _tokens(self, prompt: str) -> list[int]:
        text = self.template(prompt)
        tokens: list[int] = self.tokenizer(text, add_special_tokens=self._special)["input_ids"]
        if len(tokens) > self._longest:
            self.cut += 1
            self._long.add(prompt)
            tokens = tokens[: self._longest]
        return tokens

    def _encode_together(self, prompts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Encodes prompts in batches of about one length."""
        tokens = {prompt: self._tokens(prompt) for prompt in prompts}
        ordered = sorted(tokens, key=lambda prompt: len(tokens[prompt]))
        found = {}
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
                # Cloned, so that states which stay do not hold their whole batch.
                found[prompt] = states[: len(row)].clone()
        return found

    def _stored(self, prompts: Sequence[str]) -> dict[str, torch.Tensor]:
        """States that were made before, on the device, of those prompts that have some."""
        if self.stored is None or not prompts:
            return {}
        found = {}
        for prompt, made in zip(prompts, self.stored(prompts), strict=True):
            if made is not None:
                states, cut = made
                self.cut += cut
                found[prompt] = states.to(self.device)
        return found

    def _encoded(self, prompt: str) -> torch.Tensor:
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
        """Encodes prompts, padded on the right to one length.

        Returns:
            float32 (B, L, D), zero where padded, and bool (B, L), True where there is text; L is a
            multiple of 8.
        """
        missing = [p for p in dict.fromkeys(prompts) if p not in self._states]
        new = self._stored(missing)  # all of a batch at once
        if self.together:
            new |= self._encode_together([p for p in missing if p not in new])

        def make(prompt: str) -> torch.Tensor:
            if prompt in new:
                return new[prompt]
            # One that left the cache meanwhile was not asked for.
            return self._encoded(prompt) if prompt in missing else self._made(prompt)

        return pad_right([self._states.get(p, lambda p=p: make(p)) for p in prompts])  # type: ignore[misc]


def pad_right(states: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pads states with zeros after the text.

    Args:
        states: Each (L_i, D).

    Returns:
        Padded states (B, L, D), and a mask (B, L) that is True where there is text.
    """
    lengths = torch.tensor([len(item) for item in states], device=states[0].device)
    text_BLD = pad_sequence(list(states), batch_first=True)
    missing = -text_BLD.shape[1] % PAD_MULTIPLE
    text_BLD = torch.nn.functional.pad(text_BLD, (0, 0, 0, missing))
    mask_BL = torch.arange(text_BLD.shape[1], device=lengths.device)[None] < lengths[:, None]
    return text_BLD, mask_BL
