"""Frozen models on both sides of the transformer: pixels to latents and back, prompts to states.

| module | what it holds |
|---|---|
| `codec` | what a codec is; whitened space-to-depth, which needs no weights |
| `vae` | a Qwen-Image VAE as a codec |
| `text` | the language tower of a Qwen3-VL as text encoder |
| `cache` | values made before, as long as there is room for them |
| `load` | the codec and the text encoder that settings name |

Its rule: each image and each prompt is encoded by itself, so a latent or a state depends on nothing
else, and may be cached by its key. Nothing here is trained.
"""
