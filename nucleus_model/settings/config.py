"""The transformer's configuration: the keys of diffusers' class, validated, without defaults.

There are no defaults, as those of diffusers' class describe another model. The exception is
`use_grouped_mm`, which older files lack and which changes no value.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

DenseStrategy = Literal[
    "all_moe",
    "all_dense",
    "leave_first_block_dense",
    "leave_first_three_blocks_dense",
    "leave_first_three_and_last_block_dense",
]
FIRST_DENSE = {
    "all_moe": 0,
    "leave_first_block_dense": 1,
    "leave_first_three_blocks_dense": 3,
    "leave_first_three_and_last_block_dense": 3,
}
CLASS_NAME = "NucleusMoEImageTransformer2DModel"


class TransformerConfig(BaseModel):
    """All arguments of diffusers' `NucleusMoEImageTransformer2DModel` (0.42.1).

    Raises:
        ValueError: Sizes do not fit together, or keys are unknown or missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    patch_size: int = Field(ge=1, description="Side of an image token, in latent pixels.")
    in_channels: int = Field(
        ge=1, description="Values per input token: latent channels times `patch_size` squared."
    )
    out_channels: int = Field(ge=1, description="Latent channels of the output.")
    num_layers: int = Field(ge=1, description="Number of blocks.")
    attention_head_dim: int = Field(ge=2, description="Width of an attention head.")
    num_attention_heads: int = Field(ge=1, description="Number of query heads.")
    num_key_value_heads: int = Field(ge=1, description="Number of key and value heads.")
    joint_attention_dim: int = Field(ge=1, description="Width of the text states.")
    axes_dims_rope: tuple[int, int, int] = Field(
        description="Rotary dimensions of frame, height and width."
    )
    mlp_ratio: float = Field(
        gt=0,
        description="Ratio of inner to outer width in dense blocks, before it is multiplied by 2/3 "
        "and the width is rounded down to a multiple of 128.",
    )
    moe_enabled: bool = Field(
        description="Whether blocks have experts; false makes every block dense."
    )
    dense_moe_strategy: DenseStrategy = Field(description="Which blocks are dense.")
    num_experts: int = Field(ge=1, description="Routed experts per block.")
    moe_intermediate_dim: int = Field(ge=1, description="Inner width of an expert.")
    capacity_factors: tuple[float, ...] = Field(
        description="Capacity factors, one per block; those of dense blocks are ignored."
    )
    use_sigmoid: bool = Field(
        description="Whether router scores are sigmoids; false: softmax, as in the published model."
    )
    route_scale: float = Field(gt=0, description="Sum of the gates of a token.")
    use_grouped_mm: bool = Field(
        default=False, description="A switch of diffusers that has no effect here."
    )

    @field_validator("capacity_factors", mode="before")
    @classmethod
    def _one_a_block(cls, value: Any, info: Any) -> Any:
        if isinstance(value, int | float):
            return (value,) * info.data.get("num_layers", 0)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "TransformerConfig":
        axes, factors = self.axes_dims_rope, self.capacity_factors
        if sum(axes) != self.attention_head_dim or any(axis % 2 for axis in axes):
            raise ValueError(
                f"axes_dims_rope must be even and sum to attention_head_dim "
                f"{self.attention_head_dim}, got {axes}"
            )
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_key_value_heads must divide num_attention_heads {self.num_attention_heads}, "
                f"got {self.num_key_value_heads}"
            )
        # Factors of dense blocks are not checked, as these have no experts.
        routed = [self.is_moe(layer) for layer in range(self.num_layers)]
        if len(factors) != self.num_layers or any(
            moe and not 0 < factor < math.inf for moe, factor in zip(routed, factors, strict=False)
        ):
            raise ValueError(
                f"capacity_factors must be {self.num_layers} numbers, above 0 in blocks "
                f"{[layer for layer, moe in enumerate(routed) if moe]}, got {factors}"
            )
        return self

    @property
    def width(self) -> int:
        """Width of the residual stream, D."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def dense_width(self) -> int:
        """Inner width of a dense block: times 2/3 for SwiGLU's third matrix, a multiple of 128."""
        return int(self.width * self.mlp_ratio * 2 / 3) // 128 * 128

    def is_moe(self, layer: int) -> bool:
        """Returns whether a block, counted from 0, has experts."""
        if not self.moe_enabled or self.dense_moe_strategy == "all_dense":
            return False
        last_dense = self.dense_moe_strategy == "leave_first_three_and_last_block_dense"
        end = self.num_layers - last_dense
        return FIRST_DENSE[self.dense_moe_strategy] <= layer < end

    def with_capacity(self, factors: float | Sequence[float]) -> "TransformerConfig":
        """Returns the configuration with other capacity factors.

        Args:
            factors: One factor for all blocks with experts, or one factor per block.

        Raises:
            ValueError: The number of factors is not the number of blocks, or the factor of a block
                with experts is not above 0.
        """
        if isinstance(factors, int | float):
            factors = [factors if self.is_moe(layer) else 0.0 for layer in range(self.num_layers)]
        return TransformerConfig.model_validate(
            self.model_dump() | {"capacity_factors": tuple(factors)}
        )
