"""Every setting of a training, and what is computed from settings and record ids alone.

| module | contents |
|---|---|
| `settings` | `QuickTrainSettings`: each key with its default, bounds and description |
| `text_encoder`, `loading` | settings of the text encoder, and of how the set is read |
| `phases` | settings that can change during a training |
| `schedule` | learning rate, timestep shift, and weights of a merge |
| `choice` | chooses the samples to train on and the held-out ones |
| `encoded` | config hashes of stored latents and text states |
| `presets` | sizes of the transformer, as data |
| `config` | the transformer's configuration, with diffusers' keys |
| `verdict` | settings of a comparison of two sets |

Nothing here needs torch or reads a training set, so that recipes can be checked, and dry runs
counted, on any machine. Fields that change how the work is done but no result are marked
`KEEPS_VALUES`.
"""
