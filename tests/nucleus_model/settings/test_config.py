import pytest

from nucleus_model.settings.config import TransformerConfig
from tests.support.model import random_config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes_dims_rope": (4, 4, 4)}, "sum to attention_head_dim 16"),
        ({"num_key_value_heads": 3}, "must divide num_attention_heads 4"),
        ({"capacity_factors": (0.0, 0.0)}, r"above 0 in blocks \[1\]"),
        ({"dense_moe_strategy": "some"}, "dense_moe_strategy"),
        ({"depth": 2}, "depth"),
    ],
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        random_config(**change)


def test_one_factor_is_one_for_every_block_with_experts():
    config = random_config(num_layers=3).with_capacity(4.0)
    assert config.capacity_factors == (0.0, 4.0, 4.0)
    assert config.with_capacity([0.0, 1.0, 2.0]).capacity_factors == (0.0, 1.0, 2.0)


@pytest.mark.parametrize(
    ("strategy", "routed"),
    [
        ("all_moe", [0, 1, 2, 3, 4]),
        ("all_dense", []),
        ("leave_first_block_dense", [1, 2, 3, 4]),
        ("leave_first_three_blocks_dense", [3, 4]),
        ("leave_first_three_and_last_block_dense", [3]),
    ],
)
def test_which_blocks_have_experts(strategy, routed):
    config = random_config(num_layers=5, dense_moe_strategy=strategy)
    assert [layer for layer in range(5) if config.is_moe(layer)] == routed
    without = config.model_dump() | {"moe_enabled": False}
    assert not any(TransformerConfig.model_validate(without).is_moe(layer) for layer in range(5))
