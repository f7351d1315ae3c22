import pytest
import torch

from nucleus_model.network.attention import RMSNorm
from tests.support.model import inputs, random_model


def test_one_prompt_serves_a_batch_without_memory_and_two_do_not():
    model = random_model()
    given = inputs(model.config)
    one = model.encode_text(given["states"][:1], given["mask"][:1], given["grid"])
    many = one.expand(3)
    assert (one.batch, many.batch, many.start) == (1, 3, one.start)
    for (key, value), (wide_key, wide_value) in zip(one.layers, many.layers, strict=True):
        assert wide_key.data_ptr() == key.data_ptr()
        assert torch.equal(wide_value, torch.cat([value] * 3))
    two = model.encode_text(given["states"][:2], given["mask"][:2], given["grid"])
    with pytest.raises(RuntimeError):
        two.expand(3)


def test_a_mask_of_text_alone_is_none():
    model = random_model()
    given = inputs(model.config)
    whole = torch.ones_like(given["mask"])
    assert model.encode_text(given["states"], whole, given["grid"]).mask_BL is None
    assert model.encode_text(given["states"], given["mask"], given["grid"]).mask_BL is not None


def test_a_norm_keeps_the_precision_of_its_input():
    norm = RMSNorm(4)
    x = torch.tensor([[3.0, 4.0, 0.0, 0.0]])
    assert torch.allclose(norm(x), x / 2.5)
    assert norm(x.bfloat16()).dtype == torch.bfloat16
