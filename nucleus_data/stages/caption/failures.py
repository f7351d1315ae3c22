"""Reason codes for a picture, or a variant of it, without a caption; and how they are determined.

| reason | what failed | retryable |
|---|---|---|
| a code of `pixels.errors`, `no_image` | reading the picture | no |
| `upstream_not_text` | a variant whose question uses upstream values | no |
| `upstream_too_long` | the same, above `caption.max_upstream_tokens` | yes |
| `parent_failed` | a variant whose parent has no caption of the picture | as the parent |
| `too_long` | a request that does not fit `caption.max_model_len` | yes |
| `caption_refused` | a request that the engine does not serve | yes |
| `engine_raised`, `engine_lost` | a request that ended with an exception, or never | yes |
| `caption_empty`, `caption_not_text` | the answer is empty, or can't be stored | no |
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
        failure: The variant's failure, as it is stored.
    """

    def __init__(self, reason: str, detail: str, *, retryable: bool = False) -> None:
        super().__init__(reason, detail)
        self.failure = TableFailure(error=reason, detail=detail, retryable=retryable)


def check_aspect(pixels: Pixels) -> None:
    """Refuses pictures that the models' processors would refuse, which could fail a whole batch.

    Args:
        pixels: (H, W, 3), at the size that the model sees.

    Raises:
        PixelError: TOO_EXTREME.
    """
    height, width = pixels.shape[:2]
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PixelError(
            Reason.TOO_EXTREME, f"{width}x{height} for the captioner, allowed 1:{MAX_ASPECT}"
        )


def failure_of(made: Generated) -> TableFailure | None:
    """Returns why a finished request gives no caption; None if it gives one."""
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
