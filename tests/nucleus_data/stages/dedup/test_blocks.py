import numpy as np

from nucleus_data.stages.dedup.blocks import (
    MAX_BLOCK_BITS,
    MAX_EQUAL,
    Blocks,
    bit_shares,
    blocks_to_agree,
    varying_bits,
)
from nucleus_data.stages.dedup.codes import popcount


def some_codes(count=2_000):
    return np.random.default_rng(8).integers(0, 1 << 64, count, dtype=np.uint64)


def test_bits_go_into_blocks_and_back():
    codes = some_codes()
    blocks = Blocks.dealt(bit_shares(codes), 6)
    there = blocks.permute(codes)
    np.testing.assert_array_equal(blocks.restore(there), codes)
    np.testing.assert_array_equal(popcount(there), popcount(codes))
    taken = 0
    for mask, shift in zip(blocks.masks.tolist(), blocks.shifts.tolist(), strict=True):
        assert not taken & mask
        taken |= mask
        assert mask >> shift == (1 << mask.bit_count()) - 1
        assert 10 <= mask.bit_count() <= MAX_BLOCK_BITS
    assert taken == (1 << 64) - 1


def test_bits_that_never_change_are_in_no_block():
    codes = some_codes() & np.uint64(0xFF00) | np.uint64(1)
    shares = bit_shares(codes)
    assert varying_bits(shares) == list(range(8, 16))
    assert (shares[0], shares[1]) == (0, 0)  # set in all codes, in none
    assert 0.4 < shares[8] < 0.6
    masks = Blocks.dealt(shares, 5).masks.tolist()
    assert sum(mask.bit_count() for mask in masks) == 8


def test_a_bit_that_only_codes_outside_the_sample_have_still_varies():
    codes = np.zeros(1 << 18, np.uint64)
    codes[1] = 1 << 40
    assert varying_bits(bit_shares(codes)) == [40]


def test_in_how_many_blocks_codes_must_agree_depends_on_their_number():
    chosen = {blocks_to_agree(count, 4) for count in (10**2, 10**6, 10**8)}
    assert len(chosen) > 1
    assert chosen <= set(range(1, MAX_EQUAL + 1))
