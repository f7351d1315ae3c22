"""Answers of the world's server, and its faults: each turns a healthy answer into another.

The table of them is in `nucleus_data.world.server`.
"""

import gzip
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from http import HTTPStatus

TEXT = "text/plain; charset=utf-8"
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Sign in</body></html>\n"


@dataclass(frozen=True)
class Answer:
    """What goes over the wire; faults are functions from a healthy one to another.

    `path` is the URL path of the file, `sent` how much of the body goes out before the connection
    is closed (None: all of it, and the connection stays).
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


@cache
def bomb(mebibytes: int) -> bytes:
    """The first bytes of a JPEG, then zeros, packed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return (
        packer.compress(b"\xff\xd8\xff")
        + b"".join(packer.compress(bytes(1 << 20)) for _ in range(mebibytes))
        + packer.flush()
    )


def in_seconds(seconds: int) -> str:
    """A date as HTTP writes it, so many seconds on."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


FAULTS: dict[str, Callable[[Answer, str], Answer]] = {
    "none": lambda answer, _: answer,
    "403": lambda answer, _: plain(answer.path, 403),
    "404": lambda answer, _: plain(answer.path, 404),
    "410": lambda answer, _: plain(answer.path, 410),
    "429": lambda answer, seconds: plain(answer.path, 429, Retry_After=seconds),
    "429_date": lambda a, n: plain(a.path, 429, Retry_After=in_seconds(int(n))),
    "500": lambda answer, _: plain(answer.path, 500),
    "503": lambda answer, _: plain(answer.path, 503),
    "slow": lambda answer, seconds: replace(answer, body_seconds=float(seconds)),
    "slow_headers": lambda answer, seconds: replace(answer, head_seconds=float(seconds)),
    "cut": lambda answer, _: replace(answer, sent=len(answer.body) // 2),
    "reset": lambda answer, _: replace(answer, status=0),
    "redirect": lambda a, n: away(a, f"{a.path}?fault=redirect:{int(n) - 1}") if int(n) else a,
    "redirect_loop": lambda answer, _: away(answer, f"{answer.path}?fault=redirect_loop"),
    "redirect_private": lambda answer, address: away(answer, f"http://{address}/"),
    "redirect_ftp": lambda answer, _: away(answer, f"ftp://127.0.0.1{answer.path}"),
    "redirect_nowhere": lambda answer, _: plain(answer.path, 302),
    "wrong_type": lambda answer, _: labelled(answer, Content_Type="text/html"),
    "html": lambda answer, _: Answer(answer.path, 200, {"Content-Type": "image/jpeg"}, PAGE),
    "empty": lambda answer, _: Answer(answer.path, 200, {"Content-Type": "image/jpeg"}),
    "endless": lambda answer, _: replace(answer, endless=True),
    "noai": lambda answer, _: labelled(answer, X_Robots_Tag="noai, noimageai"),
    "noindex": lambda answer, _: labelled(answer, X_Robots_Tag="noindex"),
    "noml": lambda answer, _: labelled(answer, X_Robots_Tag="noml"),
    "none_tag": lambda answer, _: labelled(answer, X_Robots_Tag="none"),
    "named": lambda answer, name: labelled(answer, X_Robots_Tag=f"{name}: noai"),
    "tdm": lambda answer, _: labelled(answer, TDM_Reservation="1"),
    "gzip": lambda answer, _: packed(answer, gzip.compress(answer.body, mtime=0)),
    "bomb": lambda answer, size: packed(answer, bomb(int(size))),
    "brotli": lambda answer, _: packed(answer, answer.body, "br"),
    "long_header": lambda answer, size: labelled(answer, X_Long="x" * int(size)),
    "cookie": lambda answer, _: labelled(answer, Set_Cookie="a=b"),
}

# By fault: the default, and what an argument must look like.
ARGUMENTS = {
    "429": ("1", "[0-9]{1,5}"),
    "429_date": ("2", "[0-9]{1,5}"),
    "slow": ("5", r"[0-9]{1,4}(\.[0-9]{1,3})?"),
    "slow_headers": ("5", r"[0-9]{1,4}(\.[0-9]{1,3})?"),
    "redirect": ("1", "[0-9]{1,3}"),
    "redirect_private": ("10.0.0.1", r"(10\.0|127\.0|169\.254|172\.16|192\.168)(\.[0-9]{1,3}){2}"),
}

ARGUMENTS |= {
    "named": ("nucleus-data", "[a-z][a-z0-9-]{0,30}"),
    "bomb": ("64", "[0-9]{1,3}"),
    "long_header": ("100000", "[0-9]{1,6}"),
}

# `endless` is not among them: a downloader without a limit of bytes would never come back.
DRAWN = (
    *("403", "404", "410", "429", "429*2", "500", "500*2", "503", "slow:2", "slow_headers:2"),
    *("cut", "cut*1", "reset", "redirect:2", "redirect_loop", "redirect_private"),
    *("wrong_type", "html", "empty", "noai", "noindex"),
)


def parse_fault(fault: str) -> tuple[str, str, int | None]:
    """A fault's name, argument (maybe empty) and how many requests it is for (None: all).

    Raises:
        ValueError: There is no such fault, or it takes no such argument.
    """
    found = re.fullmatch(r"(?P<name>\w+)(:(?P<argument>[^*]*))?(\*(?P<first>[0-9]{1,9}))?", fault)
    if not found or found["name"] not in FAULTS:
        raise ValueError(f"fault {fault!r} is not known; known are {', '.join(FAULTS)}")
    name, argument = found["name"], found["argument"] or ""
    default, form = ARGUMENTS.get(name, ("", ""))
    if argument and not re.fullmatch(form, argument):
        allowed = f"must match {form}" if form else "is not allowed"
        raise ValueError(f"fault {fault!r}: an argument of {name} {allowed}")
    return name, argument or default, int(found["first"]) if found["first"] else None
