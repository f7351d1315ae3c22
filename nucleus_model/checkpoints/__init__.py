"""Weights on disk: checkpoints, what a killed run goes on from, merges, diffusers' layout.

| module | what it holds |
|---|---|
| `checkpoint` | a checkpoint's files; a folder that is there whole or not at all |
| `resume` | the checkpoints of one run; optimizer state and position, kept and restored |
| `lineage` | whether checkpoints are of one run, or of its extension |
| `merge` | the weighted mean of several checkpoints |
| `exchange` | to and from the folder that diffusers' pipeline runs on |
| `tower` | the text encoder, so that the pipeline finds the right states |
| `card` | the model card beside it, with a call that draws |
| `saved` | a checkpoint or a pipeline, loaded with its text encoder and codec |
| `export` | a checkpoint as a pipeline's folder: `nucleus export-model` |

Its rule: equal runs write equal bytes, a folder is renamed into place once all of it is on the
disk, and nothing is pickled.
"""
