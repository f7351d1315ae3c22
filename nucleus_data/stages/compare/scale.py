"""Terms of sizes: whether the finer of two copies has detail that the coarser one lacks."""

import numpy as np
from PIL import Image

from nucleus_data.stages.compare.aligned import Aligned
from nucleus_data.stages.compare.planes import Plane, Terms, laplacian, log_ratio, scaled

R = Image.Resampling
KERNELS = (R.NEAREST, R.BILINEAR, R.BICUBIC, R.LANCZOS)
SAME = 1e-3  # scales whose logarithms differ by less are equal
FLOOR = 0.15
STRETCH = 20  # factor of the logarithm by which one axis is stretched more than the other
NAMES = ("gain_kept", "made_up", "nearest", "beyond_grid", "rolls_off")


def scale_terms(pair: Aligned) -> Terms:
    """Computes the terms of sizes; those in `NAMES` are 0 if both copies have the same scale."""
    across, down = (float(np.log2(density)) for density in pair.density)
    size = (across + down) / 2
    found = {
        "size": size,
        "larger": float(np.sign(round(size, 3))),
        "both_stretch": abs(across - down) * STRETCH,
    }
    if max(abs(across), abs(down)) < SAME:
        return found | dict.fromkeys(NAMES, 0.0)
    large, small = pair.own if size >= 0 else pair.own[::-1]
    sign = 1.0 if size >= 0 else -1.0
    values = dict(zip(NAMES, _enlarged(large, small), strict=True))
    return found | {name: sign * value for name, value in values.items()}


def _enlarged(large: Plane, small: Plane) -> tuple[float, ...]:
    """Measures whether `large` may be an enlargement of `small`; returns the values of `NAMES`."""
    height, width = large.shape
    reduced = scaled(large, small.shape[1], small.shape[0])
    lost = float(np.abs(large - scaled(reduced, width, height)).mean())
    mine, its = reduced - reduced.mean(), small - small.mean()
    gain = float((mine * its).sum() / ((its * its).sum() + 1e-6))
    centred = large - large.mean()
    residuals = []
    for kernel in KERNELS:
        enlarged = scaled(small, width, height, kernel)
        residuals.append(float(np.abs(centred - gain * (enlarged - enlarged.mean())).mean()))
    misfit = float(np.abs(mine - gain * its).mean())
    best = min(residuals)
    return (
        float(np.log2((lost + FLOOR) / 1.5)),
        log_ratio(best, misfit, FLOOR),
        log_ratio(residuals[0], min(residuals[1:]), FLOOR),
        log_ratio(lost, best, FLOOR),
        # Interpolation weakens the highest frequencies of the coarser grid.
        log_ratio(
            float(np.abs(laplacian(mine)).mean()), float(np.abs(laplacian(gain * its)).mean()), 0.3
        ),
    )
