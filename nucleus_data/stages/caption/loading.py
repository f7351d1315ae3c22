"""Loads the models that a stage's variants use, all in one worker."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nucleus_data.engines.captioner import Ask, Engine, Sampling
from nucleus_data.engines.grammar import check_grammar
from nucleus_data.engines.load import engine_of
from nucleus_data.errors import RequestError, StoppedError
from nucleus_data.pixels import INSPECTED, open_picture
from nucleus_data.stages.caption.models import place_of, said_of
from nucleus_data.stages.caption.rounds import fitting
from nucleus_data.stages.caption.settings import CaptionSettings
from nucleus_data.stages.caption.truth.probes import Probes

Load = Callable[..., Engine]
# Words in the errors of torch and vLLM about too little memory.
MEMORY = ("memory", "kv cache", "cache blocks")


@dataclass(eq=False)
class Loaded:
    """A loaded model.

    Attributes:
        name: Its name in `caption.models`; empty for `caption.model`.
        settings: The stage's settings, with this model as `caption.model`.
        variants: Names of the variants that use it.
        engine: The engine that runs it.
        probes: Its truth tests.
    """

    name: str
    settings: CaptionSettings
    variants: list[str]
    engine: Engine
    probes: Probes


def load_models(settings: CaptionSettings, load: Load) -> list[Loaded]:
    """Loads every model that a variant uses, and tries out the variants' kinds of request.

    Args:
        settings: The stage's settings.
        load: Loads one model (`load_engine`).

    Raises:
        RequestError: A model does not exist, does not fit into memory, or can't serve a variant.
    """
    models: list[Loaded] = []
    for name, variants in settings.asked_of().items():
        own = settings.with_model(name)
        sees = any(settings.variants[variant].sees_picture for variant in variants)
        try:
            # `pictures` is only passed if it differs from the default.
            engine = load(own) if sees else load(own, pictures=False)
        except (RequestError, StoppedError) as error:
            raise type(error)(said_of(name, str(error))) from error
        except Exception as error:
            if (refusal := _no_room(settings, name, error, models)) is not None:
                raise refusal from error
            raise
        fitted = fitting(own)

        def decode(data: bytes, fitted: Callable[..., np.ndarray] = fitted) -> np.ndarray:
            return fitted(open_picture(data, INSPECTED))

        probes = Probes(settings.probes if sees else 0, decode)
        models.append(Loaded(name, own, variants, engine, probes))
    for loaded in models:
        _try_out(loaded)
    return models


def check_shares(settings: CaptionSettings) -> None:
    """Refuses models whose shares of one GPU's memory add up to more than 1.

    Args:
        settings: The stage's settings, for workers that have a GPU.

    Raises:
        RequestError: Lists each model's share.
    """
    shares = {
        f"{place_of(name)}.gpu_memory_utilization": settings.with_model(name).gpu_memory_utilization
        for name in settings.asked_of()
        if engine_of(settings.with_model(name)) == "vllm"
    }
    total = sum(shares.values())
    if len(shares) > 1 and total > 1:
        listed = ", ".join(f"{key}={share:g}" for key, share in shares.items())
        raise RequestError(
            f"{listed}: these models share the GPU of each worker, and ask for {total:.0%} of its"
            " memory; reduce the shares to at most 1 in total (such as 0.6 and 0.3), each with room"
            " for the model's weights, or run one of the models as a server (engine: server)"
        )


def _no_room(
    settings: CaptionSettings, name: str, error: Exception, before: list[Loaded]
) -> RequestError | None:
    """Returns the error for a model that can't be loaded, if memory is or may be the reason."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    memory = isinstance(error, MemoryError) or any(word in str(error).lower() for word in MEMORY)
    memory = memory or type(error).__name__ == "OutOfMemoryError"
    if not memory and not before and not name:
        return None
    own = settings.with_model(name)
    message = f"{place_of(name)}.model={own.model} can't be loaded: {type(error).__name__}: {first}"
    if before:
        loaded = ", ".join(
            f"{model.settings.model} ({model.engine.name}"
            + (
                f", gpu_memory_utilization={model.settings.gpu_memory_utilization:g})"
                if model.engine.name == "vllm"
                else ")"
            )
            for model in before
        )
        message += f". Already loaded in the same worker: {loaded}"
    if memory:
        message += (
            f". Give it more room ({place_of(name)}.gpu_memory_utilization, now"
            f" {own.gpu_memory_utilization:g}; a smaller max_model_len or max_in_flight; less for"
            " the other models), or run it as a server (engine: server)"
        )
    return RequestError(message)


def _try_out(loaded: Loaded) -> None:
    """Rejects system prompts and schemas that the engine would refuse for every picture.

    Raises:
        RequestError: The engine can't serve a variant.
    """
    picture = np.full((64, 64, 3), 128, np.uint8)
    for name in loaded.variants:
        variant = loaded.settings.variants[name]
        if variant.schema_text is not None:
            check_grammar(variant.schema_text, f"caption.variants.{name}.schema")
        system = variant.system or loaded.settings.system
        if system is None and variant.schema_text is None:
            continue
        ask = Ask(name, ".", Sampling(1), system, variant.schema_text, variant.sees_picture)
        for made in loaded.engine.prepare(picture if ask.sees_picture else None, [ask]).failed:
            if made.reason == "caption_refused":
                raise RequestError(f"caption.variants.{name}: {made.error}")
