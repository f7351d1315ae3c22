import numpy as np

from nucleus_data.stages.dedup.codes import popcount


def test_the_bits_that_are_set_are_counted():
    codes = np.array([0, 1, 0x8000000000000000, 2**64 - 1, 0b1011], np.uint64)
    assert popcount(codes).tolist() == [0, 1, 1, 64, 3]
    assert popcount(codes).dtype == np.uint8
