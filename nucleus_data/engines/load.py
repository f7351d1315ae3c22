"""Which engine captions: vLLM where it is installed, transformers elsewhere.

Neither torch nor an engine is imported before one is loaded.
"""

import importlib.util
from typing import Literal

from nucleus_data.engines.captioner import Engine, EngineSettings
from nucleus_data.engines.find import resolve_model
from nucleus_data.errors import RequestError


def engine_of(settings: EngineSettings) -> Literal["vllm", "transformers", "server"]:
    """What runs the model, where the setting leaves that open."""
    if settings.engine != "auto":
        return settings.engine
    return "vllm" if importlib.util.find_spec("vllm") is not None else "transformers"


def load_engine(settings: EngineSettings, *, pictures: bool = True) -> Engine:
    """Loads the model; takes seconds to minutes.

    Args:
        settings: Model and engine.
        pictures: Whether it is asked about pictures: a model that reads texts alone will do
            where it is not, and one that sees has no room for pictures.

    Returns:
        An engine with nothing pending.

    Raises:
        RequestError: The model, or the package that the engine needs, is not there.
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
            'captioning needs torch and transformers: pip install "nucleus-data[caption]"'
        )
    from nucleus_data.engines.captioner_transformers import TransformersEngine

    return TransformersEngine(model, settings, pictures=pictures)
