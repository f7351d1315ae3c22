"""Attention of image tokens to image and text, with grouped queries.

Legend of shapes: B batch, S image tokens, L text tokens, J their sum, D width, N query heads, K key
and value heads, R width of a head, F = R / 2; see `transformer`.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from nucleus_model.network.rope import rotate
from nucleus_model.settings.config import TransformerConfig

EPS = 1e-6


@dataclass(frozen=True, slots=True)
class TextKV:
    """What one or more prompts give to the image: keys and values, the same at every sigma.

    Attributes:
        layers: Keys and values of each block, both (B, K, L, R); keys are turned to their position.
        mask_BL: True where there is text; None if that is everywhere.
        start: Position of the first text token. It follows from the image's grid, so these keys are
            good for no grid with another one.
    """

    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    mask_BL: torch.Tensor | None
    start: int

    @property
    def batch(self) -> int:
        """How many prompts."""
        return len(self.layers[0][0])

    def expand(self, batch: int) -> "TextKV":
        """One prompt's, for each of a batch; takes no memory.

        Raises:
            RuntimeError: There is more than one prompt.
        """
        layers = [
            (k.expand(batch, -1, -1, -1), v.expand(batch, -1, -1, -1)) for k, v in self.layers
        ]
        mask_BL = None if self.mask_BL is None else self.mask_BL.expand(batch, -1)
        return TextKV(tuple(layers), mask_BL, self.start)


class RMSNorm(nn.RMSNorm):
    """With its weight in the input's precision, so that autocast takes the fused kernel."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Over the last dimension."""
        return functional.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class Attention(nn.Module):
    """Image queries on the keys and values of image and text; text asks nothing."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, head = config.width, config.attention_head_dim
        kv_width = config.num_key_value_heads * head
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.norm_q = RMSNorm(head)
        self.norm_k = RMSNorm(head)
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(width, kv_width, bias=False)
        self.to_v = nn.Linear(width, kv_width, bias=False)
        self.add_k_proj = nn.Linear(width, kv_width, bias=False)
        self.add_v_proj = nn.Linear(width, kv_width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width, bias=False)])
        # The published files have it, though there is no text query: it never gets a gradient.
        self.norm_added_q = RMSNorm(head)
        self.norm_added_k = RMSNorm(head)

    def text(
        self, text_BLD: torch.Tensor, rotations_LF: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of text, both (B, K, L, R)."""
        k_BLKR = self.norm_added_k(self.add_k_proj(text_BLD).unflatten(-1, (self.kv_heads, -1)))
        v_BLKR = self.add_v_proj(text_BLD).unflatten(-1, (self.kv_heads, -1))
        return rotate(k_BLKR, rotations_LF).transpose(1, 2), v_BLKR.transpose(1, 2)

    def forward(
        self,
        x_BSD: torch.Tensor,
        rotations_SF: torch.Tensor,
        text: tuple[torch.Tensor, torch.Tensor],
        mask_B11J: torch.Tensor | None,
    ) -> torch.Tensor:
        """What the image's tokens gather, (B, S, D)."""
        q_BSNR = self.norm_q(self.to_q(x_BSD).unflatten(-1, (self.heads, -1)))
        k_BSKR = self.norm_k(self.to_k(x_BSD).unflatten(-1, (self.kv_heads, -1)))
        v_BSKR = self.to_v(x_BSD).unflatten(-1, (self.kv_heads, -1))
        k_BKJR = torch.cat((rotate(k_BSKR, rotations_SF).transpose(1, 2), text[0]), dim=2)
        v_BKJR = torch.cat((v_BSKR.transpose(1, 2), text[1]), dim=2)
        out_BNSR = functional.scaled_dot_product_attention(
            rotate(q_BSNR, rotations_SF).transpose(1, 2),
            k_BKJR,
            v_BKJR,
            attn_mask=mask_B11J,
            enable_gqa=self.heads != self.kv_heads,
        )
        out_BSD: torch.Tensor = self.to_out[0](out_BNSR.transpose(1, 2).flatten(2))
        return out_BSD
