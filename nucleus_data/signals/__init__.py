"""Cheap signals: numbers about one picture, measured once by the stage `inspect`.

A group is one small module with a `group: SignalGroup`. Your own is a module in your own package,
named in the configuration as `package.module` or `package.module:attribute`:

    def measure(picture, filename):
        return {"red": float(picture.small[:, :, 0].mean())}

    schema = pa.schema([("red", pa.float32())])
    group = SignalGroup("red", version=1, schema=schema, measure=measure)

| group | view | signals |
|---|---|---|
| `file` | header | format, size, mode, frames, orientation, profile, alpha, a missing end |
| `tone` | small | brightness, contrast, clipping, entropy, saturation |
| `detail` | luma_full | Laplacian variance, share of high frequencies |
| `hash` | small | 64-bit perceptual hash, 256-bit DCT hash |
| `colour` | small | percentiles of luma, cast, colourfulness, dominant colour |
| `sharpness` | luma_full | width of the sharpest edges, signs of enlarging |
| `compression` | header, luma_full | JPEG quality, blockiness, bytes over those expected |
| `layout` | luma_full, small | borders, seams of collages, repetition |
| `resampling` | luma_full | the rhythm that enlarging leaves in the pixels |
| `canonical` | luma_full, small | `hash` inside borders, whichever way turned; not a default |
"""

from nucleus_data.signals.group import SignalGroup, is_built_in, load_group

__all__ = ["SignalGroup", "is_built_in", "load_group"]
