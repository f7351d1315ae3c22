import asyncio
import socket
from collections import Counter

import pytest

from nucleus_data.stages.ingest.http.failures import LookupFailedError
from nucleus_data.stages.ingest.http.resolver import CheckedResolver

HOSTS = {
    "ok": ["8.8.8.8", "2606:4700::1111"],
    "both": ["8.8.8.8", "10.0.0.1"],
    "six": ["::1"],
    "mapped": ["::ffff:10.0.0.1"],
    "nat": ["64:ff9b::a00:1"],
    "inside": ["10.0.0.7"],
    "none": [],
}


class Servers:
    """A name server that counts."""

    def __init__(self):
        self.asked = Counter()

    async def __call__(self, host):
        self.asked[host] += 1
        await asyncio.sleep(0)
        if host == "down":
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        if host not in HOSTS:
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        return HOSTS[host]


def looked_up(*hosts, allow=("inside",)):
    servers = Servers()

    async def run():
        resolver = CheckedResolver(allow, servers)
        results = [await _one(resolver, host) for host in hosts]
        await resolver.close()
        return results

    async def _one(resolver, host):
        try:
            return [found["host"] for found in await resolver.resolve(host, 80)]
        except LookupFailedError as error:
            return error.reason

    return asyncio.run(run()), servers.asked


def test_all_addresses_must_be_public():
    hosts = ("ok", "both", "six", "mapped", "nat", "inside", "none", "nowhere")
    found, _ = looked_up(*hosts)
    assert found == [
        HOSTS["ok"],
        *["private_address"] * 4,
        HOSTS["inside"],
        *["dns"] * 2,
    ]


def test_a_name_server_is_asked_once_for_a_host():
    _, asked = looked_up(*["ok", "both", "nowhere"] * 5)
    assert asked == {"ok": 1, "both": 1, "nowhere": 1}


def test_what_may_pass_is_asked_again():
    found, asked = looked_up("down", "down")
    assert (found, asked["down"]) == (["dns", "dns"], 2)


def test_many_at_once_wait_for_one_answer():
    servers = Servers()

    async def run():
        resolver = CheckedResolver((), servers)
        await asyncio.gather(*(resolver.resolve("ok", 80) for _ in range(50)))

    asyncio.run(run())
    assert servers.asked["ok"] == 1


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        *((host, False) for host in ("127.0.0.1", "10.0.0.1", "::1", "::ffff:10.0.0.1")),
        ("8.8.8.8", True),
        ("a.example.com", True),
        ("192.168.0.9", True),  # said to be allowed
    ],
)
def test_addresses_in_a_url_are_checked_too(host, allowed):
    async def run():
        CheckedResolver(("192.168.0.9",), Servers()).check_literal(host)

    if allowed:
        asyncio.run(run())
    else:
        with pytest.raises(LookupFailedError, match="no public address"):
            asyncio.run(run())


def test_the_very_address_is_checked_at_connect():
    async def run(address, host="ok"):
        resolver = CheckedResolver(("inside",), Servers())
        await resolver.resolve(host)
        place = (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))
        resolver.connecting(place).close()

    asyncio.run(run("8.8.8.8"))
    asyncio.run(run("10.0.0.7", "inside"))
    for address in ("127.0.0.1", "10.0.0.7"):
        with pytest.raises(LookupFailedError, match="no public address"):
            asyncio.run(run(address))
