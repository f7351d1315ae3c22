"""Chooses and loads a captioning engine: by default vLLM if installed, otherwise transformers.

torch and the engines are imported only when an engine is loaded.
"""

import importlib.util
from typing import Literal

from nucleus_data.engines.captioner import Engine, EngineSettings
from nucleus_data.engines.find import resolve_model
from nucleus_data.errors import RequestError


def engine_of(settings: EngineSettings) -> Literal["vllm", "transformers", "server"]:
    """Returns the engine that runs the model, with `auto` resolved."""
    if settings.engine != "auto":
        return settings.engine
    return "vllm" if importlib.util.find_spec("vllm") is not None else "transformers"


def load_engine(settings: EngineSettings, *, pictures: bool = True) -> Engine:
    """Loads a captioning model, which takes seconds to minutes.

    Args:
        settings: Model and engine.
        pictures: Whether requests will contain pictures. If not, a text-only model suffices, and a
            vision model reserves no memory for pictures.

    Returns:
        An engine without pending requests.

    Raises:
        RequestError: The model or a package that the engine requires is missing.
    """
    model = resolve_model(settings.model, settings.revision)
    engine = engine_of(settings)
    if engine == "server":
        from nucleus_data.engines.captioner_server import ServerEngine

        return ServerEngine(model, settings, pictures=pictures)
    if engine == "vllm":
        if importlib.util.find_spec("vllm") is None:
            raise RequestError(
                "caption.engine=vllm needs the package vllm: run scripts/install, or set"
                " caption.engine=transformers"
            )
        from nucleus_data.engines.captioner_vllm import VllmEngine

        return VllmEngine(model, settings, pictures=pictures)
    if (
        importlib.util.find_spec("transformers") is None
        or importlib.util.find_spec("torch") is None
    ):
        raise RequestError(
            'captioning needs torch and transformers; run: pip install "nucleus-data[caption]"'
        )
    from nucleus_data.engines.captioner_transformers import TransformersEngine

    return TransformersEngine(model, settings, pictures=pictures)
