"""Resolves hosts, with a cache, and refuses them unless all their addresses are public.

aiohttp connects to exactly the addresses returned here, so nothing is resolved again between the
check and the connection. Every hop of a redirect passes through here as well.
"""

import asyncio
import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from aiohttp.abc import AbstractResolver, ResolveResult

from nucleus_data.stages.ingest.http.addresses import is_public, refused
from nucleus_data.stages.ingest.http.failures import LookupFailedError

Lookup = Callable[[str], Awaitable[list[str]]]
KEPT_S = 300.0
FAILED_S = 30.0  # how long to cache that a host does not exist
MOST = 50_000  # maximum number of cached hosts
# Permanent errors of name servers; all others may be temporary.
_FINAL = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
_FINAL_CARES = {1, 4}  # c-ares: no data, not found


@dataclass(frozen=True)
class _Found:
    until: float
    addresses: tuple[str, ...] = ()
    error: LookupFailedError | None = None


class CheckedResolver(AbstractResolver):
    """Looks hosts up for aiohttp.

    Args:
        allow_hosts: Hosts that may have any address.
        lookup: Returns all addresses of a host; by default, asks the name server.
    """

    def __init__(self, allow_hosts: Collection[str], lookup: Lookup | None = None) -> None:
        self._allowed = frozenset(allow_hosts)
        self._exempt: set[str] = set(allow_hosts)  # addresses of hosts that are allowed
        self._servers = None if lookup else _name_servers()
        self._lookup = lookup or self._asked
        self._found: OrderedDict[str, asyncio.Task[_Found]] = OrderedDict()
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Returns the addresses of a host. Raises LookupFailedError."""
        found = await self._cached(host)
        if found.error is not None:
            raise LookupFailedError(
                found.error.reason, found.error.detail, passing=found.error.passing
            )
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in found.addresses
        ]

    async def close(self) -> None:
        """Closes the DNS client."""
        if self._servers is not None:
            await self._servers.close()

    def check_literal(self, host: str) -> None:
        """Checks a host that is a literal address, which is not resolved.

        Raises:
            LookupFailedError: It is not public.
        """
        if host in self._allowed or not (host[-1:].isdigit() or ":" in host):
            return
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return  # a name
        if (why := refused(host, [host])) is not None:
            raise LookupFailedError("private_address", why)

    def connecting(
        self, address: tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple]
    ) -> socket.socket:
        """Creates the socket for an address, after checking it once more.

        Raises:
            LookupFailedError: It is neither public nor of an allowed host.
        """
        family, kind, protocol, _, place = address
        text = str(place[0])
        if text not in self._exempt and not is_public(ipaddress.ip_address(text.split("%")[0])):
            raise LookupFailedError("private_address", f"{text} is no public address")
        return socket.socket(family, kind, protocol)

    async def _cached(self, host: str) -> _Found:
        loop = asyncio.get_running_loop()
        found = self._found.get(host)
        if found is None or (found.done() and found.result().until < loop.time()):
            # A separate task, since the first caller may be cancelled while others wait for it.
            found = self._found[host] = loop.create_task(self._look(host, loop.time()))
            while len(self._found) > MOST:
                self._found.popitem(last=False)
        return found.result() if found.done() else await asyncio.shield(found)

    async def _look(self, host: str, now: float) -> _Found:
        self.asked += 1
        try:
            addresses = tuple(dict.fromkeys(await self._lookup(host)))
        except (OSError, UnicodeError, LookupError) as error:
            passing = not _is_final(error)
            failed = LookupFailedError("dns", f"{host}: {_told(error)}", passing=passing)
            return _Found(now if passing else now + FAILED_S, error=failed)
        if not addresses:
            failed = LookupFailedError("dns", f"{host}: it has no address")
            return _Found(now + FAILED_S, error=failed)
        if host in self._allowed:
            self._exempt.update(addresses)
        elif (why := refused(host, sorted(addresses))) is not None:
            return _Found(now + KEPT_S, error=LookupFailedError("private_address", why))
        return _Found(now + KEPT_S, addresses)

    async def _asked(self, host: str) -> list[str]:
        if self._servers is None:
            loop = asyncio.get_running_loop()
            entries = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            return [str(entry[4][0]) for entry in entries]
        import aiodns

        try:
            answer = await self._servers.getaddrinfo(host, type=socket.SOCK_STREAM)
        except aiodns.error.DNSError as error:
            raise OSError(*error.args) from error
        return [
            node.addr[0].decode() if isinstance(node.addr[0], bytes) else str(node.addr[0])
            for node in answer.nodes
        ]


def _name_servers() -> "aiodns.DNSResolver | None":  # type: ignore[name-defined]  # noqa: F821
    """Returns an asynchronous DNS client if aiodns is installed; None to use the system's."""
    try:
        import aiodns

        return aiodns.DNSResolver()
    except (ImportError, OSError):
        return None


def _is_final(error: BaseException) -> bool:
    code = error.args[0] if error.args else None
    known = _FINAL if isinstance(error, socket.gaierror) else _FINAL_CARES
    return code in known or not isinstance(error, OSError)


def _told(error: BaseException) -> str:
    return str(error.args[1]) if len(error.args) > 1 else str(error)
