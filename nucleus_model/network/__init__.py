"""The transformer, its training objective, and its distribution over processes.

| module | contents |
|---|---|
| `transformer` | the whole model, with the legend of tensor shapes |
| `attention` | image queries over keys and values of image and text |
| `moe` | dense feed-forward layers, and experts that choose their tokens |
| `rope` | rotary positions of image and text |
| `memory` | reuses the memory of the experts' gradients |
| `init` | builds a transformer, with an initialisation rule for every parameter |
| `flow` | rectified flow: packing, velocity, loss, keyed sigmas and noise |
| `size` | counts of parameters and tokens, without weights |
| `distributed` | one process, or many under torchrun with FSDP2 |

Parameter names, shapes and values are those of diffusers' `NucleusMoEImageTransformer2DModel`;
`tests/nucleus_model/network/test_parity.py` compares the two. The room knows nothing of training
sets, and reads no files except the configurations that `size` needs.
"""
