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

from nucleus_data.engines.captioner import MAX_ASPECT, Generated, Pixels
from nucleus_data.pixels import PixelError
from nucleus_data.pixels.errors import Reason
from nucleus_data.stage import TableFailure
from nucleus_data.stages.caption.prompts import visible

LOST = "engine_lost"
EMPTY = "caption_empty"


class AskError(Exception):
    """A variant can't be asked about a record.

    Attributes:
        failure: What becomes of the variant.
    """

    def __init__(self, reason: str, detail: str, *, retryable: bool = False) -> None:
        super().__init__(reason, detail)
        self.failure = TableFailure(error=reason, detail=detail, retryable=retryable)


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


def failure_of(made: Generated) -> TableFailure | None:
    """Why a finished request gives no caption; None if it gives one."""
    if made.error:
        return TableFailure(error=made.reason, detail=made.error, retryable=True)
    if not visible(made.text):
        said = f"the model ended after {made.tokens} tokens with {made.text!r}"
        return TableFailure(error=EMPTY, detail=said)
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
