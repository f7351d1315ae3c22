"""A training set as batches: which samples a step takes, their images, latents and captions.

| module | what it holds |
|---|---|
| `loader`, `samples` | a published set at one resolution, from its indexes; samples, buckets |
| `tables`, `places` | what lies beside the tars, read once; where each picture lies in its tar |
| `local_files`, `arrow_files`, `reads` | local copies, memory-mapped; time-outs |
| `chosen`, `view` | what is trained on and held out; how often an epoch has each sample |
| `plans`, `batches` | which samples each batch has, from any position in a run |
| `exact`, `exact_batches` | the exact shuffle, by a hash of every id |
| `streams`, `interleave`, `stream_batches` | the order by streams over the tars, for large sets |
| `draws`, `captions` | random draws by number or id; which caption a sample is trained with |
| `feed`, `workers`, `worker`, `reader` | reading and decoding, here or in worker processes |
| `latents`, `ahead`, `phase_data` | a phase's batches, encoded, as a training step takes them |
| `kept` | what the runs of one process share: opened sets, latents, the text encoder |

The rule of this package: every order and every draw is a function of seed, epoch and record id, or
of the manifest's counts. It does not depend on the number of processes or workers. Nothing is
unpickled, and whatever a worker imports (`worker`, `reader` and below) does not import torch.
"""
