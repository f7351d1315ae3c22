import numpy as np

from nucleus_data.hashing import keyed_uint64, keyed_unit
from nucleus_model.data.draws import (
    as_bytes,
    as_hex,
    ascending,
    drawn,
    keyed,
    keyed_units,
    shuffled,
    units,
)

IDS = [f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}" for number in range(50)]


def test_draws_are_those_of_splitmix64():
    # The first numbers that the published generator gives from the seed 1234567.
    assert drawn(1234567, np.arange(3)).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_draws_are_uniform_and_a_shuffle_is_a_permutation():
    found = units(5, np.arange(20_000))
    assert abs(found.mean() - 0.5) < 0.01
    assert 0 <= found.min() < found.max() < 1
    assert sorted(shuffled(7, 100).tolist()) == list(range(100))
    assert shuffled(7, 100).tolist() != shuffled(8, 100).tolist()


def test_many_ids_are_drawn_as_one_is():
    ids = as_bytes(IDS)
    assert [text.decode() for text in as_hex(ids)] == IDS
    assert keyed("x", 3, ids).tolist() == [keyed_uint64("x", 3, i) for i in IDS]
    assert keyed_units("x", -3, ids).tolist() == [keyed_unit("x", -3, i) for i in IDS]
    assert [IDS[n] for n in ascending(ids)] == sorted(IDS)
