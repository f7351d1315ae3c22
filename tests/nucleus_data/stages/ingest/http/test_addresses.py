import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus_data.stages.ingest.http.addresses import (
    PLAIN,
    Checked,
    check_urls,
    checked,
    is_public,
)
from tests.support.ingested import resolver


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
        *("::1", "::", "fe80::1", "fc00::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1"),
        *("2002:7f00:1::", "64:ff9b::a00:1", "::ffff:169.254.169.254"),
    ],
)
def test_private_addresses(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses(address):
    assert is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_inside_ipv6(address):
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")
    translated = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(address))
    assert is_public(translated) == is_public(address)
    assert is_public(mapped) == is_public(address)


def test_urls_are_checked(monkeypatch):
    hosts = {"ok": ["8.8.8.8"], "both": ["8.8.8.8", "10.0.0.1"], "six": ["::1"]}
    monkeypatch.setattr(socket, "getaddrinfo", resolver(**hosts))
    reasons = {
        "http://ok/a.png": None,
        "HTTPS://OK:8443/a.png": None,
        "http://both/a.png": "private_address",
        "http://six/": "private_address",
        "http://user:pw@six/": "private_address",
        "http://nowhere/": "dns",
        "http://free/": None,
        "file:///etc/passwd": "bad_scheme",
        "data:image/png;base64,AA": "bad_scheme",
        "//ok/a.png": "bad_scheme",
        "http:///a.png": "bad_url",
        "http://[::1/a.png": "bad_url",
        "http://ok:99999/": "bad_url",
        "": "bad_scheme",
    }
    checked = check_urls(list(reasons), {"free"}, threads=4)
    assert [check.reason for check in checked] == list(reasons.values())
    assert all((check.url is None) == (check.reason is not None) for check in checked)


def test_the_checked_url_is_the_one_requested(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", resolver(h=["8.8.8.8"]))
    urls = ["http://u:p@H:80/ü b\t%20?q=ä#frag", "http://h\\@evil/x", "http://h/?a[]=1&b=c+d"]
    assert [check.url for check in check_urls(urls[:1], (), 1)] == [
        "http://h:80/%C3%BC%20b%20?q=%C3%A4"
    ]
    assert check_urls(urls[1:2], (), 1)[0].url is None
    assert check_urls(urls[2:], (), 1)[0].url == urls[2]


@pytest.mark.parametrize("port", [1, 80, 8080, 10_000, 49_152, 64_999, 65_000, 65_535])
def test_a_url_with_a_port_is_asked_as_it_is(port):
    url = f"http://h.example:{port}/a.jpg"
    assert checked(url) == Checked(url, host="h.example")
    # Nearly all are not even taken apart, which costs more than asking the rules of a host.
    assert bool(PLAIN.fullmatch(url)) == (port < 65_000)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://H.Example:443/a b.jpg", "h.example"),
        ("http://bücher.example/", "xn--bcher-kva.example"),
        ("http://u:p@[2001:DB8::1]:80/", "2001:db8::1"),
        ("ftp://h.example/", ""),
    ],
)
def test_the_host_of_a_checked_url(url, host):
    assert checked(url).host == host


@pytest.mark.parametrize("port", [65_536, 66_000, 99_999, 100_000])
def test_there_is_no_such_port(port):
    assert checked(f"http://h.example:{port}/a.jpg").reason == "bad_url"
