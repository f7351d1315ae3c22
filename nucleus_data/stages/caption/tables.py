"""The caption tables: their columns, the content of their config hashes, and their inputs."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from nucleus_data.config import deciding
from nucleus_data.engines.find import resolve_model
from nucleus_data.engines.vllm_arguments import changing_text
from nucleus_data.stage import RowChoice, TableSpec
from nucleus_data.stages.caption.models import OWN, kind_of
from nucleus_data.stages.caption.places import SOURCE
from nucleus_data.stages.caption.settings import CaptionSettings, in_order

# Version 2 added checks, attempts and provenance; the seed is only hashed if it is used.
VERSION = 2
SCHEMA = pa.schema(
    [
        ("caption", pa.string()),
        ("source", pa.string()),
        ("parent", pa.string()),
        ("model", pa.string()),
        ("revision", pa.string()),
        ("prompt", pa.string()),
        ("prompt_hash", pa.string()),
        ("question", pa.string()),
        ("system", pa.string()),
        ("schema", pa.string()),
        ("max_tokens", pa.int32()),
        ("min_tokens", pa.int32()),
        ("temperature", pa.float32()),
        ("top_p", pa.float32()),
        ("presence_penalty", pa.float32()),
        ("repetition_penalty", pa.float32()),
        ("stop", pa.list_(pa.string())),
        ("seed", pa.int64()),
        ("attempt", pa.int32()),
        ("attempts", pa.int32()),
        ("engine", pa.string()),
        ("engine_version", pa.string()),
        ("image_sha256", pa.string()),
        ("finish_reason", pa.string()),
        ("tokens", pa.int32()),
        ("prompt_tokens", pa.int32()),
        ("checks", pa.list_(pa.string())),
        ("flags", pa.list_(pa.string())),
        ("faults", pa.list_(pa.string())),
    ]
)
# Settings hashed in resolved form, and settings hashed only for the variants that they affect.
_RESOLVED = ("variants", "models", "model", "revision", "vllm_args")
_OF_SOME = ("seed", "checks", "language", "system", "max_side", "max_pixels")


def caption_tables(settings: CaptionSettings) -> list[TableSpec]:
    """Returns one table per variant, parents before their children.

    Args:
        settings: The stage's settings.

    Raises:
        RequestError: A model does not exist.
    """
    common = {name: _common(settings, name) for name in settings.asked_of()}
    checks = deciding(settings.checks)
    return [
        TableSpec(
            f"caption.{name}",
            SCHEMA,
            VERSION,
            {
                **common[settings.variants[name].model or OWN],
                **_own(settings.of(name), name, checks),
            },
            inputs=_inputs(settings, name),
            chosen=_chosen(settings, name),
            again=True,
        )
        for name in in_order(settings.variants)
    ]


def _common(settings: CaptionSettings, model: str) -> dict[str, Any]:
    """Returns the hashed settings that all variants of one model share.

    A variant with a model of its own gets the hash that it would have if that were `caption.model`.
    """
    own = settings.with_model(model)
    reference = resolve_model(own.model, own.revision, kind_of(model))
    return {
        **deciding(own, (*_RESOLVED, *_OF_SOME)),
        "model": reference.name,
        "revision": reference.revision,
        "vllm_args": changing_text(own.vllm_args),
    }


def caption_columns(settings: CaptionSettings) -> tuple[str, ...]:
    """Returns the stored columns that questions need, in the form of `RowStage.columns`."""
    columns: list[str] = []
    for name, variant in settings.variants.items():
        columns += [f"records:{SOURCE}caption"] * variant.refines
        columns += [f"records:{SOURCE}{column}" for column in variant.facts]
        if parent := settings.parent(name):
            columns += [f"caption.{parent}:caption", f"caption.{parent}:error"]
    return tuple(dict.fromkeys(columns))


def _chosen(settings: CaptionSettings, name: str) -> RowChoice:
    """Returns the choice of pictures that a variant applies to."""
    variant, parent = settings.variants[name], settings.parent(name)
    return RowChoice(
        where=variant.where or "",
        key=f"caption.variants.{name}.where",
        share=variant.share,
        share_key=f"caption.{variant.share_key or name}",
        follows=f"caption.{parent}" if parent else "",
    )


def _own(settings: CaptionSettings, name: str, checks: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the hashed settings of one variant; `checks` are all checks' hashed settings."""
    variant, again = settings.variants[name], _asked_again(settings, name, checks)
    content: dict[str, Any] = {
        **variant.values(),
        "system": variant.system or settings.system,
        "seed": settings.seed if variant.drawn else None,
        "checks": again,
        "language": settings.language if "language" in again else None,
        "words": variant.words if "words" in again else None,
        "max_side": settings.max_side if variant.sees_picture else None,
        "max_pixels": settings.max_pixels if variant.sees_picture else None,
    }
    return {key: value for key, value in content.items() if value is not None}


def _asked_again(
    settings: CaptionSettings, name: str, content: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the settings of checks that can ask a variant again; other checks change no text."""
    repeating = {}
    for check in settings.checks_of(name).values():
        # A check marked `added` is in `content` only if its settings differ from the defaults.
        asks = "ask_again" in (check.action, type(check)().action if check.added else None)
        if asks and check.name in content:
            repeating[check.name] = content[check.name]
    return repeating


def _inputs(settings: CaptionSettings, name: str) -> tuple[str, ...]:
    """Returns the tables whose values are part of a variant's questions."""
    variant, parent = settings.variants[name], settings.parent(name)
    records = ("records",) * bool(variant.refines or variant.facts)
    return (*records, *([f"caption.{parent}"] if parent else []))
