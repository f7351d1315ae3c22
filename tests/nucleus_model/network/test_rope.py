import torch

from nucleus_model.network.rope import (
    image_positions,
    rotate,
    rotations,
    text_positions,
    text_start,
)

CPU = torch.device("cpu")


def test_an_image_is_centred_and_text_begins_where_it_ends():
    found = image_positions(2, 3, CPU)
    rows_and_columns = [[-1, -2], [-1, -1], [-1, 0], [0, -2], [0, -1], [0, 0]]
    assert found.tolist() == [[0, *pair] for pair in rows_and_columns]
    assert (text_start(4, 8), text_start(7, 2), text_start(1, 1)) == (4, 3, 0)
    assert text_positions(4, 8, 2, CPU).tolist() == [[4, 4, 4], [5, 5, 5]]


def test_a_rotation_keeps_lengths_and_products_depend_on_distances_alone():
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 12, generator=generator)

    def product(one, other):
        turned = [
            rotate(x, rotations(torch.tensor([[p, p, p]]), (4, 4, 4)))
            for x, p in ((query, one), (key, other))
        ]
        assert torch.allclose(turned[0].norm(), query.norm())
        return (turned[0] * turned[1]).sum()

    assert torch.allclose(product(3, 5), product(10, 12), atol=1e-5)
    assert not torch.allclose(product(3, 5), product(3, 6), atol=1e-3)
