"""Weights on disk: checkpoints, resuming, merging, and the layout of diffusers.

| module | contents |
|---|---|
| `checkpoint` | a checkpoint's files; writes folders atomically |
| `resume` | the checkpoints of one run; saves and restores optimizer state and position |
| `lineage` | decides whether checkpoints belong to the same run, or to its extension |
| `merge` | the weighted mean of several checkpoints |
| `exchange` | writes and reads folders of diffusers' pipeline |
| `tower` | adapts the text encoder, so that the pipeline uses the right hidden state |
| `card` | the model card of such a folder, with an example call |
| `saved` | loads a checkpoint or a pipeline with its text encoder and codec |
| `export` | writes a checkpoint as a pipeline: `nucleus export-model` |

Equal runs write equal bytes. A folder is renamed into place once all its files are synced to disk.
Nothing is pickled.
"""
