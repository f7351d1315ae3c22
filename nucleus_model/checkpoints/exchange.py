"""Writes and reads models in the layout of diffusers, as folders that its pipeline can load.

    arguments = save_pipeline(Path("out"), model, TextSettings(), vae="nano")
    image = NucleusMoEImagePipeline.from_pretrained("out")("a red square", **arguments).images[0]

    saved = load_saved(Path("out"))   # from `nucleus_model.checkpoints.saved`

The folder contains `model_index.json`, `transformer/`, `scheduler/`, `text_encoder/`, `processor/`,
`vae/`, and the model card as `README.md`.

The pipeline has a system prompt of its own, and uses the hidden state -8. If a model was trained
with another system prompt, the saved chat template inserts that one; if with another hidden state,
the text encoder is changed so that the state is at -8 (module `tower`). Its maximum number of
tokens has to be an argument of the pipeline's call. `save_pipeline` returns such arguments, and
stores them in `nucleus.json`, together with other facts for which diffusers has no place.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nucleus_data.engines.find import NANO, TEXT_ENCODER, VAE, resolve_model
from nucleus_data.errors import RequestError
from nucleus_model.checkpoints.card import CARD, card
from nucleus_model.checkpoints.checkpoint import whole_folder
from nucleus_model.checkpoints.tower import (
    DEFAULT_STATE,
    published_prompt,
    put_at_default,
    with_system_prompt,
)
from nucleus_model.encoders.towers import QWEN, tokenizer_place, without_bars
from nucleus_model.network.transformer import NucleusTransformer
from nucleus_model.settings.config import CLASS_NAME, TransformerConfig
from nucleus_model.settings.text_encoder import TextSettings

WEIGHTS = "diffusion_pytorch_model"
INDEX = f"{WEIGHTS}.safetensors.index.json"
SHARD_BYTES = 5 << 30
DIFFUSERS = "0.42.1"
NOTES = "nucleus.json"
COMPONENTS = {
    "processor": ("transformers", "Qwen3VLProcessor"),
    "scheduler": ("diffusers", "FlowMatchEulerDiscreteScheduler"),
    "text_encoder": ("transformers", "Qwen3VLForConditionalGeneration"),
    "transformer": ("diffusers", CLASS_NAME),
    "vae": ("diffusers", "AutoencoderKLQwenImage"),
}


def save_transformer(
    folder: Path,
    model: NucleusTransformer,
    *,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes `config.json` and the weights in the format of diffusers' class.

    Args:
        folder: The folder to write; an existing one is replaced.
        model: The transformer.
        dtype: Precision of the weights; None for the model's own.
        shard_bytes: Maximum size of a file of weights, in bytes. Several files get an index. A
            tensor is never split.
    """
    tensors = {
        name: tensor.detach().to("cpu", dtype or tensor.dtype).contiguous()
        for name, tensor in model.state_dict().items()
    }
    with whole_folder(folder) as hidden:
        _write_json(
            hidden / "config.json",
            {
                "_class_name": CLASS_NAME,
                "_diffusers_version": DIFFUSERS,
                **model.config.model_dump(mode="json"),
            },
        )
        _write_shards(hidden, tensors, shard_bytes)


def load_transformer(folder: Path, dtype: torch.dtype | None = None) -> NucleusTransformer:
    """Loads the transformer of a pipeline, on the CPU.

    Args:
        folder: The pipeline's folder or its subfolder `transformer`, written by diffusers or
            `save_transformer`.
        dtype: Precision to convert the weights to; None for that of the files.

    Raises:
        FileNotFoundError: There is no transformer.
        ValueError: It is of another class, or weights are missing, unexpected or of another shape.
    """
    from safetensors.torch import load_file

    if (folder / "transformer").is_dir():
        folder = folder / "transformer"
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if content.get("_class_name", CLASS_NAME) != CLASS_NAME:
        raise ValueError(f"{folder} must hold a {CLASS_NAME!r}, got a {content['_class_name']!r}")
    # Keys with a leading underscore are metadata of diffusers, such as its version.
    config = {key: value for key, value in content.items() if not key.startswith("_")}
    with torch.device("meta"):
        model = NucleusTransformer(TransformerConfig.model_validate(config))
    files = [f"{WEIGHTS}.safetensors"]
    if (folder / INDEX).exists():
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        files = sorted(set(index["weight_map"].values()))
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        for name, tensor in load_file(folder / file).items():
            tensors[name] = tensor if dtype is None else tensor.to(dtype)
    try:
        model.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{folder}: the weights do not match config.json: {error}") from error
    return model.eval()


def save_pipeline(
    folder: Path,
    model: NucleusTransformer,
    text: TextSettings,
    vae: str = NANO,
    vae_revision: str | None = None,
    *,
    resolution: int | None = None,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
    about: str = "",
) -> dict[str, Any]:
    """Writes a folder that `NucleusMoEImagePipeline.from_pretrained` can load.

    Args:
        folder: The folder to write; an existing one is replaced.
        model: The transformer.
        text: The text encoder that it was trained with.
        vae: The VAE that it was trained with: `nano`, a folder or a hub name.
        vae_revision: Revision, for a hub name.
        resolution: Side, in pixels, of a square with the area of the training images; it is stored
            in `nucleus.json` and in the card.
        dtype: Precision of the transformer; None for its own. The other models keep theirs.
        shard_bytes: Maximum size of a file of the transformer's weights, in bytes.
        about: A sentence for the card, on the model's origin.

    Returns:
        Arguments for the pipeline's call; empty if the text settings are the published ones.

    Raises:
        RequestError: The text encoder or the VAE does not exist, or the text encoder is of a type
            that the pipeline can't use.
        ValueError: The VAE's number of channels is not the transformer's.
    """
    from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler
    from transformers import AutoConfig, Qwen3VLForConditionalGeneration, Qwen3VLProcessor

    vae_reference = resolve_model(vae, vae_revision, VAE)
    options = vae_reference.options() | ({} if vae_reference.local else {"subfolder": "vae"})
    decoder: Any = AutoencoderKLQwenImage.from_pretrained(
        vae_reference.location, use_safetensors=True, low_cpu_mem_usage=False, **options
    )
    if decoder.config.z_dim != model.config.out_channels:
        raise ValueError(
            f"the VAE has {decoder.config.z_dim} latent channels, but the transformer has "
            f"{model.config.out_channels}; give the VAE that it was trained with"
        )
    encoder = resolve_model(text.model, text.revision, TEXT_ENCODER)
    kind = AutoConfig.from_pretrained(encoder.location, **encoder.options()).model_type
    if kind != QWEN:
        raise RequestError(
            f"{TEXT_ENCODER.key}: {encoder.name} is a {kind!r}, but diffusers' pipeline needs a "
            f"{QWEN!r}; a model trained with another text encoder can't be exported as a pipeline"
        )
    processor: Any = Qwen3VLProcessor.from_pretrained(
        tokenizer_place(encoder.location), **encoder.options()
    )
    processor.tokenizer.padding_side = "right"  # left padding would shift the rotary positions
    processor.chat_template = with_system_prompt(processor.chat_template, text.system_prompt)
    scheduler: Any = FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000, shift=1.0, use_dynamic_shifting=False
    )
    with without_bars():
        tower: Any = Qwen3VLForConditionalGeneration.from_pretrained(
            encoder.location, use_safetensors=True, dtype="auto", **encoder.options()
        )
    text = text.model_copy(update={"hidden_state": put_at_default(tower, text.hidden_state)})
    # Arguments equal to the pipeline's defaults are left out, so that a model with the published
    # settings needs none.
    arguments = _call_arguments(text, folder)
    with whole_folder(folder) as hidden:
        save_transformer(hidden / "transformer", model, dtype=dtype, shard_bytes=shard_bytes)
        scheduler.save_pretrained(hidden / "scheduler")
        decoder.save_pretrained(hidden / "vae")
        processor.save_pretrained(hidden / "processor")
        with without_bars():
            tower.save_pretrained(hidden / "text_encoder")
        _write_json(
            hidden / "model_index.json",
            {
                "_class_name": "NucleusMoEImagePipeline",
                "_diffusers_version": DIFFUSERS,
                **{name: list(where) for name, where in COMPONENTS.items()},
            },
        )
        kept = {"hidden_state", "max_tokens", "system_prompt"}
        _write_json(
            hidden / NOTES,
            {"call": arguments, "resolution": resolution, "text": text.model_dump(include=kept)},
        )
        multiple = 2 ** len(decoder.config.temperal_downsample) * model.config.patch_size
        text_of_card = card(folder.resolve().name, about, arguments, resolution, multiple, dtype)
        (hidden / CARD).write_text(text_of_card, encoding="utf-8")
    return arguments


def read_notes(folder: Path) -> tuple[TextSettings, int | None]:
    """Reads the text settings of a pipeline, and the resolution of its training.

    Args:
        folder: The pipeline's folder. One that was not written by `save_pipeline` has the published
            text settings.

    Returns:
        The text settings, and the resolution's side in pixels; None if it is unknown.
    """
    settings = pipeline_text(folder)
    if not (folder / NOTES).is_file():
        return settings, None
    notes = json.loads((folder / NOTES).read_text(encoding="utf-8"))
    content = settings.model_dump() | notes["text"]
    return TextSettings.model_validate(content), notes.get("resolution")


def pipeline_text(folder: Path) -> TextSettings:
    """Returns the text settings of diffusers' pipeline, with the text encoder of a folder.

    Args:
        folder: The pipeline's folder.
    """
    return TextSettings(
        model=str(folder / "text_encoder"),
        hidden_state=DEFAULT_STATE,
        max_tokens=1024,
        system_prompt=published_prompt(),
    )


def _call_arguments(text: TextSettings, folder: Path) -> dict[str, Any]:
    published = pipeline_text(folder)
    arguments = {"return_index": "hidden_state", "max_sequence_length": "max_tokens"}
    return {
        argument: getattr(text, field)
        for argument, field in arguments.items()
        if getattr(text, field) != getattr(published, field)
    }


def _write_shards(folder: Path, tensors: Mapping[str, torch.Tensor], limit: int) -> None:
    from safetensors.torch import save_file

    # The names of files and index are those that diffusers' from_pretrained expects.
    shards: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > limit:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    metadata = {"format": "pt"}
    if len(shards) == 1:
        save_file(shards[0], folder / f"{WEIGHTS}.safetensors", metadata)
        return
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file = f"{WEIGHTS}-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / file, metadata)
        places |= dict.fromkeys(shard, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": places})


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    file.write_text(text, encoding="utf-8")
