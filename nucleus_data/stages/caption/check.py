"""Checks and describes the settings of the caption stage before it starts."""

from collections.abc import Collection

from nucleus_data.config import nearest
from nucleus_data.errors import RequestError
from nucleus_data.stages.caption.places import SOURCE
from nucleus_data.stages.caption.prompts import versions
from nucleus_data.stages.caption.settings import CaptionSettings
from nucleus_data.stages.caption.variant import Variant


def check_upstream(settings: CaptionSettings, upstream: Collection[str]) -> None:
    """Refuses a placeholder for a column that no record has.

    Its line would silently be left out of every question.

    Args:
        settings: The stage's settings.
        upstream: Names of the corpus's upstream columns, such as `source.title`.

    Raises:
        RequestError: Names the column, and lists the existing ones.
    """
    known = [name.removeprefix(SOURCE) for name in upstream]
    for name, variant in settings.variants.items():
        for column in variant.facts:
            if column not in known:
                existing = ", ".join(sorted(known)) or "none"
                raise RequestError(
                    f"caption.variants.{name}: the text uses {{{SOURCE}{column}}}, but no record of"
                    f" the corpus has this column; available: {existing}.{nearest(column, known)}"
                )


def describe(settings: CaptionSettings) -> str:
    """Returns a line for people: the variants and their prompts, parents and models."""
    return ", ".join(
        f"{name} ({_asked(variant)}{f', from {variant.parent}' if variant.chained else ''}"
        f"{f', by {variant.model} ({settings.of(name).model})' if variant.model else ''})"
        for name, variant in settings.variants.items()
    )


def _asked(variant: Variant) -> str:
    """Returns a variant's prompt, and its newest version if there is a newer one."""
    name, _, version = variant.prompt_name.partition("@")
    newest = max(versions(name), default=0) if version.isdigit() and not variant.text else 0
    newer = f"; {name}@{newest} is available" if newest > int(version or 0) else ""
    return f"{variant.prompt_name}{newer}"
