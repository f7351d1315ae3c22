"""Checks for requests that no engine serves, and the results of requests that raised."""

from nucleus_data.engines.captioner import Ask, Generated, Pixels
from nucleus_data.errors import RequestError


def raised(key: str, error: Exception) -> Generated:
    """Returns the result of a request for which the engine raised, perhaps for this one only."""
    return Generated(key, error=f"{type(error).__name__}: {error}", reason="engine_raised")


def refused(key: str, error: Exception) -> Generated:
    """Returns the result of a request that the engine rejects."""
    return Generated(key, error=f"refused: {error}")


def check_sees(model: str, *, sees: bool, pictures: bool) -> None:
    """Rejects a text-only model if requests will contain pictures.

    Args:
        model: The model's name.
        sees: Whether the model is a vision model.
        pictures: Whether requests will contain pictures.

    Raises:
        RequestError: Requests will contain pictures, and the model is text-only.
    """
    if pictures and not sees:
        raise RequestError(
            f"caption.model is {model!r}, which only reads text, but variants show it pictures;"
            " use a vision model, or make these variants from another one's caption (from:)"
        )


def check_shown(ask: Ask, picture: Pixels | None) -> None:
    """Rejects a question about a picture if there is none, as the answer would be about nothing.

    Args:
        ask: The question.
        picture: The picture.

    Raises:
        RequestError: There is no picture.
    """
    if ask.sees_picture and picture is None:
        raise RequestError("it asks about a picture, and none is there")


class TooLongError(ValueError):
    """A request that may not fit `max_model_len`; engines never shorten captions to make it fit."""


def check_length(prompt_tokens: int, max_tokens: int, max_model_len: int) -> None:
    """Rejects a request that may exceed the context length, so that the limit alters no caption.

    Args:
        prompt_tokens: Number of tokens of the picture and the prompt.
        max_tokens: Maximum length of the caption in tokens.
        max_model_len: Maximum number of tokens of prompt and caption together.

    Raises:
        TooLongError: Prompt and caption may exceed `max_model_len`.
    """
    if prompt_tokens + max_tokens > max_model_len:
        raise TooLongError(
            f"{prompt_tokens} tokens of picture and prompt and {max_tokens} of caption exceed"
            f" caption.max_model_len={max_model_len}; raise it, or lower max_side or max_tokens"
        )


def ended(key: str, error: Exception, refusals: tuple[type[Exception], ...]) -> Generated:
    """Returns the result of a request that raised.

    Args:
        key: The request's key.
        error: The exception.
        refusals: Types of exceptions that mean that the engine rejects the request.
    """
    if isinstance(error, TooLongError):
        return Generated(key, error=f"refused: {error}", reason="too_long")
    return refused(key, error) if isinstance(error, refusals) else raised(key, error)
