"""Answers of the world's HTTP server: what goes over the wire, and how slowly."""

from dataclasses import dataclass, field, replace
from http import HTTPStatus

TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class Answer:
    """What goes over the wire; faults are functions from a healthy one to another.

    Attributes:
        path: The URL path of the file.
        status: 0 where the connection is reset in place of an answer.
        headers: All but those of the connection and of the length.
        body: All of it, even where only a part is sent.
        head_seconds: Over how many seconds status and headers are spread.
        body_seconds: Over how many seconds the body is spread.
        sent: How much of the body goes out before the connection is closed; None for all of it, and
            the connection stays.
        endless: Whether zeros follow the body for ever.
    """

    path: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    head_seconds: float = 0.0
    body_seconds: float = 0.0
    sent: int | None = None
    endless: bool = False


def plain(path: str, status: int, text: str = "", **headers: str) -> Answer:
    """A status and a few words."""
    body = (text or HTTPStatus(status).phrase).encode("utf-8", "replace") + b"\n"
    return labelled(Answer(path, status, {"Content-Type": TEXT}, body), **headers)


def labelled(answer: Answer, **headers: str) -> Answer:
    """The answer with more headers; `_` in their names stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return replace(answer, headers=answer.headers | named)


def away(answer: Answer, location: str) -> Answer:
    """A redirect."""
    return plain(answer.path, 302, Location=location)


def packed(answer: Answer, body: bytes, encoding: str = "gzip") -> Answer:
    """The answer with a body that is said to be packed."""
    return labelled(replace(answer, body=body), Content_Encoding=encoding)
