"""Cheap signals: numbers about one picture, computed once by the stage `inspect`.

A group of signals is a small module with a `group: SignalGroup`. To add your own, write a module in
your package, and name it in the configuration as `package.module` or `package.module:attribute`:

    def measure(picture, filename):
        return {"red": float(picture.small[:, :, 0].mean())}

    schema = pa.schema([("red", pa.float32())])
    group = SignalGroup("red", version=1, schema=schema, measure=measure)

| group | view | signals |
|---|---|---|
| `file` | header | format, size, mode, frames, orientation, profile, alpha, truncation |
| `tone` | small | brightness, contrast, clipping, entropy, saturation |
| `detail` | luma_full | Laplacian variance, share of high frequencies |
| `hash` | small | 64-bit perceptual hash, 256-bit DCT hash |
| `colour` | small | percentiles of luma, cast, colourfulness, dominant colour |
| `sharpness` | luma_full | width of the sharpest edges, signs of enlarging |
| `compression` | header, luma_full | JPEG quality, blockiness, file size over that expected |
| `layout` | luma_full, small | borders, seams of collages, repetition |
| `resampling` | luma_full | periodic traces of enlarging |
| `canonical` | luma_full, small | `hash` without borders, in any orientation; not a default |
"""

from nucleus_data.signals.group import SignalGroup, is_built_in, load_group

__all__ = ["SignalGroup", "is_built_in", "load_group"]
