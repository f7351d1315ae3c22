"""Writes the model card of an exported pipeline, with example calls for diffusers and `nucleus`."""

from collections.abc import Mapping
from typing import Any

import torch

from nucleus_data.sets.buckets import bucket_size

CARD = "README.md"
PUBLISHED_RESOLUTION = 1024
TEXT = """\
---
library_name: diffusers
pipeline_tag: text-to-image
---

# {name}

A `NucleusMoEImagePipeline`, written by `nucleus export-model`. {about}

In this folder (`"."`), or with the path of it from elsewhere:

```python
import torch
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained(".", dtype={dtype})
image = pipe(
    prompt="a red square",
    width={width},
    height={height},
    num_inference_steps=50,
    guidance_scale=4.0,
    generator=torch.Generator().manual_seed(0),{arguments}
).images[0]
image.save("a red square.png")
```

The same picture, but for rounding:

```sh
nucleus sample . "a red square" --width {width} --height {height} --steps 50 --guidance 4 --seed 0
```

Sides must be multiples of {multiple} pixels; it was trained at about {resolution} x {resolution}.
"""


def card(
    name: str,
    about: str,
    arguments: Mapping[str, Any],
    resolution: int | None,
    multiple: int,
    dtype: torch.dtype | None,
) -> str:
    """Returns the card, as Markdown.

    Args:
        name: Name of the model.
        about: A sentence on the model's origin; may be empty.
        arguments: Further arguments of the pipeline's call.
        resolution: Side, in pixels, of a square with the area of the training images; None for that
            of the published model.
        multiple: Number of pixels that a picture's sides must be multiples of.
        dtype: The transformer's precision; None for float32.
    """
    side = resolution or PUBLISHED_RESOLUTION
    width, height = bucket_size(side, "1x1", multiple)
    return TEXT.format(
        name=name,
        about=about,
        dtype=dtype or torch.float32,
        width=width,
        height=height,
        arguments="".join(f"\n    {key}={value!r}," for key, value in arguments.items()),
        multiple=multiple,
        resolution=side,
    )
