"""From noise to pictures.

| module | what it holds |
|---|---|
| `solver` | the sigmas at which a run asks the model, and the step after each answer |
| `sample` | a whole run, with guidance: latents, images, grids |
| `pictures` | PNGs that say how they were made, and grids of them |
| `draw` | pictures from a checkpoint or a pipeline, as files: `nucleus sample` |

Its rule: a picture follows from its prompt, its seed and the settings. What else is in its batch
changes rounding alone.
"""
