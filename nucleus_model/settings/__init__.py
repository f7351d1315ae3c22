"""Every setting of a training, and what follows from settings and record ids alone.

| module | what it holds |
|---|---|
| `settings` | `QuickTrainSettings`: each key with its default, bounds and sentence |
| `text_encoder`, `loading` | the settings of its text encoder, and of how the set is read |
| `phases` | what may change between stretches of steps |
| `schedule` | learning rate, timestep shift and weights of a merge, by step or count |
| `choice` | which samples are trained on, and which are held out |
| `presets` | sizes of the transformer, as data |
| `config` | the transformer's configuration under diffusers' keys |

Its rule: no torch and no file, so that a recipe is checked and a dry run counted anywhere. A field
that changes how the work is done, and no value of it, says so itself: `KEEPS_VALUES`.
"""
