"""What the tests of nucleus_model share: small sets, a tiny text tower, transformers and inputs."""

import io
import struct
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from nucleus_data.corpus.store import Store
from nucleus_data.sets.layout import SetFolder
from tests.support import sets

TOLERANCE = 1e-5  # largest difference over largest value, of each tensor
COLORS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220), "black": (0, 0, 0)}
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}{{ c.text }}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass
class Item:
    """One sample: its id comes from its number; the image is one colour unless given."""

    number: int
    bucket: tuple[int, int] = (64, 64)
    captions: list[str] = field(default_factory=lambda: ["red", "a red square"])
    image: bytes | None = None
    suffix: str = "png"
    crop: list[int] | None = None

    @property
    def id(self) -> str:
        return f"{self.number:032x}"


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def flat(color: str, width: int = 64, height: int = 64) -> bytes:
    return png(np.broadcast_to(np.array(COLORS[color]), (height, width, 3)))


def numbered(data: bytes, number: int) -> bytes:
    """A PNG whose bytes are its own, with a comment behind its header; its pixels are the same."""
    chunk = b"tEXtnumber\0%d" % number
    head = 8 + 25  # the signature, and the header's chunk
    size, check = len(chunk) - 4, zlib.crc32(chunk)
    return data[:head] + size.to_bytes(4) + chunk + check.to_bytes(4) + data[head:]


def colored_items(count: int, bucket: tuple[int, int] = (64, 64), first: int = 0) -> list[Item]:
    names = list(COLORS)
    return [
        Item(
            number,
            bucket,
            [names[number % 4], f"a {names[number % 4]} square"],
            numbered(flat(names[number % 4], *bucket), number),
        )
        for number in range(first, first + count)
    ]


def write_set(folder: Path, items: list[Item], *, resolution: int = 64, tar_size: int = 7) -> Path:
    """Publishes a set of these items, by bucket, with one edition: their captions."""
    return write_sides(folder, {resolution: items}, tar_size)


def write_sides(folder: Path, sides: dict[int, list[Item]], tar_size: int = 7) -> Path:
    """Publishes a set of the items of each resolution."""
    made, rows, captions = SetFolder(Store(str(folder))), [], {}
    for resolution, items in sides.items():
        buckets: dict[tuple[int, int], list[Item]] = defaultdict(list)
        for item in items:
            buckets[item.bucket].append(item)
            captions[item.number] = item.captions
        for bucket, found in buckets.items():
            for number, start in enumerate(range(0, len(found), tar_size)):
                samples = [made_of(item) for item in found[start : start + tar_size]]
                aspect = f"{bucket[0]}x{bucket[1]}"
                path = f"{resolution}/{aspect}/{number:06d}.tar"
                rows.append(sets.add_tar(made, path, resolution, aspect, bucket, samples))

    def said(shard: int, row: int) -> tuple[list[str], list[str]]:
        mine = captions[10 * shard + row]
        return mine, ["synthesized"] * len(mine)

    sets.add_edition(made, rows, say=said)
    made.publish(rows)
    return folder


def made_of(item: Item) -> sets.Made:
    """An item as a stored sample; a picture of another size than the bucket's is an original."""
    data = item.image or flat("red", *item.bucket)
    # A PNG's sides stand behind its signature and the name of its first chunk.
    size = struct.unpack(">II", data[16:24]) if data[:4] == b"\x89PNG" else item.bucket
    return sets.Made(
        item.number, data, size, key=item.id, crop=item.crop or [0, 0, *size], suffix=item.suffix
    )


def write_qwen(folder: Path, layers: int = 2, *, processor: bool = False) -> Path:
    """A Qwen3-VL of random weights (32 wide) with a byte-level tokenizer, and its processor."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Qwen2TokenizerFast, Qwen3VLConfig, Qwen3VLForConditionalGeneration

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        ["a red square"],
        trainers.BpeTrainer(
            vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer = Qwen2TokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token=None,
        extra_special_tokens=SPECIAL,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": layers,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "max_position_embeddings": 1024,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
                "rope_theta": 5e6,
            },
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 32,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        Qwen3VLForConditionalGeneration(config).save_pretrained(folder)
    if processor:
        write_processor(folder, tokenizer)
    else:
        tokenizer.save_pretrained(folder)
    return folder


def write_processor(folder: Path, tokenizer) -> None:
    """The tokenizer with what prepares pictures, though no test shows one."""
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    images = Qwen2VLImageProcessor(
        patch_size=16,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": 1024, "longest_edge": 65536},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    videos = Qwen3VLVideoProcessor(patch_size=16, merge_size=2, temporal_patch_size=2)
    Qwen3VLProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        video_processor=videos,
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)


def write_vae(folder: Path) -> Path:
    """A Qwen-Image VAE of random weights: 4 latent channels, factor 8, 0.1 M parameters."""
    import torch
    from diffusers import AutoencoderKLQwenImage

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            latents_mean=[0.1, -0.2, 0.3, 0.0],
            latents_std=[1.5, 0.5, 2.0, 1.0],
        ).save_pretrained(folder)
    return folder


def awake_model(latent_channels: int = 12, text_width: int = 32, preset: str = "debug"):
    """A transformer whose zero-initialised parts are random too, so that every part matters."""
    import torch

    from nucleus_model.network.init import build_transformer
    from nucleus_model.settings.presets import PRESETS

    model = build_transformer(
        PRESETS[preset], latent_channels=latent_channels, text_width=text_width, seed=1
    )
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


def random_config(**changes):
    """A small configuration: two blocks, the second with experts, grouped queries."""
    from nucleus_model.settings.config import TransformerConfig

    values = {
        "patch_size": 2,
        "in_channels": 16,
        "out_channels": 4,
        "num_layers": 2,
        "attention_head_dim": 16,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "joint_attention_dim": 32,
        "axes_dims_rope": (4, 6, 6),
        "mlp_ratio": 4.0,
        "moe_enabled": True,
        "dense_moe_strategy": "leave_first_block_dense",
        "num_experts": 8,
        "moe_intermediate_dim": 24,
        "capacity_factors": 2.0,
        "use_sigmoid": False,
        "route_scale": 2.5,
    }
    return TransformerConfig.model_validate(values | changes)


def random_model(config=None, seed: int = 1):
    """A transformer whose every parameter is random, norms and biases too: each part matters."""
    import torch

    from nucleus_model.network.transformer import NucleusTransformer

    model = NucleusTransformer(config or random_config())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            scale = {
                1: 0.5,
                2: parameter.shape[-1] ** -0.5,
                3: parameter.shape[1 % parameter.ndim] ** -0.5,
            }
            parameter.copy_(drawn * scale[parameter.ndim] + (0.5 if parameter.ndim == 1 else 0))
    return model


def published(model):
    """diffusers' own class with the weights of one of ours."""
    from diffusers import NucleusMoEImageTransformer2DModel

    reference = NucleusMoEImageTransformer2DModel(**model.config.model_dump(mode="json"))
    reference.load_state_dict(model.state_dict(), strict=True)
    return reference


def inputs(config, grid=(3, 5), lengths=(9, 4, 6)):
    """Random inputs of a transformer: tokens, text states and mask, sigmas, weights of a loss."""
    import torch

    generator = torch.Generator().manual_seed(3)
    batch, length = len(lengths), max(lengths)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    return {
        "tokens": randn(batch, grid[0] * grid[1], config.in_channels).requires_grad_(),
        "states": randn(batch, length, config.joint_attention_dim).requires_grad_(),
        "mask": torch.arange(length)[None] < torch.tensor(lengths)[:, None],
        "sigma": torch.rand(batch, generator=generator),
        "weights": randn(batch, grid[0] * grid[1], 4 * config.out_channels),
        "grid": grid,
    }


def ours(model, given, rows=slice(None)):
    """What our transformer answers to some rows of the inputs."""
    text = model.encode_text(given["states"][rows], given["mask"][rows], given["grid"])
    return model(given["tokens"][rows], given["sigma"][rows], text, given["grid"]).tokens_BSP


def theirs(reference, given):
    """What diffusers' transformer answers to the inputs."""
    return reference(
        hidden_states=given["tokens"],
        img_shapes=[(1, *given["grid"])],
        encoder_hidden_states=given["states"],
        encoder_hidden_states_mask=given["mask"],
        timestep=given["sigma"],
        return_dict=False,
    )[0]


def difference(found, wanted):
    """Largest difference over largest value."""
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


def same_weights(one, other):
    """Whether two models have the same tensors under the same names, in the same order."""
    import torch

    left, right = one.state_dict(), other.state_dict()
    return list(left) == list(right) and all(torch.equal(left[name], right[name]) for name in left)


def routed(model, given):
    """What each router of our transformer did with the inputs, by the block's number."""
    text = model.encode_text(given["states"], given["mask"], given["grid"])
    return model(given["tokens"], given["sigma"], text, given["grid"], with_routing=True).routing


def write_sentence_encoder(folder: Path, kind: str = "bert", layers: int = 2) -> Path:
    """A sentence encoder of random weights (32 wide, 40 positions) that knows some words.

    Args:
        folder: Where it goes.
        kind: `bert`, or `xlm-roberta`, whose positions begin behind the padding's.
        layers: Of its encoder.
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        BertConfig,
        BertModel,
        PreTrainedTokenizerFast,
        XLMRobertaConfig,
        XLMRobertaModel,
    )

    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "red", "square", "cat", "##s"]
    found = Tokenizer(models.WordPiece({w: n for n, w in enumerate(words)}, unk_token="[UNK]"))
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=found,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
    )
    config, model = {
        "bert": (BertConfig, BertModel),
        "xlm-roberta": (XLMRobertaConfig, XLMRobertaModel),
    }[kind]
    torch.manual_seed(0)
    whole = model(
        config(
            vocab_size=len(words),
            hidden_size=32,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=40,
            pad_token_id=0,
        )
    )
    whole.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
