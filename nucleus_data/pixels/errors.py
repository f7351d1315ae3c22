"""Why a picture could not be read: one exception, one documented list of reason codes."""

from enum import StrEnum


class Reason(StrEnum):
    """Reason codes of `PixelError`; they stand in the `error` column of the tables.

    Attributes:
        EMPTY: No bytes at all.
        TOO_MANY_BYTES: The file is larger than `Limits.max_bytes`.
        NOT_AN_IMAGE: Text (HTML, JSON), PDF, video, audio or an archive.
        UNKNOWN_FORMAT: Bytes that no known signature fits.
        UNSUPPORTED_FORMAT: A known picture format that is not decoded (JPEG XL, SVG, ICO...).
        NEEDS_HEIF: A HEIC or HEIF, and the extra `heif` is not installed. Not the file's fault.
        UNSUPPORTED_MODE: The format is read, but not pixels of this kind (float, LAB, odd depths).
        TOO_MANY_PIXELS: Width times height is above `Limits.max_pixels`; nothing was decoded.
        TOO_EXTREME: Long side over short side is above `Limits.max_aspect`; nothing was decoded.
        TOO_COSTLY: Within those limits, but the file is made so that reading it would take minutes
            or gigabytes (thousands of scans, blocks or tags); nothing was decoded.
        TRUNCATED: The file ends before its pixels do. (One that ends before its end marker, with
            all pixels there, is read; `Header.truncated` tells.)
        CORRUPT: Its structure is damaged, and no decoder gets a whole picture out of it.
        DAMAGED_DATA: The file is whole, but its coded pixels contradict themselves or their
            checksum, or have a hole of zeros: other decoders show a picture, a part of which is
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
        reason: The code, one of `Reason`.
        detail: What was found, for a person to read.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.detail}" if self.detail else self.reason.value


# How the decoders (libjpeg-turbo, Pillow, libavif, OpenJPEG) speak of missing bytes.
_TRUNCATED_WORDS = ("truncated", "premature end of jpeg", "unexpected end", "not enough", "eof")


def from_decoder(error: Exception, doing: str, truncated: bool) -> PixelError:
    """Puts a decoder's exception into our words.

    Args:
        error: What the decoder raised.
        doing: What was being done, for example `decoding webp`.
        truncated: Whether the file ends early: then this is why, whatever the decoder says.

    Returns:
        The same `PixelError` when it is one; otherwise, by the message, TRUNCATED, UNSUPPORTED_MODE
        or CORRUPT.
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
