"""Batches of a training set: the order of its samples, their images, latents and captions.

| module | contents |
|---|---|
| `loader`, `samples` | a published set at one resolution; its samples and buckets |
| `tables`, `places` | the tables beside the tars; the position of each picture in its tar |
| `local_files`, `arrow_files`, `reads` | memory-mapped local copies; reads with time-outs |
| `chosen`, `view` | samples to train on and held-out ones; how often an epoch has each |
| `plans`, `batches` | the samples of each batch, from any position in a run |
| `exact`, `exact_batches` | the exact shuffle, by a hash of every id |
| `streams`, `interleave`, `stream_batches` | the order by streams over the tars, for large sets |
| `joint`, `joint_batches` | the common order of two sets that are compared |
| `draws`, `captions` | random draws by number or id; the caption that is drawn for a sample |
| `feed`, `workers`, `worker`, `reader` | reading and decoding, here or in worker processes |
| `stored`, `stored_values`, `latents_ahead` | reading stored latents and text states |
| `latents`, `ahead`, `phase_data` | the encoded batches of a phase, for the training step |
| `kept` | a cache for the runs of a process: opened sets, latents, the text encoder |

Every order and every draw is a function of seed, epoch and record id, or of the manifest's counts,
and does not depend on the number of processes or workers. Nothing is unpickled. Modules that a
worker imports (`worker`, `reader` and those below) do not import torch.
"""
