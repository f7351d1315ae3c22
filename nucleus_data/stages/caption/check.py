"""What is checked of the caption stage's settings before it starts, and what is said of them."""

from collections.abc import Collection

from nucleus_data.config import nearest
from nucleus_data.errors import RequestError
from nucleus_data.stages.caption.places import SOURCE
from nucleus_data.stages.caption.prompts import versions
from nucleus_data.stages.caption.settings import CaptionSettings
from nucleus_data.stages.caption.variant import Variant


def check_upstream(settings: CaptionSettings, upstream: Collection[str]) -> None:
    """Refuses a place for a column that no record has: its line would be left out everywhere.

    Args:
        settings: The stage's.
        upstream: Names of the corpus's upstream columns, `source.title`.

    Raises:
        RequestError: With the column, and those that there are.
    """
    known = [name.removeprefix(SOURCE) for name in upstream]
    for name, variant in settings.variants.items():
        for column in variant.facts:
            if column not in known:
                there = ", ".join(sorted(known)) or "none"
                raise RequestError(
                    f"caption.variants.{name}: its text has {{{SOURCE}{column}}}, and no record of"
                    f" the corpus has such a column; there are: {there}.{nearest(column, known)}"
                )


def describe(settings: CaptionSettings) -> str:
    """Which variants there are, from which prompts; for people."""
    return ", ".join(
        f"{name} ({_asked(variant)}{f', from {variant.parent}' if variant.chained else ''}"
        f"{f', by {variant.model} ({settings.of(name).model})' if variant.model else ''})"
        for name, variant in settings.variants.items()
    )


def _asked(variant: Variant) -> str:
    """A variant's prompt, and the newest version of it, if there is a newer one."""
    name, _, version = variant.prompt_name.partition("@")
    newest = max(versions(name), default=0) if version.isdigit() and not variant.text else 0
    newer = f"; the package has {name}@{newest}, too" if newest > int(version or 0) else ""
    return f"{variant.prompt_name}{newer}"
