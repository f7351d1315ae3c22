"""Which engine captions: vLLM where it is installed, transformers elsewhere.

Neither torch nor an engine is imported before one is loaded.
"""

import importlib.util

from nucleus_data.engines.captioner import Engine, EngineSettings
from nucleus_data.engines.find import resolve_model
from nucleus_data.errors import RequestError


def load_engine(settings: EngineSettings) -> Engine:
    """Loads the model; takes seconds to minutes.

    Args:
        settings: Model and engine.

    Returns:
        An engine with nothing pending.

    Raises:
        RequestError: The model, or the package that the engine needs, is not there.
    """
    model = resolve_model(settings.model, settings.revision)
    if settings.engine == "server":
        from nucleus_data.engines.captioner_server import ServerEngine

        return ServerEngine(model, settings)
    has_vllm = importlib.util.find_spec("vllm") is not None
    if settings.engine == "vllm" and not has_vllm:
        raise RequestError(
            "caption.engine=vllm needs the package vllm: run scripts/install, or set"
            " caption.engine=transformers"
        )
    if settings.engine == "vllm" or (settings.engine == "auto" and has_vllm):
        from nucleus_data.engines.captioner_vllm import VllmEngine

        return VllmEngine(model, settings)
    if (
        importlib.util.find_spec("transformers") is None
        or importlib.util.find_spec("torch") is None
    ):
        raise RequestError(
            'captioning needs torch and transformers: pip install "nucleus-data[caption]"'
        )
    from nucleus_data.engines.captioner_transformers import TransformersEngine

    return TransformersEngine(model, settings)
