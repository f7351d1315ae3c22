"""Sizes of the transformer, as data: `debug` for tests, `nano`, `small` for one GPU, `base`.

The number of latent channels and the width of text states are not part of a preset, as they come
from the codec and the text encoder.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nucleus_model.settings.config import FIRST_DENSE, TransformerConfig

ROUTE_SCALE = 2.5


class Preset(BaseModel):
    """A size of the transformer; codec and text encoder complete it to a `TransformerConfig`.

    Raises:
        ValueError: Sizes do not fit together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    layers: int = Field(ge=2, description="Number of transformer blocks.")
    heads: int = Field(ge=1, description="Number of query heads.")
    kv_heads: int = Field(
        ge=1, description="Number of key and value heads; must divide the number of query heads."
    )
    head_dim: int = Field(
        ge=8, description="Width of an attention head; the model's width is heads * head_dim."
    )
    rope_axes: tuple[int, int, int] = Field(
        description="Rotary dimensions of frame, height and width; even, and their sum is head_dim."
    )
    mlp_ratio: float = Field(
        gt=0,
        description="Inner width of dense blocks: int(width * ratio * 2 / 3), rounded down to a "
        "multiple of 128.",
    )
    dense: Literal["all_moe", "leave_first_block_dense", "leave_first_three_blocks_dense"] = Field(
        description="Which of the first blocks have a dense feed-forward layer instead of experts."
    )
    experts: int = Field(
        ge=1, description="Routed experts per block, in addition to one shared expert."
    )
    expert_width: int = Field(ge=8, description="Inner width of an expert.")
    capacity_factors: tuple[float, ...] = Field(
        description="Capacity factors, one per block, 0 for dense ones. An expert takes max(1, "
        "ceil(factor * tokens / experts)) tokens of each image."
    )
    patch: int = Field(default=2, ge=1, description="Side of an image token, in latent pixels.")

    @model_validator(mode="after")
    def _consistent(self) -> "Preset":
        if sum(self.rope_axes) != self.head_dim or any(axis % 2 for axis in self.rope_axes):
            raise ValueError(
                f"rope_axes must be even and sum to head_dim {self.head_dim}, got {self.rope_axes}"
            )
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads must divide heads {self.heads}, got {self.kv_heads}")
        # A factor of 0 means that a block is dense, so the factors must agree with `dense`.
        dense = FIRST_DENSE[self.dense]
        if len(self.capacity_factors) != self.layers or [
            factor > 0 for factor in self.capacity_factors
        ] != [False] * dense + [True] * (self.layers - dense):
            raise ValueError(
                f"capacity_factors must be {dense} zeros, then {self.layers - dense} positive "
                f"numbers, got {self.capacity_factors}"
            )
        if self.width * self.mlp_ratio * 2 / 3 < 128:
            raise ValueError(
                f"width {self.width} and mlp_ratio {self.mlp_ratio} give a dense layer narrower "
                "than 128; raise one of them"
            )
        return self

    @property
    def width(self) -> int:
        """Width of the residual stream, D."""
        return self.heads * self.head_dim

    def check_capacity(self, factors: float | Sequence[float]) -> None:
        """Checks the capacity factors of a phase.

        Args:
            factors: One factor for all blocks with experts, or one factor per block.

        Raises:
            ValueError: They do not fit the blocks.
        """
        try:
            # Latent channels and text width do not matter here.
            self.transformer_config(1, 1).with_capacity(factors)
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ValueError(f"{message}; or be one number for all these blocks") from None

    def transformer_config(self, latent_channels: int, text_width: int) -> TransformerConfig:
        """Returns the transformer's complete configuration.

        Args:
            latent_channels: Channels of the codec's latents.
            text_width: Width of the text encoder's states.
        """
        return TransformerConfig(
            patch_size=self.patch,
            in_channels=latent_channels * self.patch**2,
            out_channels=latent_channels,
            num_layers=self.layers,
            attention_head_dim=self.head_dim,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            joint_attention_dim=text_width,
            axes_dims_rope=self.rope_axes,
            mlp_ratio=self.mlp_ratio,
            moe_enabled=True,
            dense_moe_strategy=self.dense,
            num_experts=self.experts,
            moe_intermediate_dim=self.expert_width,
            capacity_factors=self.capacity_factors,
            use_sigmoid=False,
            route_scale=ROUTE_SCALE,
        )


PRESETS: dict[str, Preset] = {
    # 2.4 M parameters with the nano text encoder and VAE; trains on a CPU in minutes. A token has
    # 64 values with the VAE, and 192 with space-to-depth at factor 4, which is just this width.
    "nano": Preset(
        layers=4,
        heads=6,
        kv_heads=2,
        head_dim=32,
        rope_axes=(8, 12, 12),
        mlp_ratio=4.0,
        dense="leave_first_block_dense",
        experts=4,
        expert_width=64,
        capacity_factors=(0.0, 2.0, 2.0, 2.0),
    ),
    # For one GPU: 0.14 B parameters with the published text encoder and VAE.
    "small": Preset(
        layers=12,
        heads=8,
        kv_heads=2,
        head_dim=64,
        rope_axes=(8, 28, 28),
        mlp_ratio=4.0,
        dense="leave_first_block_dense",
        experts=16,
        expert_width=352,
        capacity_factors=(0.0, 4.0, *(2.0,) * 10),
    ),
    # The published model: 16.92 B parameters. It needs GPUs.
    "base": Preset(
        layers=32,
        heads=16,
        kv_heads=4,
        head_dim=128,
        rope_axes=(16, 56, 56),
        mlp_ratio=4.0,
        dense="leave_first_three_blocks_dense",
        experts=64,
        expert_width=1344,
        capacity_factors=(0.0,) * 3 + (4.0,) * 2 + (2.0,) * 27,
    ),
    # 0.15 M parameters, for tests.
    "debug": Preset(
        layers=2,
        heads=2,
        kv_heads=1,
        head_dim=24,
        rope_axes=(8, 8, 8),
        mlp_ratio=4.0,
        dense="leave_first_block_dense",
        experts=4,
        expert_width=32,
        capacity_factors=(0.0, 2.0),
    ),
}
