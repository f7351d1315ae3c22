"""Frozen models on both sides of the transformer: pixels to latents and back, prompts to states.

| module | contents |
|---|---|
| `codec` | the protocol of a codec; whitened space-to-depth, which needs no weights |
| `vae` | a Qwen-Image VAE as a codec |
| `text` | the text encoder: a frozen language tower, with a cache |
| `towers` | loads the language towers of Qwen3-VL and of sentence encoders |
| `cache` | a cache that is bounded in bytes |
| `load` | loads the codec and the text encoder that the settings name |

Each image and each prompt is encoded independently, so latents and text states depend on nothing
else and can be cached by key. Nothing here is trained.
"""
