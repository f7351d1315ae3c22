"""The packaged CLIP in plain torch: open_clip itself takes seconds to import."""

import json

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from nucleus_data.engines.find import ASSETS


class PlainClip:
    """Pictures and texts to unit vectors, many at once."""

    def __init__(self) -> None:
        folder = ASSETS / "clip"
        loaded = load_file(folder / "open_clip_model.safetensors")
        self.weights = {name: tensor.float() for name, tensor in loaded.items()}
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_padding(pad_id=0)
        config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
        self.vision, self.text = config["vision_cfg"], config["text_cfg"]

    def images(self, pictures: list[Image.Image]) -> Tensor:
        """(N, D)."""
        w, vision = self.weights, self.vision
        side = (vision["image_size"],) * 2
        small = np.stack([p.resize(side, Image.Resampling.BICUBIC) for p in pictures])
        pixels = torch.from_numpy(small).movedim(-1, 1) / 127.5 - 1
        kernel = w["visual.conv1.weight"]
        patches = F.conv2d(pixels, kernel, stride=vision["patch_size"]).flatten(2)
        first = w["visual.class_embedding"].expand(len(pictures), 1, -1)
        x = torch.cat([first, patches.mT], 1) + w["visual.positional_embedding"]
        x = self._norm("visual.ln_pre", x)
        x = self._blocks("visual.", x, vision["width"] // vision["head_width"], causal=False)
        return F.normalize(self._norm("visual.ln_post", x[:, 0]) @ w["visual.proj"], dim=-1)

    def texts(self, texts: list[str]) -> Tensor:
        """(N, D)."""
        w, text = self.weights, self.text
        ids = torch.tensor([found.ids for found in self.tokenizer.encode_batch(texts)])
        x = w["token_embedding.weight"][ids] + w["positional_embedding"][: ids.shape[1]]
        x = self._norm("ln_final", self._blocks("", x, text["heads"], causal=True))
        ends = (ids == text["eos_id"]).int().argmax(1)
        return F.normalize(x[torch.arange(len(ids)), ends] @ w["text_projection"], dim=-1)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight = self.weights[f"{name}.weight"]
        return F.layer_norm(x, weight.shape, weight, self.weights[f"{name}.bias"])

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.weights[f"{name}weight"], self.weights[f"{name}bias"])

    def _blocks(self, tower: str, x: Tensor, heads: int, *, causal: bool) -> Tensor:
        number = 0
        while f"{tower}transformer.resblocks.{number}.ln_1.weight" in self.weights:
            block = f"{tower}transformer.resblocks.{number}"
            joined = self._linear(f"{block}.attn.in_proj_", self._norm(f"{block}.ln_1", x))
            q, k, v = (
                part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in joined.chunk(3, -1)
            )
            seen = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
            x = x + self._linear(f"{block}.attn.out_proj.", seen.transpose(1, 2).flatten(2))
            inner = self._linear(f"{block}.mlp.c_fc.", self._norm(f"{block}.ln_2", x))
            x = x + self._linear(f"{block}.mlp.c_proj.", F.gelu(inner))
            number += 1
        return x
