"""A training set as batches: which samples a step takes, their images, latents and captions.

| module | what it holds |
|---|---|
| `loader` | a published set: its samples, checked, and their images, decoded |
| `latents` | a set's images through the codec, each encoded once while there is room |
| `feed` | which samples and captions each step takes, from any place in a run on |
| `phase_data` | the set at each phase's resolution, split into trained and held-out samples |

Its rule: an order or a draw is a function of seed, epoch and record id. Neither the order of the
tars nor the number of processes has a say. Nothing is unpickled.
"""
