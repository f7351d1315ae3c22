"""Adapts a text encoder so that diffusers' pipeline, with its defaults, uses the right states.

The pipeline has a system prompt of its own, and uses the eighth hidden state from the end.
"""

import copy
import json
from typing import Any

import torch

DEFAULT_STATE = -8


@torch.no_grad()
def put_at_default(tower: Any, state: int) -> int:
    """Makes a hidden state the eighth from the end, by appending idle layers or removing layers.

    An idle layer adds zero. Layers more than seven above the state are removed, as the pipeline
    does not need them.

    Args:
        tower: A `Qwen3VLForConditionalGeneration`; changed in place.
        state: Index of the state, as in transformers.

    Returns:
        The state's new index: -8; or -1 for the last state, which is the only one after the final
        norm, and for which nothing is changed.
    """
    layers, config = tower.model.language_model.layers, tower.config.text_config
    wanted = state % (len(layers) + 1)
    if wanted == len(layers):
        return -1
    total = wanted - DEFAULT_STATE - 1
    for _ in range(len(layers), total):
        idle = copy.deepcopy(layers[0])
        for part in (idle.self_attn.o_proj, idle.mlp.down_proj):
            for parameter in part.parameters():
                parameter.zero_()
        layers.append(idle)
    del layers[total:]
    for number, layer in enumerate(layers):  # a layer finds its cache by this number
        layer.self_attn.layer_idx = number
    config.num_hidden_layers = total
    return DEFAULT_STATE


def published_prompt() -> str:
    """Returns the pipeline's own system prompt."""
    from diffusers.pipelines.nucleusmoe_image import pipeline_nucleusmoe_image

    return str(pipeline_nucleusmoe_image.DEFAULT_SYSTEM_PROMPT)


def with_system_prompt(template: str, prompt: str) -> str:
    """Returns a chat template that replaces the pipeline's system prompt, and no other one."""
    own = published_prompt()
    if prompt == own:
        return template
    return (
        f"{{%- if messages[0].content == {json.dumps(own)} -%}}"
        f"{{%- set messages = [{{'role': 'system', 'content': {json.dumps(prompt)}}}] "
        f"+ messages[1:] -%}}{{%- endif -%}}{template}"
    )
