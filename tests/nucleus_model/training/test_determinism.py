import pytest
import torch

from nucleus_model.training.determinism import deterministic


def state():
    return (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
    )


def test_the_seed_alone_decides_and_all_is_as_before():
    before, generator = state(), torch.get_rng_state()
    drawn = []
    for _ in range(2):
        with deterministic(before[0] + 1, "cpu", seed=3):
            assert state() == (before[0] + 1, True, False)
            drawn.append(torch.rand(4))
        torch.rand(1)  # the generator outside has no say
    assert torch.equal(drawn[0], drawn[1])
    assert state() == before
    torch.set_rng_state(generator)


def test_it_ends_with_an_error_too():
    before = state()
    with pytest.raises(KeyError), deterministic(before[0] + 1, "cpu", seed=0):
        {}["none"]
    assert state() == before
