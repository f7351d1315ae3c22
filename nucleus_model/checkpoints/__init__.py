"""Weights on disk: checkpoints, what a killed run goes on from, merges, diffusers' layout.

| module | what it holds |
|---|---|
| `checkpoint` | a checkpoint's files; a folder that is there whole or not at all |
| `resume` | the checkpoints of one run; optimizer state and position, kept and restored |
| `merge` | the weighted mean of several checkpoints |
| `exchange` | to and from the folder that diffusers' pipeline runs on |
| `saved` | a checkpoint or a pipeline, loaded with its text encoder and codec |
| `export` | a checkpoint as a pipeline's folder: `nucleus export-model` |

Its rule: equal runs write equal bytes, a folder is renamed into place once all of it is on the
disk, and nothing is pickled.
"""
