"""The default order of preference among duplicates, by the signals of each record alone.

The default of `select.prefer` begins with `copy_rank`, which the stage `compare` finds by comparing
the copies with each other. This order comes after it: for copies that are equally good, and where
copies were not compared. `compare` itself uses it to choose the copies to begin with. There are
three criteria, each of which decides among those that the one before leaves equal, and last the
file size:

1. Was the copy made from another one by enlarging, or stripped of its colour? The signs are traces
   of interpolation (`resampling`; from 6 on only with little fine detail), pixels repeated in
   squares (which cause steps at block borders, as very low JPEG qualities do), and no colour at
   all.
2. How many pixels does it have inside its borders, in steps of an eighth of a doubling (4 % of a
   side)?
3. How much is wrong with it? This is a sum of signals that are typical of damaged copies: few bytes
   for the detail, a palette, a border, crushed darks, dull lights, missing or too strong fine
   detail, few levels, pale or tinted colours, visible blocks, wide edges, clipped lights. The
   weights were fitted on pairs of known truth (`scripts/bench_copies.py`); docs/duplicates.md says
   where they come from, and what they get right by kind of damage.

Size comes before quality, because softness, grain and contrast change with the scale: of copies
that differ only in size, the larger one stays.
"""

# Criterion 1. Its signs persist at every scale, so a downscaled copy has them if its original does.
WORSE = (
    "(resampling > 9 OR (resampling > 6 AND upscaling > 15) OR blockiness > 1.5"
    " OR colourfulness < 1.5) asc"
)
PIXELS = (
    "round(8 * log2(greatest(1, round(width * (1 - border_left - border_right))"
    " * round(height * (1 - border_top - border_bottom))))) desc"
)
_ACUTANCE = "(laplacian_variance + 0.001) / (luma_std * luma_std + 1)"
_BLOCKS = "(greatest(blockiness, 0) + 0.001)"
TERMS = (
    "3.7 * least(0, log2((bytes_over_expected + 0.001) / 1.5))",
    "- CASE mode WHEN 'P' THEN 2.3 ELSE 0 END",
    "- 2 * least(1, 100 * greatest(border_left, border_top, border_right, border_bottom))",
    "+ 0.23 * least(luma_p1, 8)",
    "+ 0.009 * least(luma_p99, 240)",
    "- 0.29 * greatest(0, upscaling - 12)",
    "+ 0.9 * log2(high_frequency_share + 0.002)",
    f"- 1.3 * greatest(0, log2({_ACUTANCE} / 0.03))",
    f"- 1.1 * greatest(0, log2({_ACUTANCE} / 0.5))",
    "- 0.6 * greatest(0, log2((laplacian_variance + 1) / 500))",
    "+ 1.6 * entropy",
    "+ 0.9 * log2(least(colourfulness, 100) + 4)",
    "+ 0.6 * least(0, log2((colourfulness + 2) / 40))",
    '- 3.5 * greatest(0, "cast" - 0.1)',
    "- 0.7 * least(cast_factor, 4)",
    f"- 0.85 * greatest(0, log2({_BLOCKS} / 0.1))",
    f"- 0.7 * greatest(0, log2({_BLOCKS} / 0.25))",
    "- 0.7 * log2(least(16, greatest(1, coalesce(edge_width, 2))))",
    "- 0.64 * sqrt(clipped_share)",
)
# Rounded, because the last bits of a logarithm differ between machines.
QUALITY = f"round({' '.join(TERMS)}, 2) desc"
RANK = "copy_rank asc"
PREFER = (WORSE, PIXELS, QUALITY, "bytes desc")
# The groups of signals that the order reads.
GROUPS = frozenset(
    ("file", "tone", "detail", "colour", "sharpness", "compression", "layout", "resampling")
)
# The signals that the order reads.
COLUMNS = (
    *("width", "height", "bytes", "bytes_over_expected", "mode", "entropy", "cast"),
    *("border_left", "border_top", "border_right", "border_bottom", "luma_p1", "luma_p99"),
    *("upscaling", "high_frequency_share", "laplacian_variance", "luma_std", "colourfulness"),
    *("cast_factor", "blockiness", "edge_width", "clipped_share", "resampling"),
)
# Numbers that `compare` takes from the order and the signals: name -> SQL.
MEASURES = {
    "worse": f"CAST({WORSE.removesuffix(' asc')} AS DOUBLE)",
    "quality": f"CAST({QUALITY.removesuffix(' desc')} AS DOUBLE)",
    "blocks": "CAST(blockiness AS DOUBLE)",
    "traces": "CAST(resampling AS DOUBLE)",
}
