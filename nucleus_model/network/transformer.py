"""The Nucleus-Image transformer: sparse, conditioned on time and text, for rectified flow.

Parameter names, shapes and configuration keys are those of diffusers'
`NucleusMoEImageTransformer2DModel`, so that weights can be exchanged (`checkpoints.exchange`). In
float32, outputs and gradients are equal to those of diffusers up to rounding. Two things differ:
the experts are one batched matrix product (`moe`), and keys and values of the text are computed
once and passed to each call:

    text = model.encode_text(states_BLT, mask_BL, grid=(height, width))   # once per prompt
    out = model(tokens_BSP, sigma_B, text, grid=(height, width))          # at every sigma

The output is **data minus noise**.

Legend of shapes, here and in `attention`, `moe`, `rope`: B batch, S image tokens, L text tokens,
J = S + L, D width of the stream, P values of a token, T width of a text state, N query heads, K key
and value heads, R width of a head, F = R / 2, E experts, C tokens that an expert takes of an image,
M = B C, I inner width of an expert.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from nucleus_model.network.attention import EPS, Attention, RMSNorm, TextKV
from nucleus_model.network.moe import FeedForward, MoE, Routing
from nucleus_model.network.rope import image_positions, rotations, text_positions, text_start
from nucleus_model.settings.config import TransformerConfig

TIME_SCALE = 1000.0
LONGEST_PERIOD = 10_000.0
GATE_LIMIT = 2.0


class Output(NamedTuple):
    """The transformer's output.

    Attributes:
        tokens_BSP: The prediction, data minus noise.
        routing: Each router's decisions, by the block's number; empty unless requested.
    """

    tokens_BSP: torch.Tensor
    routing: dict[int, Routing]


class TimeLayers(nn.Module):
    """Two linear layers with SiLU between them, under diffusers' names."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width, 4 * width)
        self.linear_2 = nn.Linear(4 * width, width)

    def forward(self, waves_BD: torch.Tensor) -> torch.Tensor:
        """Computes (B, D) from (B, D)."""
        out_BD: torch.Tensor = self.linear_2(functional.silu(self.linear_1(waves_BD)))
        return out_BD


class TimeEmbedding(nn.Module):
    """Embeds sigma: sinusoid, two layers, norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.timestep_embedder = TimeLayers(width)
        self.norm = RMSNorm(width)

    def forward(self, sigma_B: torch.Tensor) -> torch.Tensor:
        """Computes (B, D) from (B,); the sinusoid in float32, cosines first."""
        half = len(self.norm.weight) // 2
        steps = torch.arange(half, dtype=torch.float32, device=sigma_B.device)
        # Multiplied in the same order as in diffusers: angles reach 1000 radians, where a rounding
        # in the last bit is visible in the cosine.
        frequencies = torch.exp(-math.log(LONGEST_PERIOD) * steps / half)
        angles = TIME_SCALE * (sigma_B.float()[:, None] * frequencies[None])
        waves_BD = torch.cat((angles.cos(), angles.sin()), dim=-1).to(self.norm.weight.dtype)
        normed_BD: torch.Tensor = self.norm(self.timestep_embedder(waves_BD))
        return normed_BD


class OutputNorm(nn.Module):
    """Normalises, then scales and shifts by the time embedding (adaLN: arXiv:2212.09748)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2 * width)

    def forward(self, x_BSD: torch.Tensor, time_BD: torch.Tensor) -> torch.Tensor:
        """Computes (B, S, D) from (B, S, D)."""
        scale, shift = self.linear(functional.silu(time_BD))[:, None].chunk(2, dim=-1)
        return torch.addcmul(shift, _normed(x_BSD), 1 + scale)


class Block(nn.Module):
    """Attention, then experts or a dense layer; time scales and gates both, and shifts neither."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        width = config.width
        self.img_mod = nn.Sequential(nn.SiLU(), nn.Linear(width, 4 * width))
        self.encoder_proj = nn.Linear(config.joint_attention_dim, width)
        self.attn = Attention(config)
        self.img_mlp: MoE | FeedForward = (
            MoE(config, config.capacity_factors[layer])
            if config.is_moe(layer)
            else FeedForward(width, config.dense_width)
        )

    def text(
        self, text_BLT: torch.Tensor, rotations_LF: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Computes this block's text keys and values, both (B, K, L, R).

        Args:
            text_BLT: Normalised text states.
            rotations_LF: Rotary positions of the text.
        """
        return self.attn.text(self.encoder_proj(text_BLT), rotations_LF)

    def forward(
        self,
        x_BSD: torch.Tensor,
        time_BD: torch.Tensor,
        rotations_SF: torch.Tensor,
        text: tuple[torch.Tensor, torch.Tensor],
        mask_B11J: torch.Tensor | None,
        with_routing: bool = False,
    ) -> tuple[torch.Tensor, Routing | None]:
        """Computes the stream after this block, (B, S, D), and returns its routing if wanted.

        Args:
            x_BSD: The stream.
            time_BD: The time embedding.
            rotations_SF: Rotary positions of the image.
            text: This block's text keys and values.
            mask_B11J: True where there is image or text; None if there is no padding.
            with_routing: Whether to return the router's decisions, if the block has experts.
        """
        modulation_B14D = self.img_mod(time_BD)[:, None]
        scale_1, gate_1, scale_2, gate_2 = modulation_B14D.chunk(4, dim=-1)
        attended_BSD = self.attn(_normed(x_BSD) * (1 + scale_1), rotations_SF, text, mask_B11J)
        x_BSD = torch.addcmul(x_BSD, _gate(gate_1), attended_BSD)
        plain_BSD = _normed(x_BSD)
        modulated_BSD = plain_BSD * (1 + scale_2)
        routing = None
        if isinstance(self.img_mlp, MoE):
            # As published: the router's input is the tokens without modulation, and the time.
            out_BSD, routing = self.img_mlp(modulated_BSD, plain_BSD, time_BD, with_routing)
        else:
            out_BSD = self.img_mlp(modulated_BSD)
        return torch.addcmul(x_BSD, _gate(gate_2), out_BSD), routing


class NucleusTransformer(nn.Module):
    """The transformer. Its weights are not initialised here: see `network.init`.

    Args:
        config: The model's sizes.

    Attributes:
        config: The model's sizes, with the current capacity factors.
        gradient_checkpointing: Whether the backward pass recomputes each block, instead of keeping
            its activations.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False
        self.time_text_embed = TimeEmbedding(config.width)
        self.txt_norm = RMSNorm(config.joint_attention_dim)
        self.img_in = nn.Linear(config.in_channels, config.width)
        self.transformer_blocks = nn.ModuleList(
            Block(config, layer) for layer in range(config.num_layers)
        )
        self.norm_out = OutputNorm(config.width)
        values = config.out_channels * config.patch_size**2
        self.proj_out = nn.Linear(config.width, values, bias=False)

    @property
    def blocks(self) -> list[Block]:
        """The blocks, first to last."""
        return cast(list[Block], list(self.transformer_blocks))

    def set_capacity_factors(self, factors: float | Sequence[float]) -> None:
        """Changes the capacity factors.

        Args:
            factors: One factor for all blocks with experts, or one factor per block.

        Raises:
            ValueError: The number of factors is not the number of blocks, or the factor of a block
                with experts is not above 0.
        """
        self.config = self.config.with_capacity(factors)
        for block, factor in zip(self.blocks, self.config.capacity_factors, strict=True):
            if isinstance(block.img_mlp, MoE):
                block.img_mlp.capacity_factor = factor

    def encode_text(
        self, states_BLT: torch.Tensor, mask_BL: torch.Tensor | None, grid: tuple[int, int]
    ) -> TextKV:
        """Computes every block's text keys and values, which depend on no sigma and no image.

        Args:
            states_BLT: Text states, padded on the right.
            mask_BL: True where there is text; None if there is no padding.
            grid: Rows and columns of image tokens, which determine the text positions.
        """
        normed_BLT = self.txt_norm(states_BLT)
        positions = text_positions(*grid, states_BLT.shape[1], states_BLT.device)
        rotations_LF = rotations(positions, self.config.axes_dims_rope)
        layers = tuple(block.text(normed_BLT, rotations_LF) for block in self.blocks)
        # Attention has faster kernels without a mask.
        if mask_BL is not None:
            mask_BL = None if bool(mask_BL.all()) else mask_BL.bool()
        return TextKV(layers, mask_BL, text_start(*grid))

    def forward(
        self,
        tokens_BSP: torch.Tensor,
        sigma_B: torch.Tensor,
        text: TextKV,
        grid: tuple[int, int],
        with_routing: bool = False,
    ) -> Output:
        """Predicts data minus noise, (B, S, P).

        Args:
            tokens_BSP: Packed noisy latents.
            sigma_B: Share of noise, 0 to 1.
            text: The output of `encode_text` for these prompts and this grid.
            grid: Rows and columns of image tokens.
            with_routing: Whether to return the routers' decisions.

        Raises:
            ValueError: The text is for another batch size or grid, or the grid is not that of the
                tokens.
        """
        batch, tokens, _ = tokens_BSP.shape
        # Without this check, text of another grid would be accepted: its keys have other positions,
        # and pictures would be subtly wrong.
        if grid[0] * grid[1] != tokens:
            raise ValueError(f"a grid of {grid[0]} x {grid[1]} does not match {tokens} tokens")
        if text.batch != batch or text.start != text_start(*grid):
            raise ValueError(
                f"the text is for {text.batch} images and positions from {text.start}, but there "
                f"are {batch} images, from {text_start(*grid)}; call encode_text for their prompts "
                "and grid"
            )
        x_BSD = self.img_in(tokens_BSP)
        time_BD = self.time_text_embed(sigma_B)
        positions = image_positions(*grid, tokens_BSP.device)
        rotations_SF = rotations(positions, self.config.axes_dims_rope)
        mask_B11J = None
        if text.mask_BL is not None:
            mask_B11J = functional.pad(text.mask_BL, (tokens, 0), value=True)[:, None, None]
        # Blocks draw no random numbers, so recomputing them needs no generator state.
        again = self.gradient_checkpointing and torch.is_grad_enabled()
        routings = {}
        for layer, (block, kv) in enumerate(zip(self.blocks, text.layers, strict=True)):
            inputs = (x_BSD, time_BD, rotations_SF, kv, mask_B11J, with_routing)
            if again:
                x_BSD, routing = checkpoint(
                    block, *inputs, use_reentrant=False, preserve_rng_state=False
                )
            else:
                x_BSD, routing = block(*inputs)
            if routing is not None:
                routings[layer] = routing
        return Output(self.proj_out(self.norm_out(x_BSD, time_BD)), routings)


def _normed(x_BSD: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(x_BSD, x_BSD.shape[-1:], eps=EPS)


def _gate(gate: torch.Tensor) -> torch.Tensor:
    return gate.clamp(-GATE_LIMIT, GATE_LIMIT).tanh()
