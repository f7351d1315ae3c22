"""Captioning engines: a vision-language model behind four methods.

`load_engine(settings)` gives vLLM where it is installed and transformers elsewhere; both take
requests at any time and give captions back as they are done, so that the caption stage never waits
for a shard's end. Nothing here imports torch, transformers or vLLM before `load_engine`.
"""

from nucleus_data.captioning.engine import Engine, EngineSettings, Generated, Sampling, load_engine
from nucleus_data.captioning.prompts import PROMPTS
from nucleus_data.models import ModelReference, resolve_model

__all__ = [
    "PROMPTS",
    "Engine",
    "EngineSettings",
    "Generated",
    "ModelReference",
    "Sampling",
    "load_engine",
    "resolve_model",
]
