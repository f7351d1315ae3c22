"""Loads the language towers that text encoders use.

- `qwen3_vl`: the type of the published text encoder and of the packaged one. It reads the prompt in
  its chat template: a fixed system prompt, one user turn, and the generation prompt.
- `bert`, `roberta`, `xlm-roberta`: sentence encoders such as all-MiniLM, BGE and E5. They are small
  and know natural language, for quick trainings without a GPU. They read the prompt as it is,
  between their special tokens.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nucleus_data.engines.find import TEXT_ENCODER, ModelReference
from nucleus_data.errors import RequestError
from nucleus_model.settings.text_encoder import TextSettings

QWEN = "qwen3_vl"
SENTENCE = ("bert", "roberta", "xlm-roberta")
ALLOWED = (QWEN, *SENTENCE)


@dataclass(frozen=True)
class Tower:
    """A loaded language tower.

    Attributes:
        module: The tower. It is called with `input_ids` and `attention_mask`, both (B, L); its
            `last_hidden_state` (B, L, D) is the configured hidden state.
        tokenizer: The tokenizer of transformers.
        width: Width of a text state, D.
        longest: Maximum number of tokens, by its positions.
        text: Returns the text that the tower reads for a prompt, including a template.
        special: Whether the tokenizer has to add special tokens; a template contains them.
    """

    module: torch.nn.Module
    tokenizer: Any
    width: int
    longest: int
    text: Callable[[str], str]
    special: bool


def load_tower(model: ModelReference, settings: TextSettings) -> Tower:
    """Loads the tower of a model, without the layers above the configured hidden state.

    Args:
        model: The model's location.
        settings: The hidden state and the system prompt.

    Raises:
        RequestError: The model's type is not in `ALLOWED`, or it lacks the configured hidden state.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model.location, **model.options())
    if config.model_type == QWEN:
        return _qwen(model, settings, config)
    if config.model_type in SENTENCE:
        return _sentence(model, settings, config)
    raise _unknown(model.location, config.model_type)


def _unknown(model: str, kind: object) -> RequestError:
    return RequestError(f"{TEXT_ENCODER.key}: {model} is a {kind!r}; allowed: {', '.join(ALLOWED)}")


def _qwen(model: ModelReference, settings: TextSettings, config: Any) -> Tower:
    from transformers import AutoTokenizer, Qwen3VLModel

    where, options, sizes = model.location, model.options(), config.text_config
    # Checked before the weights are loaded, which takes long.
    check_state(settings, sizes.num_hidden_layers)
    with without_bars():
        whole = Qwen3VLModel.from_pretrained(
            where, use_safetensors=True, dtype=torch.float32, **options
        )
    tower: Any = whole.language_model
    if cut_above(tower, tower.layers, settings.hidden_state):
        tower.norm = torch.nn.Identity()  # only the last hidden state comes after the norm
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_place(where), **options)

    def text(prompt: str) -> str:
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": settings.system_prompt},
            {"role": "user", "content": [{"type": "text", "text": prompt}]},
        ]
        return str(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        )

    longest = sizes.max_position_embeddings
    return Tower(tower, tokenizer, int(sizes.hidden_size), longest, text, special=False)


def _sentence(model: ModelReference, settings: TextSettings, config: Any) -> Tower:
    from transformers import AutoModel, AutoTokenizer

    where, options = model.location, model.options()
    check_state(settings, config.num_hidden_layers)
    # Without the pooler, about whose weights transformers would warn. Missing weights are an error
    # below.
    with without_bars(), without_warnings():
        loaded: tuple[Any, Any] = AutoModel.from_pretrained(
            where,
            use_safetensors=True,
            dtype=torch.float32,
            add_pooling_layer=False,
            output_loading_info=True,
            **options,
        )
    tower, about = loaded
    if about["missing_keys"]:
        missing = ", ".join(sorted(about["missing_keys"])[:3])
        raise RequestError(f"{TEXT_ENCODER.key}: {where} lacks weights: {missing}")
    cut_above(tower, tower.encoder.layer, settings.hidden_state)
    tokenizer = AutoTokenizer.from_pretrained(where, **options)
    longest = config.max_position_embeddings
    if config.model_type != "bert":
        longest -= config.pad_token_id + 1  # RoBERTa's positions begin after that of padding
    return Tower(tower, tokenizer, int(config.hidden_size), longest, str, special=True)


def check_state(settings: TextSettings, layers: int) -> None:
    """Checks that a tower has the configured hidden state.

    Args:
        settings: The settings, with the hidden state.
        layers: The tower's number of layers.

    Raises:
        RequestError: The tower has no such state.
    """
    states = layers + 1  # the embedding's output is the first state
    if not -states <= settings.hidden_state < states:
        raise RequestError(
            f"quick_train.text.hidden_state must be {-states} to {states - 1} for "
            f"{settings.model} ({layers} layers), got {settings.hidden_state}"
        )


def cut_above(tower: torch.nn.Module, layers: torch.nn.ModuleList, hidden_state: int) -> bool:
    """Removes the layers above a hidden state, so that the tower returns this state.

    Args:
        tower: The tower; changed in place.
        layers: The tower's layers.
        hidden_state: Index of the state, as in transformers: 0 is the embedding, -1 the last.

    Returns:
        Whether any layer was removed.
    """
    used = hidden_state % (len(layers) + 1)  # negative states count from the end
    if used == len(layers):
        return False
    del layers[used:]
    return True


def language_sizes(model: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns `hidden_size` and `num_hidden_layers` of a model's language tower.

    Args:
        model: The model's name, for the error message.
        config: The content of its `config.json`.

    Raises:
        RequestError: The model has no language tower, and its type is not in `SENTENCE`.
    """
    sizes: Mapping[str, Any] = config.get("text_config", config)
    if sizes is config and config.get("model_type") not in SENTENCE:
        raise _unknown(model, config.get("model_type"))
    return {name: sizes[name] for name in ("hidden_size", "num_hidden_layers")}


@contextmanager
def without_bars() -> Iterator[None]:
    """Turns off the progress bars of transformers, which it would also write to log files."""
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if bars:
            logging.enable_progress_bar()


@contextmanager
def without_warnings() -> Iterator[None]:
    """Turns off the warnings of transformers."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def tokenizer_place(where: str) -> str:
    """Returns the location of a text encoder's tokenizer.

    In diffusers' layout, it is in the folder `processor` beside the text encoder.

    Args:
        where: The text encoder's folder, or a hub name.
    """
    beside = Path(where).parent / "processor"
    inside = Path(where) / "tokenizer_config.json"
    return str(beside) if beside.is_dir() and not inside.exists() else where
