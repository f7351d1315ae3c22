"""The compiled passes behind the signals, against plain loops and numpy."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nucleus_data.signals import bands, fourier, grid, kernels, lines, small, tiles

SIDES = st.integers(1, 90)
LEVELS = st.sampled_from([2, 40, 256])
some = settings(deadline=None, max_examples=30)


def noise(height, width, levels=256, channels=()):
    rng = np.random.default_rng(height)
    return rng.integers(0, levels, (height, width, *channels), dtype=np.uint8)


# kernels


@some
@given(st.integers(3, 40), st.integers(3, 2200), st.sampled_from([(0, 256), (0, 2)]))
def test_laplacian_is_exact(height, width, levels):
    """Also of many pixels in a row at the largest values, where 32 bits would not do."""
    luma = np.random.default_rng(height).integers(*levels, (height, width), dtype=np.uint8)
    if levels[1] == 2:
        luma = np.uint8(255) * (np.indices((height, width)).sum(axis=0) % 2).astype(np.uint8)
    wide = luma.astype(np.int64)
    values = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
    values -= 4 * wide[1:-1, 1:-1]
    assert kernels.laplacian_sums(luma) == (values.sum(), (values**2).sum())


@some
@given(SIDES, SIDES, LEVELS)
@example(700, 9, 256)  # more strips than 8 bits hold
@example(1, 1, 256)
def test_steps_are_added_up_by_their_place_modulo_8(height, width, levels):
    luma = noise(height, width, levels).astype(int)
    across = np.minimum(32, np.abs(np.diff(luma, axis=1))).sum(axis=0)
    down = np.minimum(32, np.abs(np.diff(luma, axis=0))).sum(axis=1)
    for found, steps in zip(kernels.step_sums(luma.astype(np.uint8)), (across, down), strict=True):
        whole = len(steps) // 8 * 8
        assert (found == steps[:whole].reshape(-1, 8).sum(axis=0)).all()


@some
@given(st.integers(2, 90), st.integers(2, 90), st.integers(1, 4), st.integers(1, 4))
@example(50, 70, 3, 4)
@example(40, 300, 2, 9)
@example(9, 200, 1, 2)
def test_block_edges_against_a_plain_loop(height, width, down, across):
    down, across = min(down, height // 2), min(across, width // 2)
    pixels = noise(height, width)
    ranges, steps = np.empty((down, across), np.int32), np.empty((down, across), np.int32)
    kernels.block_edges(pixels, ranges, steps)
    for by in range(down):
        for bx in range(across):
            rows = slice(height * by // down, height * (by + 1) // down)
            columns = slice(width * bx // across, width * (bx + 1) // across)
            block = pixels[rows, columns].astype(int)
            assert ranges[by, bx] == np.ptp(block)
            steepest = max(
                np.abs(np.diff(block, axis=1)).max(initial=0),
                np.abs(np.diff(block[:, :-1] if bx < across - 1 else block, axis=0)).max(initial=0),
            )
            assert steps[by, bx] == steepest


def test_the_width_of_blocks_follows_its_percentiles():
    pixels = noise(96, 160)
    pixels[:32, :64] = 90  # blocks without a range don't count
    ranges, steps = np.empty((3, 5), np.int32), np.empty((3, 5), np.int32)
    kernels.block_edges(pixels, ranges, steps)
    strong = ranges >= max(28, 0.5 * np.percentile(ranges, 95))
    expected = 1 / np.percentile(steps[strong] / ranges[strong], 90)
    assert kernels.width_of_blocks(pixels, 32, 28, 0.5) == pytest.approx(expected, rel=1e-12)
    assert kernels.width_of_blocks(np.zeros((40, 40), np.uint8), 32, 28, 0.5) == 0.0


def test_halved_is_the_mean_of_squares():
    pixels = noise(9, 7)
    means = pixels[:8, :6].reshape(4, 2, 3, 2).astype(int).sum(axis=(1, 3))
    assert (kernels.halved(pixels) == (means + 2) // 4).all()


# lines


def test_medians_against_numpy():
    for length in (1, 2, 7, 100):
        line = noise(1, length)[0]
        assert lines.median_level(line) == int(np.median(line))


@some
@given(st.integers(10, 90), st.integers(10, 90))
@example(5000, 12)  # more strips than 8 bits hold
@example(12, 66_000)  # more pixels in a row than 16 bits hold
def test_seam_counts_against_numpy(height, width):
    pixels = noise(height, width, 60)
    if width > 60_000:
        pixels[:, :] = np.arange(height, dtype=np.uint8)[:, None] // 6 * 100
    columns, rows = np.zeros(width, np.int64), np.zeros(height, np.int64)
    lines.seam_counts(pixels, columns, rows)

    def plain(wide):
        x = np.arange(4, wide.shape[1] - 5)
        half = np.abs(wide[:, x + 2] - wide[:, x - 1]) // 2
        flat = np.maximum(
            np.abs(wide[:, x - 1] - wide[:, x - 4]), np.abs(wide[:, x + 5] - wide[:, x + 2])
        )
        return ((half >= 6) & (half > flat)).sum(axis=0)

    assert (columns[4:-5] == plain(pixels.astype(int))).all()
    assert (rows[4:-5] == plain(pixels.T.astype(int))).all()
    assert columns[:4].sum() == columns[-5:].sum() == rows[:4].sum() == rows[-5:].sum() == 0


@pytest.mark.parametrize("shape", [(1, 1), (9, 9), (3, 100), (100, 3)])
def test_pictures_that_are_too_small_have_no_seams(shape):
    pixels = 255 * (np.indices(shape).sum(axis=0) % 2).astype(np.uint8)
    assert lines.seams(pixels, 0.0, 0.0, 0.0, 0.0) == (0.0, 0.0)


# grid


@some
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([32, 60, 64]))
def test_cells_share_out_every_pixel(height, width, side):
    luma = noise(height, width)
    rows = luma.astype(np.int64).repeat(side, axis=0).reshape(side, height, width).sum(axis=1)
    sums = rows.repeat(side, axis=1).reshape(side, side, width).sum(axis=2)
    assert (grid.cell_sums(luma, side) == sums).all()


def test_a_block_of_frequencies_is_a_product_of_matrices():
    rng = np.random.default_rng(4)
    pixels = rng.integers(0, 65281, (32, 32)).astype(float)
    matrix = rng.integers(-4096, 4097, (8, 32)).astype(float)
    assert (grid.dct_block(pixels, matrix) == matrix @ pixels @ matrix.T).all()


def test_bits_are_above_the_median_of_all_but_the_first():
    block = np.random.default_rng(5).permutation(64).astype(float).reshape(8, 8)
    bits = block.reshape(-1) > np.median(block.reshape(-1)[1:])
    assert grid.packed_bits(block).tolist() == [int.from_bytes(np.packbits(bits), "big")]


def test_likeness_is_the_correlation_of_gradients():
    cells = np.random.default_rng(9).normal(0, 100, (60, 60))
    down, across = np.diff(cells, axis=0)[:, :-1], np.diff(cells, axis=1)[:-1]
    fields = np.concatenate([down - down.mean(), across - across.mean()], axis=1)
    one, other = fields[:-20].reshape(-1), fields[20:].reshape(-1)
    expected = (one @ other) / np.sqrt((one @ one) * (other @ other))

    def likeness(cells):
        found = grid.gradients(cells)
        return grid.likeness(found, grid.row_sums(found), 20, 0.0)

    assert likeness(cells) == pytest.approx(expected)
    assert likeness(np.tile(cells[:20], (3, 1))) == pytest.approx(1, abs=0.05)
    assert likeness(np.ones((60, 60))) == 0.0


# small


@some
@given(SIDES, SIDES, LEVELS)
@example(256, 256, 1)  # one colour: more pixels of one kind than 16 bits hold
@example(256, 256, 256)
def test_small_sums_against_numpy(height, width, levels):
    pixels, luma = noise(height, width, levels, (3,)), noise(height, width, levels)
    found = small.SmallSums(*small.small_sums(pixels, luma))
    red, green, blue = pixels.reshape(-1, 3).T.astype(int)
    wide, n = luma.reshape(-1).astype(int), luma.size
    ranges = np.ptp(pixels.astype(int), axis=2)
    first, second = red - green, red + green - 2 * blue
    cubes = [np.stack([red, green, blue]) + shift >> 4 for shift in (0, 8)]
    commonest = max(np.unique(c, axis=1, return_counts=True)[1].max() for c in cubes)
    shares = np.unique(wide, return_counts=True)[1] / n
    ordered = np.sort(wide)
    assert found == small.SmallSums(
        pixels=n,
        luma=wide.sum(),
        luma_2=(wide**2).sum(),
        dark=(wide < 16).sum(),
        bright=(wide >= 240).sum(),
        clipped=(pixels.max(axis=2) >= 250).sum(),
        luma_p1=ordered[int(np.ceil(0.01 * n)) - 1],
        luma_p99=ordered[int(np.ceil(0.99 * n)) - 1],
        entropy=pytest.approx(-(shares * np.log2(shares)).sum(), abs=1e-12),
        ranges=ranges.sum(),
        first=first.sum(),
        first_2=(first**2).sum(),
        second=second.sum(),
        second_2=(second**2).sum(),
        grey=(ranges < 12).sum(),
        commonest=commonest,
    )


def test_percentiles_of_counts():
    counts = np.array([0, 3, 0, 1])
    assert [small.percentile(counts, share) for share in (0.0, 0.75, 0.76, 1.0)] == [0, 1, 3, 3]


# tiles and fourier


@pytest.mark.parametrize("shape", [(1, 1), (5, 900), (64, 64), (300, 70), (1000, 1000)])
@pytest.mark.parametrize(("side", "most"), [(64, 4), (16, 8)])
def test_tiles_are_of_the_picture_and_do_not_overlap(shape, side, most):
    """Pixels are told apart by their value, in two pictures of 8 bits."""
    places = np.arange(shape[0] * shape[1]).reshape(shape)
    parts = ((places >> shift).astype(np.uint8) for shift in (0, 8, 16))
    found = sum(
        tiles.sample_tiles(part, side, most).astype(int) << 8 * i for i, part in enumerate(parts)
    )
    down, across, height, width = found.shape
    assert (height, width) == (min(side, shape[0]), min(side, shape[1]))
    assert (down, across) == tuple(max(1, min(most, length // side)) for length in shape)
    assert len(np.unique(found)) == found.size
    # Evenly spread: what is left out at one end is left out at the other.
    ends = found[0, 0, 0, 0], found[-1, -1, -1, -1]
    assert abs(ends[0] - (places.size - 1 - ends[1])) <= max(shape) + 1


def test_a_mosaic_is_of_the_tiles():
    pixels = noise(100, 50)
    found = tiles.sample_tiles(pixels, 16, 8)
    assert (tiles.mosaic(pixels, 16, 8)[:, :, 0] == np.block([list(row) for row in found])).all()


@pytest.mark.parametrize("count", [1, 3, 16])
@pytest.mark.parametrize("side", [64, 50])
def test_spectra_are_those_of_numpy(count, side):
    found = np.random.default_rng(6).integers(0, 256, (count, side, side), dtype=np.uint8)
    hann = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    levels = (found - found.mean(axis=(1, 2), keepdims=True)) * np.outer(hann, hann)
    power = np.abs(np.fft.rfft2(levels)) ** 2 / side**2
    for spectra in (bands.spectra, fourier.tile_power) if side == 64 else (bands.spectra,):
        np.testing.assert_allclose(spectra(found).swapaxes(1, 2), power, atol=1e-6 * power.max())


SHAPES = [(300, 200), (64, 64), (200, 90), (63, 200), (20, 33), (5, 5), (1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_bands_are_sums_over_whole_spectra(shape):
    """The same by the definition, with all of the spectrum and not its half."""
    luma = noise(*shape)
    found = tiles.sample_tiles(luma, 64, 4)
    height, width = found.shape[2:]
    windows = [np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2 for side in (height, width)]
    levels = found.reshape(-1, height, width).astype(float)
    levels = (levels - levels.mean(axis=(1, 2), keepdims=True)) * np.outer(*windows)
    power = np.abs(np.fft.fft2(levels)) ** 2 / (height * width)
    power[:, 0, 0] = 0
    y, x = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    larger = np.maximum(abs(y), abs(x))
    result = bands.bands(luma)
    assert result.everything == pytest.approx(power.sum(), rel=1e-5, abs=1e-4)
    assert result.high == pytest.approx(power[:, np.hypot(y, x) > 0.25].sum(), rel=1e-5, abs=1e-4)
    half = x >= 0 if width % 2 else (x >= 0) | (x == -0.5)
    middle, highest = (larger >= 0.06) & (larger <= 0.2) & half, (larger >= 0.33) & half
    if not middle.any() or not highest.any():
        assert result.natural == 0
        return
    means = power[:, middle].mean(axis=1)
    most = np.argsort(means)[-4:]
    assert result.middle == pytest.approx(means[most].mean(), rel=1e-5)
    assert result.highest == pytest.approx(power[most][:, highest].mean(), rel=1e-5)
    fall = (1 / (y**2 + x**2)[highest]).mean() / (1 / (y**2 + x**2)[middle]).mean()
    assert result.natural == pytest.approx(result.middle * fall, rel=1e-6)
