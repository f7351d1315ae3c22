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
# A fast path: most URLs match this, and are requested as they are. The group is the host.
PLAIN = re.compile(
    r"https?://([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::(?:[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}))?"
    r"(?:/[A-Za-z0-9%/:=&~+!$,;'@()*\[\]._-]*(?:\?[A-Za-z0-9%/:=&?~+!$,;'@()*\[\]._-]+)?)?"
)
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Checked(NamedTuple):
    """The result of checking a URL: the URL to request, or the reason why it is refused.

    Attributes:
        url: The URL to request; None if it is refused.
        reason: Reason code of the refusal.
        detail: The reason in words.
        host: The host of `url`, in lower case.
    """

    url: str | None
    reason: str | None = None
    detail: str | None = None
    host: str = ""


def is_public(address: Address) -> bool:
    """Returns whether an address is public, including any IPv4 address embedded in an IPv6 one."""
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
    """Returns why a host with these addresses must not be requested, or None."""
    for text in found:
        try:
            public = is_public(ipaddress.ip_address(text.partition("%")[0]))
        except ValueError:
            public = False
        if not public:
            return f"{host} is at {text}, no public address (ingest.allow_hosts exempts hosts)"
    return None


def checked(url: str) -> Checked:
    """Checks a URL's syntax and scheme, without resolving its host."""
    if plain := PLAIN.fullmatch(url):
        return Checked(url, host=plain[1])
    parts = _parsed(url)
    if isinstance(parts, Checked):
        return parts
    try:
        return _ascii(parts)
    except UnicodeError as error:
        return Checked(None, "bad_url", f"the host {parts.hostname!r} is not a name: {error}")


def host_in(url: str | None) -> str | None:
    """Returns the lower-case host of an unchecked URL; None if there is none."""
    try:
        return urlsplit(url or "").hostname
    except ValueError:
        return None


def check_urls(urls: Iterable[str], allow_hosts: Collection[str], threads: int) -> list[Checked]:
    """Checks each URL's scheme, and every address (IPv4 and IPv6) of its host.

    Each host is resolved once.

    Args:
        urls: URLs as they came.
        allow_hosts: Hosts that may have any address.
        threads: Maximum number of concurrent DNS requests.

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
    """Splits a URL, or returns the reason why it is refused."""
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
    """Rebuilds a URL from its checked parts in ASCII, percent-encoding unusual characters."""
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
