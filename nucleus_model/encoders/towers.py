"""The language towers that text encoders are made of, and what each reads of a prompt.

`qwen3_vl`: the published text encoder's kind, and the packaged one's. It reads the prompt in its
chat template: a fixed system prompt, one user turn, the generation prompt added.

`bert`, `roberta`, `xlm-roberta`: sentence encoders such as all-MiniLM, BGE and E5, which are small
and know people's words, for quick trainings without a GPU. They read the prompt as it is, between
their special tokens.
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
        module: Called with `input_ids` and `attention_mask` (B, L); its `last_hidden_state`
            (B, L, D) is the state that the settings ask for.
        tokenizer: Of transformers.
        width: D.
        longest: Tokens that it has positions for.
        text: The whole text that it reads for a prompt.
        special: Whether its tokenizer adds special tokens; the text of a template has them.
    """

    module: torch.nn.Module
    tokenizer: Any
    width: int
    longest: int
    text: Callable[[str], str]
    special: bool


def load_tower(model: ModelReference, settings: TextSettings) -> Tower:
    """Loads the tower of a model, without the layers above the state that is asked for.

    Args:
        model: Where it is.
        settings: Which state, and the system prompt.

    Raises:
        RequestError: It is of no type in `ALLOWED`, or has fewer hidden states than asked for.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model.location, **model.options())
    if config.model_type == QWEN:
        return _qwen(model, settings, config)
    if config.model_type in SENTENCE:
        return _sentence(model, settings, config)
    raise _unknown(model.location, config.model_type)


def _unknown(model: str, kind: object) -> RequestError:
    return RequestError(
        f"{TEXT_ENCODER.key}: {model} is a {kind!r}, allowed are {', '.join(ALLOWED)}"
    )


def _qwen(model: ModelReference, settings: TextSettings, config: Any) -> Tower:
    from transformers import AutoTokenizer, Qwen3VLModel

    where, options, sizes = model.location, model.options(), config.text_config
    # Before the weights, which take long to load: a wrong setting is told at once.
    check_state(settings, sizes.num_hidden_layers)
    with without_bars():
        whole = Qwen3VLModel.from_pretrained(
            where, use_safetensors=True, dtype=torch.float32, **options
        )
    tower: Any = whole.language_model
    if cut_above(tower, tower.layers, settings.hidden_state):
        tower.norm = torch.nn.Identity()  # the last state alone comes after the norm
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
    # Without its pooler, of whose weights transformers would warn; what else is missing is told.
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
        longest -= config.pad_token_id + 1  # RoBERTa's positions begin behind the padding's
    return Tower(tower, tokenizer, int(config.hidden_size), longest, str, special=True)


def check_state(settings: TextSettings, layers: int) -> None:
    """Refuses a hidden state that a tower of so many layers does not have.

    Raises:
        RequestError: The tower has no such state.
    """
    states = layers + 1  # the embedding's output is the first
    if not -states <= settings.hidden_state < states:
        raise RequestError(
            f"quick_train.text.hidden_state must be {-states} to {states - 1} for "
            f"{settings.model} ({layers} layers), got {settings.hidden_state}"
        )


def cut_above(tower: torch.nn.Module, layers: torch.nn.ModuleList, hidden_state: int) -> bool:
    """Cuts a tower above a hidden state, which is then what it returns.

    Args:
        tower: Changed in place.
        layers: Of the tower.
        hidden_state: As transformers counts them: 0 is the embedding, -1 comes last.

    Returns:
        Whether a layer was cut off.
    """
    used = hidden_state % (len(layers) + 1)  # negative states count from the end
    if used == len(layers):
        return False
    del layers[used:]
    return True


def language_sizes(model: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """`hidden_size` and `num_hidden_layers` of a model's language tower.

    Args:
        model: Its name, for the message.
        config: Content of its `config.json`.

    Raises:
        RequestError: It is of no type in `ALLOWED`.
    """
    sizes: Mapping[str, Any] = config.get("text_config", config)
    if sizes is config and config.get("model_type") not in SENTENCE:
        raise _unknown(model, config.get("model_type"))
    return {name: sizes[name] for name in ("hidden_size", "num_hidden_layers")}


@contextmanager
def without_bars() -> Iterator[None]:
    """Keeps transformers from drawing progress bars, which it does into files too."""
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
    """Keeps transformers from warning."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def tokenizer_place(where: str) -> str:
    """Returns where a text encoder's tokenizer is.

    A pipeline in diffusers' layout has it beside the text encoder, in `processor`.

    Args:
        where: The text encoder's folder, or a hub name.
    """
    beside = Path(where).parent / "processor"
    inside = Path(where) / "tokenizer_config.json"
    return str(beside) if beside.is_dir() and not inside.exists() else where
