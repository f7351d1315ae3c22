"""Converts upstream values to text for use in a question."""

import math
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

from nucleus_data.stages.caption.failures import AskError
from nucleus_data.stages.caption.places import CAPTION
from nucleus_data.stages.caption.prompts import visible


def upstream_text(
    value: Any, column: str, count_tokens: Callable[[str], int], most: int | None
) -> str | None:
    """Converts an upstream value to text for use in a question.

    Args:
        value: The record's value. Numbers, dates and lists are written as text; a caption must be
            text already.
        column: The name of its upstream column.
        count_tokens: Counts a text's tokens, as the engine does.
        most: Maximum number of tokens; None for no limit, without counting.

    Returns:
        The text; None if there is no value, or nothing visible in it.

    Raises:
        AskError: It is not text, not valid Unicode, or too long.
    """
    if value is None:
        return None
    try:
        text = value if column == CAPTION else written(value)
        if not isinstance(text, str | None):
            raise TypeError(f"it is of type {type(value).__name__}")  # noqa: TRY301
        if text is None:
            return None
        text.encode()
        if not visible(text):
            return None
        tokens = 0 if most is None else count_tokens(text.strip())
    except (TypeError, ValueError) as error:  # of which UnicodeEncodeError is one
        raise AskError("upstream_not_text", f"source.{column}: {error}") from None
    if most is not None and tokens > most:
        raise AskError(
            "upstream_too_long",
            f"source.{column}: {tokens} tokens, allowed caption.max_upstream_tokens={most}; raise"
            " it, and retry the stage caption",
            retryable=True,
        )
    return text.strip()


def written(value: Any) -> str | None:
    """Formats a value as text; None for NULL and NaN. Raises TypeError for a structure."""
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)  # a year stored as 1931.0
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, date):  # of which datetime is one
        return value.isoformat()
    if isinstance(value, list | tuple):
        parts = (written(part) for part in value)
        return ", ".join(part.strip() for part in parts if part and visible(part))
    raise TypeError(f"it is of type {type(value).__name__}")
