"""Which URLs may be requested: http and https, at public addresses only."""

import ipaddress
import re
import socket
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import SplitResult, quote, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
SCHEMES = ("http", "https")
# URLs that are requested as they are: most. The host is the group.
PLAIN = re.compile(
    r"https?://([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}))?"
    r"(?:/[A-Za-z0-9%/:=&~+!$,;'@()*\[\]._-]*(?:\?[A-Za-z0-9%/:=&?~+!$,;'@()*\[\]._-]+)?)?"
)
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Checked(NamedTuple):
    """What became of a URL's check: the URL to request, or the reason why it is not requested.

    Attributes:
        url: The URL to request; None if it is not requested.
        reason: Why not, as a code.
        detail: The same in words.
        host: The host of `url`, in lower case.
    """

    url: str | None
    reason: str | None = None
    detail: str | None = None
    host: str = ""


def is_public(address: Address) -> bool:
    """Whether an address is of the public internet, and an IPv4 address inside an IPv6 one too."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        tunnelled = (address.sixtofour, *(address.teredo or ()))
        if any(inner is not None and not is_public(inner) for inner in tunnelled):
            return False
    return address.is_global and not (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )


def refused(host: str, found: Iterable[str]) -> str | None:
    """Why a host at these addresses may not be asked, or None."""
    for text in found:
        try:
            public = is_public(ipaddress.ip_address(text.partition("%")[0]))
        except ValueError:
            public = False
        if not public:
            return f"{host} is at {text}, no public address (ingest.allow_hosts exempts hosts)"
    return None


def checked(url: str) -> Checked:
    """A URL as it may be requested, or why it may not: its form alone, no name server is asked."""
    if plain := PLAIN.fullmatch(url):
        return Checked(url, host=plain[1])
    parts = _parsed(url)
    if isinstance(parts, Checked):
        return parts
    try:
        return _ascii(parts)
    except UnicodeError as error:
        return Checked(None, "bad_url", f"the host {parts.hostname!r} is no name: {error}")


def host_in(url: str | None) -> str | None:
    """The host of a URL as it came, in lower case; None if there is none."""
    try:
        return urlsplit(url or "").hostname
    except ValueError:
        return None


def check_urls(urls: Iterable[str], allow_hosts: Collection[str], threads: int) -> list[Checked]:
    """Checks each URL's scheme, and every address (IPv4 and IPv6) of its host.

    A name server is asked once for each host.

    Args:
        urls: URLs as they came.
        allow_hosts: Hosts that may be at any address.
        threads: Name server requests at a time.

    Returns:
        One result for each URL, in order; the URL to request is the checked one, in ASCII.
    """
    parsed = [_parsed(url) for url in urls]
    hosts = {
        item.hostname
        for item in parsed
        if not isinstance(item, Checked) and item.hostname and item.hostname not in allow_hosts
    }
    with ThreadPoolExecutor(max_workers=threads) as pool:
        verdicts = dict(zip(sorted(hosts), pool.map(_host_verdict, sorted(hosts)), strict=True))
    results = []
    for item in parsed:
        if isinstance(item, Checked):
            results.append(item)
            continue
        verdict = verdicts.get(item.hostname or "")
        results.append(verdict if verdict is not None else _ascii(item))
    return results


def _parsed(url: str) -> SplitResult | Checked:
    """A URL's parts, or the reason why it is not requested."""
    try:
        parts = urlsplit(url)
        port_is_a_number = parts.port is None or parts.port >= 0
    except ValueError as error:
        return Checked(None, "bad_url", str(error))
    if parts.scheme.lower() not in SCHEMES:
        found = f"the scheme is {parts.scheme!r}" if parts.scheme else "there is no scheme"
        return Checked(None, "bad_scheme", f"{found}; allowed: http, https")
    if not parts.hostname or not port_is_a_number:
        return Checked(None, "bad_url", "there is no host")
    return parts


def _host_verdict(host: str) -> Checked | None:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Checked(None, "dns", f"{host}: {error}")
    why = refused(host, sorted({str(entry[4][0]) for entry in found}))
    return None if why is None else Checked(None, "private_address", why)


def _ascii(parts: SplitResult) -> Checked:
    """The URL to request: built from what was checked, everything odd percent-encoded."""
    host = parts.hostname or ""
    if not host.isascii():
        host = host.encode("idna").decode()
    if ":" in host:
        host = f"[{host}]"
    port = f":{parts.port}" if parts.port is not None else ""
    safe = "%/:=&?~+!$,;'@()*[]-._"
    clean = SplitResult(
        parts.scheme.lower(), host + port, quote(parts.path, safe), quote(parts.query, safe), ""
    )
    return Checked(clean.geturl(), host=clean.hostname or "")
