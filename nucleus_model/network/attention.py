"""Attention of image tokens over image and text, with grouped queries.

Legend of shapes: B batch, S image tokens, L text tokens, J = S + L, D width of the stream, N query
heads, K key and value heads, R width of a head, F = R / 2.
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
    """Keys and values of one or more prompts. They do not depend on sigma.

    Attributes:
        layers: Keys and values of each block, both (B, K, L, R), with rotary positions applied to
            the keys.
        mask_BL: True where there is text; None if there is no padding.
        start: Position of the first text token. It depends on the image's grid, so these keys are
            valid only for grids with the same start.
    """

    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    mask_BL: torch.Tensor | None
    start: int

    @property
    def batch(self) -> int:
        """The number of prompts, B."""
        return len(self.layers[0][0])

    def expand(self, batch: int) -> "TextKV":
        """Repeats one prompt's keys and values for a batch, without copying them.

        Args:
            batch: The number of images.

        Raises:
            RuntimeError: There is more than one prompt.
        """
        layers = [
            (k.expand(batch, -1, -1, -1), v.expand(batch, -1, -1, -1)) for k, v in self.layers
        ]
        mask_BL = None if self.mask_BL is None else self.mask_BL.expand(batch, -1)
        return TextKV(tuple(layers), mask_BL, self.start)


class RMSNorm(nn.RMSNorm):
    """Root-mean-square norm whose weight is cast to the input's precision.

    If the two differed, autocast would not use the fused kernel.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalises over the last dimension; the shape stays."""
        return functional.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class Attention(nn.Module):
    """Attention from the image's tokens to image and text; text has no queries.

    Several query heads share one key and value head (grouped queries: Ainslie et al. 2023,
    arXiv:2305.13245).
    """

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
        # Unused, as text has no queries, and so without a gradient; but published files contain it.
        self.norm_added_q = RMSNorm(head)
        self.norm_added_k = RMSNorm(head)

    def text(
        self, text_BLD: torch.Tensor, rotations_LF: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Computes keys and values of text, both (B, K, L, R).

        Args:
            text_BLD: Text states, projected to the stream's width.
            rotations_LF: Rotary positions of the text.
        """
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
        """Computes the attention output of the image tokens, (B, S, D).

        Args:
            x_BSD: Image tokens.
            rotations_SF: Rotary positions of the image.
            text: Keys and values of the text, from `text`.
            mask_B11J: True where there is image or text; None if there is no padding.
        """
        q_BSNR = self.norm_q(self.to_q(x_BSD).unflatten(-1, (self.heads, -1)))
        k_BSKR = self.norm_k(self.to_k(x_BSD).unflatten(-1, (self.kv_heads, -1)))
        v_BSKR = self.to_v(x_BSD).unflatten(-1, (self.kv_heads, -1))
        # Image first, then text, in the same order as in the mask.
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
