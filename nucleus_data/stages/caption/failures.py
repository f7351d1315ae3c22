"""Why a picture, or one variant of it, has no caption: reason codes, and what is checked for them.

| reason | of | again by `nucleus retry` |
|---|---|---|
| a code of `pixels.errors`, `no_image` | the picture | no |
| `upstream_not_text` | a variant that asks about what the record came with | no |
| `upstream_too_long` | the same; `caption.max_upstream_tokens` | yes |
| `parent_failed` | a variant whose parent has no caption of the picture | if the parent is |
| `too_long` | a request that does not fit `caption.max_model_len` | yes |
| `caption_refused` | a request that the engine does not serve | yes |
| `engine_raised`, `engine_lost` | a request that ended with an exception, or never | yes |
| `caption_empty`, `caption_not_text` | what the model said | no |
"""

import math
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

from nucleus_data.engines.captioner import MAX_ASPECT, Generated, Pixels
from nucleus_data.pixels import PixelError
from nucleus_data.pixels.errors import Reason
from nucleus_data.stage import TableFailure
from nucleus_data.stages.caption.prompts import visible

LOST = "engine_lost"


class AskError(Exception):
    """A variant can't be asked about a record.

    Attributes:
        failure: What becomes of the variant.
    """

    def __init__(self, reason: str, detail: str, *, retryable: bool = False) -> None:
        super().__init__(reason, detail)
        self.failure = TableFailure(error=reason, detail=detail, retryable=retryable)


def parent_failed(parent: str, failure: TableFailure | None = None) -> TableFailure:
    """What becomes of a variant whose parent failed.

    Args:
        parent: The variant that it is made from.
        failure: The parent's; None if it has neither a caption nor a failure that is final: then
            it may have one later.
    """
    error = f": {failure['error']}" if failure else ""
    return TableFailure(
        error="parent_failed",
        detail=f"caption.{parent} has no caption of this picture{error}",
        retryable=failure is None or failure.get("retryable", False),
    )


def check_aspect(pixels: Pixels) -> None:
    """Refuses what the models' processors refuse, before it is in a batch with others.

    Args:
        pixels: (H, W, 3), as the model is given them.

    Raises:
        PixelError: TOO_EXTREME.
    """
    height, width = pixels.shape[:2]
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PixelError(
            Reason.TOO_EXTREME, f"{width}x{height} for the captioner, allowed 1:{MAX_ASPECT}"
        )


def check_upstream(
    value: Any, count_tokens: Callable[[str], int], most: int, column: str = "caption"
) -> str | None:
    """What a record came with, as the text that may be part of a question.

    Args:
        value: The record's; numbers, dates and lists of them are written out.
        count_tokens: The engine's.
        most: Tokens that it may have.
        column: Which of the record's upstream columns it is.

    Returns:
        The text; None if the record has none, or none with a visible character.

    Raises:
        AskError: It is no text, no valid Unicode, or too long.
    """
    try:
        text = value if isinstance(value, str) or column == "caption" else _written(value)
        if text is None:
            return None
        if not isinstance(text, str):
            raise TypeError(f"it is of type {type(value).__name__}")
        text.encode()
        tokens = count_tokens(text.strip())
    except (TypeError, ValueError) as error:  # of which UnicodeEncodeError is one
        raise AskError("upstream_not_text", f"source.{column}: {error}") from None
    if tokens > most:
        raise AskError(
            "upstream_too_long",
            f"source.{column}: {tokens} tokens, allowed caption.max_upstream_tokens={most}; raise"
            " it, and retry the stage caption",
            retryable=True,
        )
    return text.strip() if visible(text) else None


def _written(value: Any) -> str | None:
    """A value that is no text as people write it; None for NULL and NaN. Raises TypeError."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a year that Parquet has as 1931.0
    if isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, date):  # of which datetime is one
        return value.isoformat()
    if isinstance(value, list | tuple):
        parts = [part if isinstance(part, str) else _written(part) for part in value]
        return ", ".join(part.strip() for part in parts if part and visible(part)) or None
    raise TypeError(f"it is of type {type(value).__name__}")


def failure_of(made: Generated) -> TableFailure | None:
    """Why a finished request gives no caption; None if it gives one."""
    if made.error:
        return TableFailure(error=made.reason, detail=made.error, retryable=True)
    if not visible(made.text):
        said = f"the model ended after {made.tokens} tokens with {made.text!r}"
        return TableFailure(error="caption_empty", detail=said)
    try:
        made.text.encode()
    except UnicodeEncodeError as error:
        return TableFailure(error="caption_not_text", detail=str(error))
    return None


def engine_raised(error: Exception) -> TableFailure:
    """A request that the engine did not take."""
    return TableFailure(
        error="engine_raised", detail=f"{type(error).__name__}: {error}", retryable=True
    )
