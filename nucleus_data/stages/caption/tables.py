"""The caption tables: their columns, what enters their config hashes, and what they read."""

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

# 2: checks, attempts and provenance; the seed only where it is drawn.
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
# What enters as what it resolves to, or of those variants alone whose text it changes.
_RESOLVED = ("variants", "models", "model", "revision", "vllm_args")
_OF_SOME = ("seed", "checks", "language", "system", "max_side", "max_pixels")


def caption_tables(settings: CaptionSettings) -> list[TableSpec]:
    """One table a variant, each behind the one that it is made from.

    Args:
        settings: The stage's.

    Raises:
        RequestError: The model is not there.
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
    """What changes the texts of all variants that a model is asked for.

    A variant with a model of its own has the table that it would have if the stage's own were that.
    """
    mine = settings.with_model(model)
    found = resolve_model(mine.model, mine.revision, kind_of(model))
    return {
        **deciding(mine, (*_RESOLVED, *_OF_SOME)),
        "model": found.name,
        "revision": found.revision,
        "vllm_args": changing_text(mine.vllm_args),
    }


def caption_columns(settings: CaptionSettings) -> tuple[str, ...]:
    """The stored columns that questions need, as `RowStage.columns` has them."""
    found: list[str] = []
    for name, variant in settings.variants.items():
        found += [f"records:{SOURCE}caption"] * variant.refines
        found += [f"records:{SOURCE}{column}" for column in variant.facts]
        if parent := settings.parent(name):
            found += [f"caption.{parent}:caption", f"caption.{parent}:error"]
    return tuple(dict.fromkeys(found))


def _chosen(settings: CaptionSettings, name: str) -> RowChoice:
    """Which pictures a variant is made of."""
    variant, parent = settings.variants[name], settings.parent(name)
    return RowChoice(
        where=variant.where or "",
        key=f"caption.variants.{name}.where",
        share=variant.share,
        share_key=f"caption.{variant.share_key or name}",
        follows=f"caption.{parent}" if parent else "",
    )


def _own(settings: CaptionSettings, name: str, checks: Mapping[str, Any]) -> dict[str, Any]:
    """What changes the texts of one variant alone; `checks` are the deciding settings of checks."""
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
    """The settings of the checks for which a variant is asked again: others change no text."""
    found = {}
    for check in settings.checks_of(name).values():
        # One that came later is not in the content as it is by default, and is when it differs.
        asks = "ask_again" in (check.action, type(check)().action if check.added else None)
        if asks and check.name in content:
            found[check.name] = content[check.name]
    return found


def _inputs(settings: CaptionSettings, name: str) -> tuple[str, ...]:
    """Tables whose values are in the questions."""
    variant, parent = settings.variants[name], settings.parent(name)
    records = ("records",) * bool(variant.refines or variant.facts)
    return (*records, *([f"caption.{parent}"] if parent else []))
