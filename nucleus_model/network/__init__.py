"""The transformer, what it is trained to say, and how it is spread over processes.

| module | what it holds |
|---|---|
| `transformer` | the whole model, with the legend of tensor shapes |
| `attention` | image queries on keys and values of image and text |
| `moe` | dense feed-forward layers, and experts that choose their tokens |
| `rope` | rotary positions of image and text |
| `memory` | experts' gradients in memory that is used again |
| `init` | a built transformer, every parameter initialised by a rule |
| `flow` | rectified flow: packing, velocity, loss, keyed sigmas and noise |
| `size` | counts of parameters and tokens, without weights |
| `distributed` | one process, or many under torchrun with FSDP2 |

Its rule: parameter names, shapes and values are those of diffusers'
`NucleusMoEImageTransformer2DModel`, which `tests/nucleus_model/network/test_parity.py` compares. It
knows no training set and no file but the configurations that `size` reads.
"""
