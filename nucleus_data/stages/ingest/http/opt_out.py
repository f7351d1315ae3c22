"""Opt-outs in response headers, checked before the body is read.

`X-Robots-Tag` has comma-separated directives, in any number of headers; `NAME: DIRECTIVE` is
addressed to that robot only. `TDM-Reservation: 1` reserves the rights of text and data mining.
"""

from collections.abc import Collection, Iterable
from typing import Protocol

PREFIX = "opt_out_"
# Directives that take a value, so that the word before the colon is not a robot's name.
_VALUED = ("max-snippet", "max-image-preview", "max-video-preview", "unavailable_after")


class Headers(Protocol):
    """Headers, possibly with several of the same name."""

    def getall(self, name: str, default: list[str]) -> Iterable[str]:
        """Returns all values of a header."""

    def get(self, name: str, default: str) -> str:
        """Returns the first value of a header."""


def opt_out(headers: Headers, token: str, obeyed: Collection[str]) -> tuple[str, str] | None:
    """Returns the first opt-out in the headers, as (reason code, words); None if there is none.

    Args:
        headers: The response headers.
        token: Our product token.
        obeyed: Names of the opt-outs to obey (`OPT_OUTS`).
    """
    for line in headers.getall("X-Robots-Tag", []):
        named = ""
        for part in line.lower().split(","):
            directive = part.strip()
            name, colon, rest = directive.partition(":")
            if colon and name.strip() not in _VALUED:
                # A robot's name applies to the rest of its line.
                named, directive = name.strip(), rest.strip()
            if directive in obeyed and named in ("", "*", token):
                return PREFIX + directive, f"X-Robots-Tag: {line.strip()[:200]}"
    if "tdm-reservation" in obeyed and headers.get("TDM-Reservation", "").strip() == "1":
        return PREFIX + "tdm", "TDM-Reservation: 1"
    return None
