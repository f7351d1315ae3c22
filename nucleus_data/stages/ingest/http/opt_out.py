"""Opt-outs in an answer's header, read before its body.

`X-Robots-Tag` holds directives between commas, in any number of headers; `NAME: DIRECTIVE` is said
to that robot alone. `TDM-Reservation: 1` reserves the right to text and data mining.
"""

from collections.abc import Collection, Iterable
from typing import Protocol

PREFIX = "opt_out_"
# Directives with a value of their own, which are no robots' names.
_VALUED = ("max-snippet", "max-image-preview", "max-video-preview", "unavailable_after")


class Headers(Protocol):
    """Headers of which several may have one name."""

    def getall(self, name: str, default: list[str]) -> Iterable[str]:
        """All values of a header."""

    def get(self, name: str, default: str) -> str:
        """The first value of a header."""


def opt_out(headers: Headers, token: str, obeyed: Collection[str]) -> tuple[str, str] | None:
    """The opt-out that a header states, as a reason code and in words; None if there is none.

    Args:
        headers: The answer's.
        token: What robots' rules call us.
        obeyed: Names of opt-outs (`OPT_OUTS`) that count.
    """
    for line in headers.getall("X-Robots-Tag", []):
        named = ""
        for part in line.lower().split(","):
            directive = part.strip()
            name, colon, rest = directive.partition(":")
            if colon and name.strip() not in _VALUED:
                # A robot's name holds for what follows in its line.
                named, directive = name.strip(), rest.strip()
            if directive in obeyed and named in ("", "*", token):
                return PREFIX + directive, f"X-Robots-Tag: {line.strip()[:200]}"
    if "tdm-reservation" in obeyed and headers.get("TDM-Reservation", "").strip() == "1":
        return PREFIX + "tdm", "TDM-Reservation: 1"
    return None
