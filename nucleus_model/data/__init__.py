"""A training set as batches: which samples a step takes, their images, latents and captions.

| module | what it holds |
|---|---|
| `loader`, `samples` | a published set at one resolution, from its indexes; samples, buckets |
| `tables`, `places` | what lies beside the tars, read once; where each picture lies in its tar |
| `local_files`, `arrow_files`, `reads` | local copies, mapped into memory; time-outs |
| `chosen`, `view` | what is trained on and held out; how often an epoch has each sample |
| `plans`, `batches` | which samples each batch has, from any place in a run on |
| `exact`, `exact_batches` | the order by a hash of every id |
| `streams`, `interleave`, `stream_batches` | the order by streams over the tars, for large sets |
| `draws`, `captions` | draws by number or by id; which caption a sample is trained with |
| `feed`, `workers`, `worker`, `reader` | batches, read and decoded here or in processes ahead |
| `latents`, `ahead`, `phase_data` | a phase's batches as a step takes them, encoded |
| `kept` | what the runs of one process share: opened sets, latents, the text encoder |

Its rule: an order or a draw is a function of seed, epoch and record id, or of the manifest's
counts. Neither the number of processes nor that of workers has a say. Nothing is unpickled; what a
worker imports (`worker`, `reader` and below) is free of torch.
"""
