"""What an engine does not serve, and how a request ends that raised."""

from nucleus_data.engines.captioner import Generated
from nucleus_data.errors import RequestError


def raised(key: str, error: Exception) -> Generated:
    """A request that ends with an exception of the engine, which others need not share."""
    return Generated(key, error=f"{type(error).__name__}: {error}", reason="engine_raised")


def refused(key: str, error: Exception) -> Generated:
    """A request that an engine does not serve, whoever asks."""
    return Generated(key, error=f"refused: {error}")


def check_sees(model: str, *, sees: bool, pictures: bool) -> None:
    """Refuses a model that reads texts alone where it is to see pictures.

    Args:
        model: Its name.
        sees: Whether it can see.
        pictures: Whether it is asked about pictures.

    Raises:
        RequestError: It is, and can't.
    """
    if pictures and not sees:
        raise RequestError(
            f"caption.model is {model!r}, which reads texts alone, and variants show it pictures;"
            " give a vision model, or let these variants be made of another one's caption (from:)"
        )


class TooLongError(ValueError):
    """A request that may not fit `max_model_len`; no engine cuts a caption shorter than asked."""


def check_length(prompt_tokens: int, max_tokens: int, max_model_len: int) -> None:
    """Refuses a request that may not fit, so that the limit changes no text.

    Args:
        prompt_tokens: Tokens of the picture and the prompt.
        max_tokens: Longest caption, in tokens.
        max_model_len: Tokens that the engine has room for, of prompt and caption together.

    Raises:
        TooLongError: It may not fit.
    """
    if prompt_tokens + max_tokens > max_model_len:
        raise TooLongError(
            f"{prompt_tokens} tokens of picture and prompt and {max_tokens} of caption exceed"
            f" caption.max_model_len={max_model_len}; raise it, or lower max_side or max_tokens"
        )


def ended(key: str, error: Exception, refusals: tuple[type[Exception], ...]) -> Generated:
    """What an exception makes of a request.

    Args:
        key: The request's.
        error: The exception.
        refusals: Those that the engine raises for a request that it does not serve.
    """
    if isinstance(error, TooLongError):
        return Generated(key, error=f"refused: {error}", reason="too_long")
    return refused(key, error) if isinstance(error, refusals) else raised(key, error)
