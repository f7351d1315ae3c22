"""The exception for pictures that can't be read, and its documented reason codes."""

from enum import StrEnum


class Reason(StrEnum):
    """Reason codes of `PixelError`, as in the column `error` of tables.

    Attributes:
        EMPTY: The file has no bytes.
        TOO_MANY_BYTES: The file is larger than `Limits.max_bytes`.
        NOT_AN_IMAGE: Text (HTML, JSON), PDF, video, audio or an archive.
        UNKNOWN_FORMAT: The bytes match no known signature.
        UNSUPPORTED_FORMAT: A known picture format that is not decoded (JPEG XL, SVG, ICO...).
        NEEDS_HEIF: A HEIC or HEIF file, while the extra `heif` is not installed; not the file's
            fault.
        UNSUPPORTED_MODE: The format is supported, but not this kind of pixels (float, LAB, unusual
            depths).
        TOO_MANY_PIXELS: Width times height is above `Limits.max_pixels`; nothing was decoded.
        TOO_EXTREME: Long side over short side is above `Limits.max_aspect`; nothing was decoded.
        TOO_COSTLY: The file is within these limits, but constructed such that reading it would take
            minutes or gigabytes (thousands of scans, blocks or tags); nothing was decoded.
        TRUNCATED: The file ends before its pixels do. (A file that has all pixels and lacks only
            its end marker is read, and has `Header.truncated`.)
        CORRUPT: The file's structure is damaged, so that no decoder yields a complete picture.
        DAMAGED_DATA: The file is complete, but its coded pixels are inconsistent or contradict
            their checksum, or contain a run of zeros. Other decoders show a picture that is partly
            wrong.
    """

    EMPTY = "empty"
    TOO_MANY_BYTES = "too_many_bytes"
    NOT_AN_IMAGE = "not_an_image"
    UNKNOWN_FORMAT = "unknown_format"
    UNSUPPORTED_FORMAT = "unsupported_format"
    NEEDS_HEIF = "needs_heif"
    UNSUPPORTED_MODE = "unsupported_mode"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_EXTREME = "too_extreme"
    TOO_COSTLY = "too_costly"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    DAMAGED_DATA = "damaged_data"


class PixelError(Exception):
    """A picture that can't be read.

    Attributes:
        reason: The reason code.
        detail: Details for people.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.detail}" if self.detail else self.reason.value


# Words for missing bytes in messages of the decoders (libjpeg-turbo, Pillow, libavif, OpenJPEG).
_TRUNCATED_WORDS = ("truncated", "premature end of jpeg", "unexpected end", "not enough", "eof")


def from_decoder(error: Exception, doing: str, truncated: bool) -> PixelError:
    """Converts a decoder's exception to a `PixelError`.

    Args:
        error: The exception that the decoder raised.
        doing: The step that failed, for example `decoding webp`.
        truncated: Whether the file is known to end early, which is then taken to be the reason.

    Returns:
        A `PixelError` unchanged; for other exceptions, TRUNCATED, UNSUPPORTED_MODE or CORRUPT,
        depending on the message.
    """
    if isinstance(error, PixelError):
        return error
    text = f"{type(error).__name__}: {error}"
    reason = Reason.CORRUPT
    if (
        truncated
        or isinstance(error, EOFError)
        or any(word in text.lower() for word in _TRUNCATED_WORDS)
    ):
        reason = Reason.TRUNCATED
    elif "unsupported" in text.lower():
        reason = Reason.UNSUPPORTED_MODE
    return PixelError(reason, f"while {doing}: {text[:200]}")
