"""Sampling: from noise to pictures.

| module | contents |
|---|---|
| `solver` | the sigmas at which the model is evaluated, and the update after each |
| `sample` | the whole sampling loop, with guidance: latents, images, grids |
| `pictures` | writes PNGs with their parameters, and grids of them |
| `draw` | draws pictures from a checkpoint or a pipeline to files: `nucleus sample` |

A picture depends on its prompt, its seed and the settings only. The rest of its batch changes
nothing but rounding.
"""
