"""Faults of the world's HTTP server: each turns a healthy answer into another.

A fault reads `NAME` or `NAME:ARGUMENT`; with `*K` behind it, only the first K requests for that
file with that fault meet it, later ones get the file. A request asks for one by a query
(`/park/a.jpg?fault=cut`) or, for clients that drop queries, by a first segment of the path
(`/!cut/park/a.jpg`). The server itself plans others (`server`).

| fault              | argument (default)      | what the client gets                              |
|--------------------|-------------------------|---------------------------------------------------|
| `none`             |                         | the file, whatever is planned for it              |
| `403` `404` `410`  |                         | that status                                       |
| `429`              | whole seconds (1)       | 429, `Retry-After: SECONDS`                       |
| `429_date`         | whole seconds (2)       | 429, `Retry-After: DATE`, so many seconds on      |
| `500` `503`        |                         | that status                                       |
| `slow`             | seconds in all (5)      | the head at once, the body in a trickle           |
| `slow_headers`     | seconds in all (5)      | the head in a trickle, then the body at once      |
| `cut`              |                         | half of the bytes announced, then the end         |
| `reset`            |                         | a TCP reset in place of an answer                 |
| `redirect`         | how many, 0 to 999 (1)  | that many redirects in a row, then the file       |
| `redirect_loop`    |                         | a redirect to itself                              |
| `redirect_private` | address (10.0.0.1)      | a redirect to that private IPv4 address           |
| `redirect_ftp`     |                         | a redirect to ftp://                              |
| `redirect_nowhere` |                         | a redirect that does not say where to             |
| `wrong_type`       |                         | the file, called text/html                        |
| `html`             |                         | an HTML page, called image/jpeg                   |
| `empty`            |                         | 200 and not one byte                              |
| `endless`          |                         | chunks, first the file's, then zeros, for ever    |
| `noai`             |                         | the file, `X-Robots-Tag: noai, noimageai`         |
| `noindex`          |                         | the file, `X-Robots-Tag: noindex`                 |
| `noml`             |                         | the file, `X-Robots-Tag: noml`                    |
| `none_tag`         |                         | the file, `X-Robots-Tag: none`                    |
| `named`            | name (nucleus-data)     | the file, `X-Robots-Tag: NAME: noai`              |
| `tdm`              |                         | the file, `TDM-Reservation: 1`                    |
| `gzip`             |                         | the file, packed though nobody asked for that     |
| `bomb`             | MiB unpacked (64)       | a JPEG's first bytes and zeros, packed            |
| `brotli`           |                         | the file, said to be packed in another way        |
| `long_header`      | bytes (100000)          | the file, with a header that long                 |
| `cookie`           |                         | the file, `Set-Cookie: a=b`                       |

A fault with another name or argument is answered by 400, which says what is known.
"""

import gzip
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache

from nucleus_data.world.http_answers import Answer, away, labelled, packed, plain

PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Sign in</body></html>\n"


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
        raise ValueError(f"unknown fault {fault!r}; known: {', '.join(FAULTS)}")
    name, argument = found["name"], found["argument"] or ""
    default, form = ARGUMENTS.get(name, ("", ""))
    if argument and not re.fullmatch(form, argument):
        allowed = f"must match {form}" if form else "is not allowed"
        raise ValueError(f"fault {fault!r}: an argument of {name} {allowed}")
    return name, argument or default, int(found["first"]) if found["first"] else None
